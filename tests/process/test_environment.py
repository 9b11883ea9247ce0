"""The environment and the secrets of a release, from deploy to rollback, and `gapless exec` in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import Project

APP = """
import os
from pathlib import Path

async def app(scope, receive, send):
    words = [os.environ["WORD"], os.environ["TOKEN"], Path(os.environ["CREDENTIALS_DIRECTORY"], "key").read_text()]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": " ".join(words).encode()})
"""
MORE = """
env_file = ".env"
env = { WORD = "plain" }
secrets = { key = "keys/key" }
build = { run = "echo building" }
release = { migrate = "test -s $CREDENTIALS_DIRECTORY/key && test -n $TOKEN" }
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project, not under git, that runs with a file of variables and a secret."""
    (project.folder / "app.py").write_text(APP)
    (project.folder / "keys").mkdir()
    project.configure(MORE)
    fill(project, "old")
    project.supervise()
    return project


def fill(project: Project, word: str) -> None:
    (project.folder / ".env").write_text(f"TOKEN=token-{word}\nWORD=hidden-{word}\n")
    (project.folder / "keys" / "key").write_text(f"key-{word}")


def test_a_rollback_brings_the_old_values_back(shop: Project) -> None:
    """Instances, build and migration get variables and secrets, [env] over env_file; both are the release's own."""
    assert shop.answers() == "plain token-old key-old"
    fill(shop, "new")
    assert shop.answers() == "plain token-old key-old"
    shop("deploy", "-q")
    assert shop.answers() == "plain token-new key-new"
    shop("rollback", "-q")
    assert shop.answers() == "plain token-old key-old"


def test_secrets_are_in_their_two_places_alone(shop: Project) -> None:
    """Neither logs, ledger, records, releases, answers nor command lines hold what env_file and the secrets say."""
    assert "token-old" in shop.answers()
    said = shop("deploy", "-v") + shop("status") + shop("config") + shop("deploy", "-n")
    for verb in ("deploy", "status", "releases", "audit", "logs", "config"):
        said += shop(verb, "--json")
    said += "".join(process_titles())
    places = {shop.home / "env", shop.home / "secrets"}
    runtime = Path(os.environ["XDG_RUNTIME_DIR"])
    files = [path for where in (shop.home, runtime) for path in where.rglob("*") if path.is_file()]
    held = {path for path in files if holds(path.read_bytes())}
    assert held
    assert {path for path in held if not places & set(path.parents)} == set()
    assert not holds(said.encode())
    assert "  | building\n" in said  # as it builds
    assert "plain" in shop("config")  # [env] is in gapless.toml, and so in git


def holds(content: bytes) -> bool:
    return any(word in content for word in (b"token-old", b"hidden-old", b"key-old"))


def process_titles() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_text(errors="replace")
        except OSError:
            continue  # it ended meanwhile


def test_a_missing_file_fails_the_deploy_alone(shop: Project) -> None:
    """Invariant 3: the file is named, and what serves goes on serving."""
    (shop.folder / "keys" / "key").unlink()
    error = shop.json("deploy", status=1)["error"]
    assert error["object"].endswith("/keys/key")
    assert shop.answers() == "plain token-old key-old"


def test_exec_runs_a_command_as_the_release_runs(shop: Project) -> None:
    """Directory, variables and secrets are the current release's, or another one's; stdin and stdout are ours."""
    old = shop.json("status")["current"]
    fill(shop, "new")
    shop("deploy", "-q")
    new = shop.json("status")["current"]
    script = 'echo "$PWD $GAPLESS_RELEASE $WORD $TOKEN $(cat $CREDENTIALS_DIRECTORY/key) $(cat)"'
    for options, release, word in (((), new, "new"), (("--release", old), old, "old")):
        command = shop.command("exec", *options, "--", "sh", "-c", script)
        done = subprocess.run(command, cwd=shop.folder, input="input", capture_output=True, text=True, timeout=60)
        where = shop.home / "releases" / release
        assert (done.stdout, done.stderr) == (f"{where} {release} plain token-{word} key-{word} input\n", "")


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -KILL $$", 137), ("kill -INT $$", 130)])
def test_exec_exits_as_its_command_did(shop: Project, script: str, status: int) -> None:
    """The command's own status, or 128 + n when signal n ended it; options after it are its own."""
    assert shop("exec", "sh", "-c", script, status=status) == ""


def test_exec_says_what_it_cannot_start(project: Project) -> None:
    """Invariant 8: nothing deployed yet, no such release, no such program: each is said."""
    assert "nothing was deployed yet" in project("exec", "true", status=1)
    assert "--help" in project("exec", status=2)
    project.supervise()
    assert "there is no directory" in project("exec", "--release", "r1", "true", status=1)
    assert "cannot start no-such-program: No such file" in project("exec", "no-such-program", status=127)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_go_to_the_command(shop: Project, number: signal.Signals) -> None:
    """A signal to `gapless exec` is the command's to answer, and its status is still the one that counts."""
    script = f"trap 'echo heard; exit 9' {number.name[3:]}; exec 5<> wait; echo up; while :; do read x <&5; done"
    os.mkfifo(shop.home / "releases" / shop.json("status")["current"] / "wait")
    running = shop.start("exec", "sh", "-c", script)
    running.says("up")
    running.kill(number)
    assert running.status() == 9
    assert running.output == "up\nheard\n"


SPAWN = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
COUNT = """
import os, signal, sys
interrupt = {signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, interrupt)
print("up" if os.isatty(0) and os.isatty(1) else "no terminal", flush=True)
signal.sigwait(interrupt)
print("heard", flush=True)
input()
print("again" if signal.sigpending() & interrupt else "once", flush=True)
sys.exit(3)
"""


def test_exec_on_a_terminal(shop: Project) -> None:
    """The command has the terminal, and Ctrl-C on it reaches the command once."""
    argv = [sys.executable, "-c", SPAWN, *shop.command("exec", sys.executable, "-c", COUNT)]
    with subprocess.Popen(argv, cwd=shop.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"up\r\n"
            process.stdin.write(b"\x03")
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"heard\r\n")
            process.stdin.write(b"go on\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"go on\r\n"
            assert process.stdout.read() == b"once\r\n"
            assert process.wait(10) == 3
        finally:
            process.kill()  # and with its terminal what it runs
