"""Hooks and news on a host: run as whom, told what, with the examples of docs/hooks.md; and docs/monitoring.md."""

from __future__ import annotations

import http.server
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.host.advice import doctor, hint
from tests.host.conftest import _boot
from tests.host.host import PROJECT, Host
from tests.host.life import Shop, app_up
from tests.host.proxies import install_caddy
from tests.host.serving import HostServer
from tests.support import GAPLESS, wait_until

HOOKS_PAGE, MONITORING_PAGE = ((PROJECT / "docs" / f"{name}.md").read_text() for name in ("hooks", "monitoring"))
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
TELL_CHAT = "/usr/local/lib/shop/tell-chat"
TOKEN = "sntrys_0123"  # noqa: S105 -- nobody's
# What a hook may do, and what it was told.
SEEN = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status; id -un; pwd; env | grep ^GAPLESS_; cat"


def files(page: str) -> dict[str, str]:
    """What a page says is in which file."""
    return dict(FILE.findall(page))


@dataclass
class Message:
    """A POST that somebody got."""

    path: str
    headers: dict[str, str]
    body: Any


class Receiver(HostServer):
    """Keeps what is posted to it."""

    def __init__(self, host: Host) -> None:
        self.messages: list[Message] = []
        super().__init__(host, Posted)


class Posted(http.server.BaseHTTPRequestHandler):
    """One connection to a receiver."""

    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.messages.append(Message(self.path, dict(self.headers), body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: what counts is in `messages`."""


@pytest.fixture(scope="module")
def server(_proxies: None) -> Iterator[Host]:
    """A host with Caddy."""
    with _boot() as one:
        yield one


@pytest.fixture(scope="module")
def installed(server: Host) -> Iterator[Shop]:
    with app_up(server) as one:
        yield one


@pytest.fixture
def shop(installed: Shop) -> Shop:
    """The app, up; a test deploys what it needs."""
    installed.settled()
    return installed


def test_a_hook_is_the_apps_and_ends_in_time(shop: Shop) -> None:
    """Invariants 9, 10: it has the app's account, no capability, its release and the facts; all of it ends."""
    endless = 'deployed = "sleep 1234 & setsid sleep 1234"\ntimeout = "500ms"\n'
    shop.write(config=f"[hooks]\nbefore_deploy = '''{SEEN}'''\n{endless}")
    before = shop.current()
    done = shop("deploy")
    assert "cannot run the hook deployed of" in done.stderr
    assert "it took longer than 0.5 s" in done.stderr
    assert shop.host.run("pgrep", "-fx", "sleep 1234", check=False).stdout == ""
    assert "shop.hook.service" not in shop.left()
    status = shop.status()
    assert status["last"]["outcome"] == "succeeded"
    release = status["current"]
    said = shop.host.read(f"/srv/shop/log/{release}.log").splitlines()
    assert [line for line in said if line.startswith("Cap")] == [
        f"Cap{name}:\t{0:016x}" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")
    ]
    assert {"NoNewPrivs:\t1", "shop", f"/srv/shop/releases/{release}", f"GAPLESS_FROM={before}"} <= {*said}
    facts = json.loads(next(line for line in said if line.startswith("{")))
    assert (facts["event"], facts["app"], facts["to"]) == ("before_deploy", "shop", release)


def test_a_deployer_that_is_killed_in_a_hook(shop: Shop) -> None:
    """Invariant 5: the hook ends with it, and the next deploy finds nothing in its way."""
    shop.write(config='[hooks]\nbefore_deploy = "touch $GAPLESS_SHARED/begun; sleep 1235"\n')
    deploying = shop.popen("deploy")
    shop.phase(deploying, "the hook", "/srv/shop/shared/begun")
    deploying.kill()
    deploying.communicate(timeout=30)
    wait_until(lambda: shop.host.run("pgrep", "-fx", "sleep 1235", check=False).stdout == "")
    shop.write()
    shop.deploy()
    assert shop.host.run("systemctl", "is-failed", "shop.hook.service", check=False).stdout == "inactive\n"


def test_a_chat_is_told_by_the_program_of_the_page(shop: Shop) -> None:
    """A deploy, a failed one, and one that its watch turns back: root's program tells of each, by a secret address."""
    page = files(HOOKS_PAGE)
    shop.host.write(TELL_CHAT, page["tell-chat"], 0o755)
    with Receiver(shop.host) as chat:
        shop.host.write("/etc/gapless/chat-url", f"{chat.url}/hooks/secret\n", 0o600)
        shop.write(config=page["chat.toml"])
        release = shop.deploy()
        [message] = chat.messages
        assert message.path == "/hooks/secret"
        assert re.fullmatch(
            rf"shop on \S+: deploy of .+ by root@\S+: {release} is live after \d+ s", message.body["text"]
        )
        shop.write(app="raise SystemExit('no settings')", config=page["chat.toml"])
        shop.fails("deploy")
        assert " failed after " in chat.messages[1].body["text"]
        assert chat.messages[1].body["text"].endswith(f"{release} goes on serving")
        worker = 'processes = { worker = { command = ["/bin/sh", "-c", "exit 3"], drain = "1s" } }\n'
        shop.write(config=worker)
        shop.fails("deploy", "--watch", "20s")
        assert " was turned back after " in chat.messages[2].body["text"]
        assert f"{release} serves again" in chat.messages[2].body["text"]
        assert len(chat.messages) == 3
    # Nobody listens there any more: the deploy succeeds all the same.
    shop.write(config=page["chat.toml"])
    assert "cannot run [notify] /usr/local/lib/shop/tell-chat: it exited with status 1: " in shop("deploy").stderr


def test_sentry_is_told_by_the_hook_of_the_page(shop: Shop) -> None:
    """The release and its deploy, with the token of the app's own file of variables."""
    page = files(HOOKS_PAGE)
    with Receiver(shop.host) as sentry:
        shop.host.write(f"{shop.project}/sentry.py", page["sentry.py"])
        shop.host.write(f"{shop.project}/.env", f"SENTRY_AUTH_TOKEN={TOKEN}\n", 0o600)
        shop.write(config=page["sentry.toml"].replace("https://sentry.io", sentry.url))
        done = shop("deploy")
        assert done.stderr == ""
        release = shop.current()
    created, deployed = sentry.messages
    releases = "/api/0/organizations/example/releases/"
    assert (created.path, created.body) == (releases, {"version": release, "projects": ["shop"]})
    assert deployed.path == f"{releases}{release}/deploys/"
    assert deployed.body.keys() == {"environment", "name", "dateStarted"}
    assert created.headers["Authorization"] == deployed.headers["Authorization"] == f"Bearer {TOKEN}"
    shop.host.run("rm", f"{shop.project}/sentry.py", f"{shop.project}/.env")


def test_programs_that_root_does_not_run(shop: Shop) -> None:
    """Invariant 9: one of the app or of another user is refused by name, before a release is made; then as advised."""
    first = shop.current()
    shop.host.run("useradd", "--create-home", "bob")
    shop.host.write("/home/bob/tell", "#!/bin/sh\n", 0o755)
    shop.host.write("/opt/tell", "#!/bin/sh\n", 0o777)
    shop.host.run("ln", "-s", "/home/bob/tell", "/opt/link")
    cases = {
        f"/srv/shop/releases/{first}/app.py": "never a program of a release",
        "/home/bob/tell": "/home/bob belongs to bob",
        "/opt/link": "/home/bob belongs to bob",
        "/opt/tell": "anybody can write to /opt/tell",
        "/bin/sh /home/bob/tell": "/home/bob belongs to bob",
        "/opt/nothing": "there is no such file",
    }
    hints = set()
    for command, cause in cases.items():
        shop.write(config=f'[notify]\ncommand = "{command}"\n')
        said = shop.fails("deploy")
        assert f"cannot use in [notify] {command.split()[-1]}: " in said
        assert cause in said
        hints.add(hint(said))
    assert shop.current() == first
    assert shop.host.run("ls", "-t", "/srv/shop/releases").stdout.split()[0] == first
    assert hints == {
        "copy it to where no deploy changes it, /usr/local/lib say; a release's own programs are for [hooks]",
        "let it and the directories above it be root's alone to write, or name another program",
        "install it, or correct it",
    }
    for advised in ("cp /home/bob/tell /usr/local/lib/tell", "chmod go-w /opt/tell", "cp /opt/tell /opt/nothing"):
        shop.host.run(*advised.split())
    for path in ("/usr/local/lib/tell", "/opt/tell", "/opt/nothing"):
        shop.write(config=f'[notify]\ncommand = "{path}"\n')
        shop("deploy", "-n")
    assert "Warning" not in shop("deploy").stderr
    assert doctor(shop)["notify"]["state"] == "ok"
    shop.host.run("chmod", "o+w", "/opt/nothing")
    assert "anybody can write to /opt/nothing" in doctor(shop)["notify"]["what"]


def test_logs_since_a_time_and_by_a_pattern(shop: Shop) -> None:
    """What the journal has, by when it was written and by what it says, of an app that writes at each visit."""
    shop.write(app="print('booted', flush=True)\nprint('Trouble ahead', flush=True)")
    shop.deploy()
    wait_until(lambda: "Trouble" in shop("logs").stdout)
    matching = shop("logs", "--grep", "trouble").stdout.splitlines()
    assert [line.partition(" | ")[2] for line in matching] == ["Trouble ahead"]
    assert shop("logs", "--grep", "TROUBLE").stdout == ""
    assert "booted" in shop("logs", "--since", "10m").stdout
    assert "booted" not in shop("logs", "--since", "2099-01-01").stdout
    both = [line.partition(" | ")[2] for line in shop("logs", "--grep", "^(booted|trouble)").stdout.splitlines()]
    assert both == ["booted", "Trouble ahead"]


def test_two_releases_of_one_revision(shop: Shop) -> None:
    """`releases` names what came from beside the source; root alone sees it."""
    shop.host.write(f"{shop.project}/.env", "GREETING=hello\n", 0o600)
    shop.host.run("sh", "-c", "git init -q 2>&1; echo .env > .gitignore", cwd=shop.project)
    shop.write(config="[x-nothing]\n")
    toml = shop.host.read(f"{shop.project}/gapless.toml")
    shop.host.write(f"{shop.project}/gapless.toml", f'env_file = ".env"\n{toml}')
    commit = "git add . && git -c user.name=a -c user.email=a@example.com commit -qm one"
    shop.host.run("sh", "-c", commit, cwd=shop.project)
    first = shop.deploy()
    shop.host.write(f"{shop.project}/.env", "GREETING=hush\n", 0o600)
    second = shop.deploy()
    found = {one["release"]: one for one in json.loads(shop("releases", "--json").stdout)["releases"]}
    assert (found[second]["differs_from"], found[second]["differs"]) == (first, ["variable GREETING"])
    said = shop("releases").stdout
    assert f"variable GREETING from {first}" in said
    assert "hush" not in said
    assert f"unknown from {first}" in shop.host.gapless("releases", cwd=shop.project, user="nobody").stdout
    shop.host.run("rm", "-rf", f"{shop.project}/.git", f"{shop.project}/.gitignore", f"{shop.project}/.env")


def test_metrics_through_node_exporters_directory_and_caddy(shop: Shop) -> None:
    """The timer of the page writes what Prometheus itself can read, and Caddy hands it out to whom it may."""
    host, page = shop.host, files(MONITORING_PAGE)
    install_caddy(host, newer=False)
    host.run("mkdir", "-p", "/var/lib/prometheus/node-exporter")
    for path in (path for path in page if path.startswith("/")):
        host.write(
            path, page[path].replace("gapless status -C /opt/shop", f"{shlex.join(GAPLESS)} status -C {shop.project}")
        )
    shop.write(config=page["proxy.toml"].replace("[proxy]", '[proxy]\ntls = "off"'))
    shop("up")
    release = shop.deploy()
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "enable", "--now", "shop-metrics.timer")
    there = "/var/lib/prometheus/node-exporter/shop.prom"
    wait_until(lambda: release in host.run("cat", there, check=False).stdout, 60)
    host.run("systemctl", "disable", "--now", "shop-metrics.timer")
    host.run("rm", *(path for path in page if path.startswith("/")))
    answer = host.run("curl", "-si", "-H", "Host: shop.example.com", "http://127.0.0.1/gapless-metrics").stdout
    head, _, text = answer.replace("\r", "").partition("\n\n")
    assert head.startswith("HTTP/1.1 200")
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    found = {one.name: one for one in text_string_to_metric_families(text)}
    assert {sample.labels["app"] for one in found.values() for sample in one.samples} == {"shop"}
    assert [one.value for one in found["gapless_up"].samples] == [1]
    assert found["gapless_release_info"].samples[0].labels["release"] == release
    assert {one.labels["role"] for one in found["gapless_instances"].samples} == {"candidate", "live", "retiring"}
    assert [one.value for one in found["gapless_last_deploy_ok"].samples] == [1]
    assert found["gapless_instance_memory_bytes"].samples[0].value > 1 << 20
