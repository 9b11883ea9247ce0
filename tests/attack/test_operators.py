"""Operators: somebody whom sudo allows to deploy one app acts on that app alone, whatever the directory holds."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator

import pytest

from tests.host.advice import hint
from tests.host.host import Host
from tests.host.life import Shop, app_up
from tests.support import GAPLESS

COMMAND = "/opt/operators/gapless"
# As docs/security.md has it: --app stands before the verb, where no argument of an operator can take its place.
RULE = f"alice ALL=(root) NOPASSWD: {COMMAND} --app shop *\n"
SECRET = "only for root"  # noqa: S105 -- in a file of the test


@pytest.fixture(scope="module")
def operated(host: Host) -> Host:
    """A host with the operator alice, the command for all users, and a file that only root may read."""
    host.run("useradd", "--create-home", "--user-group", "alice")
    host.write(COMMAND, f'#!/bin/sh\nexec {shlex.join(GAPLESS)} "$@"\n', 0o755)
    host.write("/etc/sudoers.d/shop", RULE, 0o440)
    host.write("/root/secret", SECRET, 0o600)
    toml = f'name = "shop"\ncommand = "sh"\nbuild = {{ run = "{SECRET}" }}\n'
    host.write("/root/project/gapless.toml", toml, 0o600)
    host.run("tar", "-cf", "/root/secret.tar", "-C", "/root", "secret")
    host.run("chmod", "600", "/root/secret.tar")
    host.run("visudo", "--check")
    return host


@pytest.fixture(scope="module")
def installed(operated: Host) -> Iterator[Shop]:
    """The app shop, up."""
    with app_up(operated) as one:
        yield one


@pytest.fixture
def shop(installed: Shop) -> Shop:
    """The app shop; alice has a fresh copy of the project in her home."""
    host = installed.host
    host.run("rm", "-rf", "/home/alice/shop")
    host.run("cp", "-r", installed.project, "/home/alice/shop")
    host.run("chown", "-R", "alice:", "/home/alice/shop")
    installed.settled()
    return installed


def alice(host: Host, *argv: str, app: str = "shop") -> subprocess.CompletedProcess[str]:
    """What becomes of `sudo gapless --app …` that alice types in her copy of the project."""
    command = ["sudo", "-n", COMMAND, "--app", app, *argv]
    return host.run(*command, cwd="/home/alice/shop", user="alice", check=False)


def test_an_operator_deploys_and_rolls_back(shop: Shop) -> None:
    """The sources are read as the operator, and the rest is as when root does it; the ledger names the operator."""
    host, first = shop.host, shop.current()
    host.run("sh", "-c", "echo A=1 > .env; echo 'env_file = \".env\"' | cat - gapless.toml > new; mv new gapless.toml",
             cwd="/home/alice/shop", user="alice")  # fmt: skip
    done = alice(host, "deploy")
    assert done.returncode == 0, done.stdout + done.stderr
    second = shop.current()
    assert second != first
    assert host.read(f"/srv/shop/env/{second}.env") == 'A="1"\n'
    assert host.run("find", f"/srv/shop/releases/{second}", "!", "-user", "root").stdout == ""
    assert shop.status()["last"]["who"].startswith("alice@")
    done = alice(host, "rollback", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert shop.current() == first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('s/^name = .*/name = "other"/', "cannot act on other: the gapless.toml in /home/alice/shop is not about shop"),
        ('$ a [sandbox]\\nwritable = ["/etc"]', "[sandbox] writable changes from [] to ['/etc']"),
        ('$ a [proxy]\\nextra = "respond hello"', "[proxy] extra changes from '' to 'respond hello'"),
        ('$ a [database]\\npath = "a"\\nreplica = "file:///etc/a"', "[database] path changes from '' to 'a'"),
        ("$ a [sandbox]\\njit = true", "[sandbox] jit changes from False to True"),
        ('$ a [build]\\nmemory = ""', "[build] memory changes from '75%' to ''"),
        ('1 i env_file = "../../../root/secret"', "it is not in the project's directory"),
    ],
)
def test_what_decides_for_the_host_is_not_the_operators(shop: Shop, change: str, said: str) -> None:
    """Invariant 9: another app, and what the app may do on the host; the current release goes on."""
    first = shop.live()
    shop.host.run("sed", "-i", change, "gapless.toml", cwd="/home/alice/shop", user="alice")
    done = alice(shop.host, "deploy")
    assert done.returncode > 0
    assert said in done.stderr
    if "is not about shop" in said:
        assert hint(done.stderr) == "pass `-C` with the directory of shop"
        shop.host.run("cp", "-r", shop.project, "/home/alice/its-own")
        shop.host.run("chown", "-R", "alice:", "/home/alice/its-own")
        assert alice(shop.host, "status", "-C", "/home/alice/its-own").returncode == 0
        shop.host.run("rm", "-r", "/home/alice/its-own")
    now = shop.live()
    assert now == first | {key: now[key] for key in ("status", "memory")}


def test_an_operator_sends_an_artifact(shop: Shop) -> None:
    """Invariant 9: what comes on standard input is a release as any other, and decides no more for the host."""
    host, first = shop.host, shop.current()
    line = f"{COMMAND} pack | sudo -n {COMMAND} --app shop deploy -"
    host.run("sh", "-c", line, cwd="/home/alice/shop", user="alice")
    second = shop.current()
    assert second != first
    host.run("sh", "-c", "echo '[sandbox]\nwritable = [\"/etc\"]' >> gapless.toml", cwd="/home/alice/shop")
    line = f"{COMMAND} pack > ../new; cp {shop.project}/gapless.toml ."
    host.run("sh", "-c", line, cwd="/home/alice/shop", user="alice")
    line = f"sudo -n {COMMAND} --app shop deploy - < ../new"
    done = host.run("sh", "-c", line, cwd="/home/alice/shop", user="alice", check=False)
    assert "[sandbox] writable changes from [] to ['/etc']" in done.stderr
    assert shop.current() == second


def test_news_that_an_operator_would_have_told(shop: Shop) -> None:
    """Invariant 9: a program of root's choice alone is run as root, also to tell that the operator's was refused."""
    evil = "touch /root/told"
    text = f'\n[notify]\ncommand = ["/bin/sh", "-c", "{evil}"]\n[hooks]\nfailed = "{evil}"\n'
    shop.host.run("sh", "-c", f"cat >> gapless.toml <<'EOF'{text}EOF", cwd="/home/alice/shop", user="alice")
    done = alice(shop.host, "deploy")
    assert "[notify] command changes from '' to ['/bin/sh', '-c', 'touch /root/told']" in done.stderr
    assert "Warning" not in done.stderr
    assert shop.host.run("test", "-e", "/root/told", check=False).returncode == 1


@pytest.mark.parametrize("source", ["/root", "/root/secret", "/root/secret.tar", "inside"])
def test_what_only_root_may_read_is_not_handed_out(shop: Shop, source: str) -> None:
    """Invariant 9: as a directory, a file, an archive, or by a link, a name or a mount inside the project."""
    host, first = shop.host, shop.current()
    if source == "inside":
        host.run("sh", "-ec", "cp -p /root/secret inside.txt", cwd="/home/alice/shop")
        done = alice(host, "deploy")
    else:
        done = alice(host, "deploy", source)
    assert done.returncode > 0
    assert SECRET not in done.stdout + done.stderr
    assert host.run("grep", "-r", SECRET, "/srv/shop", check=False).stdout == ""
    assert shop.current() == first


@pytest.mark.parametrize("argv", [["up"], ["down", "--data", "--yes"], ["config"], ["deploy", "--app", "other"]])
def test_other_verbs_are_refused(shop: Shop, argv: list[str]) -> None:
    """Invariant 9: what acts on the host, or on another app, is not for operators."""
    done = alice(shop.host, *argv)
    assert done.returncode == 2
    assert shop.current()
    if argv == ["config"]:  # as it is advised, by somebody who may decide that
        assert hint(done.stderr).startswith("run it without --app")
        shop(*argv)


def test_a_rollback_brings_back_no_rights(shop: Shop) -> None:
    """Invariant 9: what root has taken away from the app since, an operator does not give it again."""
    shop.write(config='[sandbox]\nwritable = ["/etc"]\n')
    wide = shop.deploy()
    shop.write()
    narrow = shop.deploy()
    for argv in (["rollback"], ["rollback", wide]):
        done = alice(shop.host, *argv)
        assert done.returncode == 1
        assert "[sandbox] writable changes from [] to ['/etc']" in done.stderr
    assert shop.current() == narrow
    assert wide in shop("rollback").stdout


def test_an_operator_pauses_and_resumes(shop: Shop) -> None:
    """Whoever waits learns who it was."""
    assert alice(shop.host, "pause").returncode == 0
    assert shop.status()["paused"]["who"].startswith("alice@")
    assert alice(shop.host, "resume").returncode == 0
    assert shop.status()["paused"] is None


@pytest.mark.parametrize("source", ["/root/project", "/root/secret"])
def test_a_dry_run_reads_as_the_operator(shop: Shop, source: str) -> None:
    """Invariant 9: it says what a build would do, and why a source is none."""
    done = alice(shop.host, "deploy", "--dry-run", source)
    assert done.returncode == 2, done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize("again", [["--app", ""], ["--app="], ["--app", "shop"], ["--app", "other"]])
def test_a_second_app_is_refused(shop: Shop, again: list[str]) -> None:
    """Invariant 9: sudo vouches for the first `--app`; behind it any other, or none at all, could be meant."""
    host, first = shop.host, shop.current()
    host.run("sh", "-c", "printf '[sandbox]\\nwritable = [\"/etc\"]\\n' >> gapless.toml", cwd="/home/alice/shop")
    done = alice(host, *again, "deploy")
    assert done.returncode == 2, done.stdout
    assert "--app takes the name of one app" in done.stderr
    assert shop.current() == first


def test_sudo_keeps_to_the_rule(shop: Shop) -> None:
    """Without --app, or with another app's name, it is sudo that refuses."""
    for argv in ([COMMAND, "deploy"], [COMMAND, "--app", "other", "status"], [COMMAND, "-h"]):
        done = shop.host.run("sudo", "-n", *argv, cwd="/home/alice/shop", user="alice", check=False)
        assert done.returncode == 1
        assert "password is required" in done.stderr


@pytest.mark.parametrize("file", ["gapless.toml", "gapless.staging.toml"])
def test_settings_are_read_as_the_operator(shop: Shop, file: str) -> None:
    """Invariant 9: a link to a file that only root may read, in the place of either, hands out nothing of it."""
    host = shop.host
    host.run("rm", "-f", file, cwd="/home/alice/shop", user="alice")
    for hidden in ("/root/project/gapless.toml", "/root/secret", "/dev/zero"):
        host.run("ln", "-sfn", hidden, file, cwd="/home/alice/shop", user="alice")
        for argv in (["status"], ["deploy", "-n"], ["deploy"]):
            done = alice(host, *argv, "-d", "staging")
            assert done.returncode > 0
            assert SECRET not in done.stdout + done.stderr
            assert "Traceback" not in done.stderr
            assert "Permission denied" in done.stderr or "it is no regular file" in done.stderr, done.stderr


def test_an_operator_has_root_remember_little(shop: Shop) -> None:
    """Invariant 8: neither all that an app ever said, nor an archive that asks for it, fills root's memory."""
    assert alice(shop.host, "logs", "--lines", "2000000000").returncode == 2
    assert alice(shop.host, "logs", "--lines", "10000").returncode == 0
