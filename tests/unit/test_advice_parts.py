"""What is advised about a host, a server and a database, as far as no host is needed to do it: then it works."""

from __future__ import annotations

import contextlib
import gc
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import uvicorn

from gapless import config
from gapless.cli import VERBS, cli, options
from gapless.cli import config as configured
from gapless.cli import database as database_verbs
from gapless.cli.output import Output
from gapless.config.settings import Config, Database, argv
from gapless.doctor import command, other_proxies
from gapless.doctor import database as about_database
from gapless.doctor.finding import Finding, Severity
from gapless.errors import GaplessError
from gapless.linux import confined, procfs
from gapless.provision import host
from gapless.provision.account import Account
from gapless.provision.socket import SocketUnit
from gapless.release import budget, git_run, operators, sources
from gapless.release.deploy import deploy
from gapless.release.ledger import Ledger
from gapless.release.lock import deploy_lock
from gapless.release.pause import begin
from gapless.serve.connections import verify
from gapless.serve.stage import Stage, must_turn
from gapless.switch.embedded.records import Record
from gapless.switch.embedded.sockets import hold
from gapless.switch.held import inode
from gapless.switch.manager import Instance, Role
from gapless.switch.systemd import journal, litestream, replacement, systemctl, units
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.systemctl import Systemctl
from tests.host.host import REQUIREMENTS
from tests.scripted import ScriptedManager
from tests.unit.hints import hints
from tests.unit.release_kit import git, make_project
from tests.unit.release_shop import Shop
from tests.unit.test_watch import Scripted, watch

PROJECT = Path(__file__).parents[2]
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    project = make_project(tmp_path / "shop")
    return Shop(project, ScriptedManager(project / ".gapless"))


def refused(act: Callable[[], object], advised: str) -> str:
    """What is advised where `act` is refused."""
    with pytest.raises(GaplessError) as caught:
        act()
    assert advised in caught.value.hint
    return caught.value.hint


def settings(text: str = "", command: str = "gapless serve shop:app") -> Config:
    return config.parse(f'name = "shop"\ncommand = "{command}"\n{text}', Path("gapless.toml"))


# Every command of ours in a hint.


def test_every_command_of_ours_that_is_advised_is_one() -> None:
    """Invariant 8: its verb and its options are those of the command line."""
    advised = {one for text in hints() for one in re.findall(r"gapless ([a-z][^`;,)]*)", text)}
    found = set()
    for words in (one.replace("{}", " ").split() for one in advised if not one.startswith("serve ")):
        at: Any = cli
        while isinstance(at, click.Group) and words and (verb := at.get_command(click.Context(at), words[0])):
            at = verb
            found.add(words.pop(0))
        options = {name for one in at.params for name in one.opts} | {"--app"}
        for option in (one for one in words if one.startswith("-") and one != "-"):
            assert option in options, (at.name, option)
    assert found >= {"up", "deploy", "rollback", "logs", "prune", "status", "releases", "audit", "resume", "run"}


def test_every_package_that_is_advised_is_one() -> None:
    """Invariant 8: the extras of a `pip install` are those of the project."""
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [one for text in hints() for one in re.findall(r"gapless\[(.*?)\]", text)]
    assert named
    assert {extra for one in named for extra in one.split(",")} <= {*extras}


# doctor, about the command of the server.


def test_a_command_as_doctor_advises() -> None:
    """The server's own program, and `exec` in a shell's command, are well."""
    for words, better in (
        ("uv run gunicorn app:app", ".venv/bin/gunicorn app:app"),
        ("sh -c 'gunicorn app:app'", "sh -c 'exec gunicorn app:app'"),
    ):
        found = command.wrapper(argv(words))
        assert (".venv/bin/gunicorn" if words.startswith("uv") else "`exec`") in found.hint
        assert command.wrapper(argv(better)).state is Severity.OK


def test_a_program_as_doctor_advises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executable, in the release's .venv, and allowed to make code, each is well."""
    home, tree = tmp_path / "home", tmp_path / "tree"
    (tree / ".venv/bin").mkdir(parents=True)
    home.mkdir()
    monkeypatch.setattr(units, "HIDDEN", (home,))

    def found(name: str, more: str = "") -> Finding:
        return command.programs(settings(more, name), tree, units.PATH, sandboxed=True, homes_hidden=True)

    def make(path: Path, mode: int = 0o755) -> None:
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)

    make(tree / "plain", 0o644)
    subprocess.run(shlex.split(found("./plain").hint.partition(",")[0]), cwd=tree, check=True)
    assert found("./plain").state is Severity.OK
    make(home / "tool")
    assert found(f"{home}/tool").hint.startswith("install it into the release (its .venv")
    assert found("tool").hint.startswith("is it installed, for all users?")
    shutil.copy(home / "tool", tree / ".venv/bin/tool")
    assert found("tool").state is Severity.OK
    make(tree / "node")
    (more,) = re.findall(r"(\[sandbox\]) (jit = true)", found("./node").hint)
    assert found("./node", "\n".join(more)).state is Severity.OK


@pytest.mark.parametrize("which", ["nginx", "haproxy"])
def test_a_proxy_as_doctor_advises(which: str) -> None:
    """With the line of the advice in its configuration it keeps idle connections for less than linger."""
    text = {
        "nginx": "upstream shop {{ server 127.0.0.1:8000; keepalive 8; {} }}",
        "haproxy": "server shop 127.0.0.1:8000 {}",
    }[which]
    judge = getattr(other_proxies, which)
    long = "keepalive_timeout 90s;" if which == "nginx" else "pool-purge-delay 90s"
    found = judge(text.format(long), ["127.0.0.1:8000"], 35.0)
    assert found.state is Severity.WARNING
    better = text.format(found.hint.split("`")[1])
    assert judge(better, ["127.0.0.1:8000"], 35.0).state is Severity.OK


# `up` and systemd.


def test_a_systemd_that_is_too_old_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice is the embedded supervisor, which asks no systemd; with one again, `up` goes on."""
    program = tmp_path / "systemctl"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for said, advised in (("echo systemd 247", "use `gapless run` (the embedded supervisor) there"), ("", "")):
        program.write_text(f"#!/bin/sh\n{said}\n")
        program.chmod(0o755)
        if advised:
            refused(lambda: host.require_systemd(SystemdHome("shop")), advised)
    program.write_text("#!/bin/sh\necho systemd 257\n")
    if not Path("/run/systemd/system").is_dir():
        refused(lambda: host.require_systemd(SystemdHome("shop")), "use `gapless run` there")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    refused(lambda: Systemctl().do("daemon-reload"), "use `gapless run` (the embedded supervisor) on machines without")
    assert "run" in VERBS


def test_what_systemctl_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the bus is away, or who asks may not, the advice is about that; answered, it works."""
    program = tmp_path / "systemctl"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(systemctl, "PAUSE", 0.01)
    for said, user, advised in (
        ("Failed to connect to bus: No medium found", True, "sudo loginctl enable-linger"),
        ("Failed to connect to bus: No such file", False, "does systemd run here?"),
        ("Interactive authentication required.", False, "run it as root"),
    ):
        program.write_text(f"#!/bin/sh\necho '{said}' >&2; exit 1\n")
        program.chmod(0o755)
        refused(lambda user=user: Systemctl(user=user).do("start", "x"), advised)  # type: ignore[misc]
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(systemctl, "PATIENCE", 0.2)
    refused(lambda: Systemctl().show(["Id"], "x"), "`systemctl list-jobs` shows what it is busy with")
    program.write_text("#!/bin/sh\ncase $* in *list-jobs*) echo 'No jobs running.';; esac\n")
    monkeypatch.setattr(systemctl, "PATIENCE", 30.0)
    assert Systemctl().do("list-jobs") == "No jobs running.\n"
    program.rename(tmp_path / "journalctl")
    (tmp_path / "journalctl").write_text("#!/bin/sh\necho 'No journal files were opened.' >&2; exit 1\n")
    refused(lambda: journal._read(SystemdHome("shop"), 1), "root and the group systemd-journal may")
    (tmp_path / "journalctl").write_text("#!/bin/sh\nexit 0\n")
    assert journal._read(SystemdHome("shop"), 1) == []


def test_a_name_that_is_too_long_for_a_user() -> None:
    """Of the user that would run its builds, too, before either is made; a shorter one is made."""
    for name, works in (("s" * 30, False), ("s" * 20, True)):
        home = SystemdHome(name)
        both = [Account(home, one, home.shared) for one in (home.owner, home.builder)]
        if works:
            assert all(one.missing() for one in both)
        else:
            refused(lambda both=both: [one.missing() for one in both], "choose a shorter `name`")  # type: ignore[misc]


def test_a_socket_of_ones_own_manager() -> None:
    """In a directory that is one's own alone it is held."""
    home = SystemdHome("shop", user=True)
    refused(SocketUnit(settings('listen = "unix:/tmp/s"'), home, None)._refuse_writers, "such as $XDG_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(dir=Path.home()) as own:
        SocketUnit(settings(f'listen = "unix:{own}/s"'), home, None)._refuse_writers()


# Sources that need somebody else.


def test_a_git_that_hangs(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of the advice hangs, too, as it says it would; without what holds it up both work."""
    monkeypatch.setattr(git_run, "SILENT", 0.3)
    monkeypatch.setattr(git_run, "WITHIN", 0.5)
    real = shutil.which("git")
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    with monkeypatch.context() as held:
        held.setenv("PATH", str(tmp_path), prepend=":")
        hint = refused(lambda: git_run.ask(shop.project, "ls-files"), "shows whether it hangs there, too")
        argv = shlex.split(hint.split("`")[1])
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(argv, timeout=0.3, check=False)
    assert real
    monkeypatch.setattr(git_run, "WITHIN", 30.0)
    monkeypatch.setattr(git_run, "SILENT", 30.0)
    assert subprocess.run(argv, check=True, capture_output=True).stdout
    assert sources.find(shop.project)


def test_a_partial_clone(shop: Shop, tmp_path: Path) -> None:
    """What the advice fetches is what was missing."""
    git(shop.project, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{shop.project}", str(clone))

    def install() -> None:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        (tmp_path / "out").mkdir()
        sources.find(clone, "HEAD").install(tmp_path / "out")

    hint = refused(install, "it is a partial clone: as its owner, ")
    subprocess.run(["sh", "-c", hint.split("`")[1]], check=True)
    install()
    assert (tmp_path / "out/app.py").exists()


def test_what_git_crypt_has_encrypted(shop: Shop, tmp_path: Path) -> None:
    """Decrypted, the directory is deployed as it is, without a revision."""
    key = shop.project / "key"
    (shop.project / ".gitattributes").write_text("key filter=git-crypt\n")
    key.write_bytes(b"\0GITCRYPT\0rest")
    (tmp_path / "out").mkdir()
    source = sources.find(shop.project)
    refused(lambda: source.install(tmp_path / "out"), "`git-crypt unlock` decrypts them in a clone")
    key.write_bytes(b"secret")
    (tmp_path / "again").mkdir()
    sources.find(shop.project).install(tmp_path / "again")


def test_what_an_operator_may_not_decide() -> None:
    """Without the change that is root's to make, it is deployed."""
    before, wide = settings(), settings("[sandbox]\njit = true\n")
    refused(lambda: operators.refuse_other_rights(wide, before), "whoever may run `sudo gapless deploy` without --app")
    operators.refuse_other_rights(before, before)


@ROOT
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # what was read goes with the Source
def test_a_source_that_is_too_large_for_an_operator(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less of it is read."""
    alice = pwd.getpwuid(os.geteuid())
    with monkeypatch.context() as small:
        small.setattr(budget, "MAX_BYTES", 12_000)  # bytes; its stream, a tar archive, has more than its files
        (shop.project / "dump").write_bytes(bytes(11_000))
        refused(lambda: operators.find_as(alice, shop.project, None), "deploy less")
        (shop.project / "dump").unlink()
        assert operators.find_as(alice, shop.project, None)
        gc.collect()


# What the system refuses.


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """With no rights of root's inside."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@ROOT
def test_a_directory_of_somebody_elses(tmp_path: Path) -> None:
    """As the user who owns it, as it is advised, the command works; and so does a socket where one may write."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path != Path("/") and not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for path in (ours, theirs):
        path.mkdir(mode=0o755)
    os.chown(theirs, 65534, 65534)
    start = ("deploy", "me", 1.0, None, "r1", "x")
    with as_nobody():
        refused(lambda: Ledger(ours).start(*start), "run the command as the user who owns that directory")
        Ledger(theirs).start(*start)
        refused(lambda: hold([f"unix:{ours}/s"], []), "a Unix socket needs a directory you may write")
        hold([f"unix:{theirs}/s"], [])[f"unix:{theirs}/s"].close()
    Ledger(ours).start(*start)


def test_a_project_below_somebody_elses(tmp_path: Path) -> None:
    """-C, as it is advised, names the project that is meant, whoever may write there."""
    project = make_project(tmp_path / "shop")
    project.chmod(0o777)
    (project / "static").mkdir()
    hint = refused(lambda: options._load(project / "static"), f"if {project}/gapless.toml is the one that you mean")
    assert hint.split("`")[1] == f"-C {project}"
    assert options._load(project).name == "shop"


@ROOT
def test_a_root_without_its_capabilities() -> None:
    """`grep Cap`, as it is advised, shows what is missing; with all of them the process becomes the user."""
    code = (
        "import pwd; from gapless.linux import confined; from gapless.errors import GaplessError\n"
        "try: raise SystemExit(confined.start(['true'], pwd.getpwnam('nobody')).wait())\n"
        "except GaplessError as error: raise SystemExit(error.hint)"
    )
    less = ["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-setuid,-setgid"]
    done = subprocess.run([*less, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    shown = subprocess.run(shlex.split(done.stderr.split("`")[1]), capture_output=True, text=True, check=True)
    assert "CapBnd" in shown.stdout
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_mistake_of_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """-v, as it is advised, shows where it is."""
    monkeypatch.setattr(configured, "example_text", lambda: 1 // 0)
    for more, shown in (([], False), (["-v"], True)):
        with pytest.raises(SystemExit):
            cli.main(["config", "--example", *more])
        said = capsys.readouterr().err
        assert "the same with -v shows where" in said
        assert ("test_a_mistake_of_ours" in said) or ("ZeroDivisionError" in said) is shown


def test_a_log_of_a_database_that_grows(tmp_path: Path) -> None:
    """When that transaction has ended, and the log is short again, doctor says so."""
    one: Any = SimpleNamespace(path=tmp_path / "shop.db")
    one.path.touch()
    log = tmp_path / "shop.db-wal"
    with log.open("wb") as file:
        file.truncate(about_database.LONG + 1)
    assert "a forgotten BEGIN" in about_database._log(one).hint
    os.truncate(log, 0)
    assert about_database._log(one).state is Severity.OK


# The lock, a pause, a proof.


def test_a_lock_that_a_dead_deployers_command_has(tmp_path: Path) -> None:
    """`fuser` finds that command; once it has ended the lock is free."""
    if os.geteuid() == 0:
        subprocess.run([REQUIREMENTS, "tools"], check=True, timeout=300)
    if not shutil.which("fuser"):
        pytest.skip("there is no fuser, and only root can install it")
    (tmp_path / "migration.lock").touch()
    argv = ["flock", str(tmp_path / "migration.lock"), "sh", "-c", "echo; exec sleep 60"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as orphan:
        assert orphan.stdout
        orphan.stdout.readline()
        hint = refused(lambda: deploy_lock(tmp_path, why="deploy").__enter__(), "wait for that command to end")
        said = subprocess.run(shlex.split(hint.split("`")[1]), capture_output=True, text=True, check=True)
        assert str(orphan.pid) in said.stdout + said.stderr
        os.killpg(orphan.pid, signal.SIGKILL)
    with deploy_lock(tmp_path, why="deploy"):
        pass


def test_a_release_that_is_proven(shop: Shop) -> None:
    """Without --prove it is deployed; of one that was turned back the proof that the advice names is there."""
    shop.deploy()

    def proven(phase: str) -> None:
        shop.time += 60
        deploy(shop.target, shop.project, watch=watch(Scripted(phase)))

    refused(lambda: proven("baseline"), "deploy it without --prove")
    shop.deploy()
    hint = refused(lambda: proven("watching"), "; the proof: ")
    assert Path(hint.rpartition(": ")[2]).exists()
    assert re.search(r"all its output: `gapless logs \S+`", hint)


def test_a_pause_where_nobody_serves(shop: Shop) -> None:
    """Once a release serves there is something to pause: what then forbids it is another thing."""
    refused(lambda: begin(shop.target, 60), "`gapless status` shows what runs, `gapless logs` what it says")
    shop.deploy()
    with pytest.raises(GaplessError, match="its server ended just now"):  # the scripted one has no process
        begin(shop.target, 60)


def test_a_uvicorn_that_is_not_known() -> None:
    """The one that the extra brings is."""
    there: Any = uvicorn.Config(lambda _scope: None, log_config=None)
    there.load()

    class Renamed:
        def __init__(self) -> None:
            self.transport = None

    broken: Any = SimpleNamespace(http_protocol_class=there.http_protocol_class, ws_protocol_class=Renamed)
    refused(lambda: verify(broken), 'pip install "gapless[serve]"')
    verify(there)


def test_an_instance_that_does_not_serve_yet() -> None:
    """One that serves can stand by, and resume."""
    refused(lambda: must_turn(Stage.STARTING, Stage.STANDING_BY), "only one that serves can stand by and resume")
    assert must_turn(Stage.SERVING, Stage.STANDING_BY)
    assert must_turn(Stage.STANDING_BY, Stage.SERVING)


def test_a_socket_that_the_kernel_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allowed again, or with that instance ended, the supervisor has the socket."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        name = f"127.0.0.1:{one.getsockname()[1]}"
        about = {"sockets": {name: inode(one)}, "pid": os.getpid()}
        record = Record(id="r1.1", release="r1", since=time.time(), drain=1, private="", **about)  # type: ignore[arg-type]
        with monkeypatch.context() as yama:
            yama.setattr(procfs, "take", lambda *_: (_ for _ in ()).throw(PermissionError(1, "not permitted")))
            refused(lambda: hold([name], [record]), "Either allow it with `sysctl kernel.yama.ptrace_scope=0`")
        hold([name], [record])[name].close()
    hold([name], [])[name].close()


# The database.


def test_a_litestream_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Repeated when it does, or with a replica that is up, it works."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        endpoint = f"http://127.0.0.1:{there.getsockname()[1]}"
        about = Database(path="shop.db", replica="s3://bucket/shop", endpoint=endpoint)
        one = litestream.Litestream(SystemdHome("shop"), about)
        monkeypatch.setattr(litestream.Litestream, "control", tmp_path / "none")
        refused(lambda: one._copy(1), "repeat this")
        one.must_be_reached()
    refused(one.must_be_reached, "is it up, and reachable from here? then repeat this")


def test_what_somebody_else_has_for_too_long() -> None:
    """Repeated when it is over, it works."""
    refused(lambda: replacement._until(lambda: False, 0.1, "somebody else has it"), "repeat this")
    replacement._until(lambda: True, 0.1, "somebody else has it")


def test_a_replica_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Repeated when it does, it works."""
    one = litestream.Litestream(SystemdHome("shop"), Database(path="shop.db", replica="s3://bucket/shop"))
    program = tmp_path / "litestream"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(litestream, "program", lambda: program)
    monkeypatch.setattr(litestream.Litestream, "account", None)
    monkeypatch.setattr(litestream.Litestream, "_env", lambda _self: {})
    keep = ("stdin", "stdout", "stderr")
    start = lambda argv, _user, **more: subprocess.Popen(argv, **{one: more[one] for one in keep})  # noqa: E731
    monkeypatch.setattr(confined, "start", start)
    refused(lambda: one.ask("read", "it", "ltx", timeout=0.2), "is the replica up, and reachable from here?")
    program.write_text("#!/bin/sh\necho there\n")
    assert one.ask("read", "it", "ltx") == "there\n"


def test_a_release_that_still_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated when status shows it no more, it is not in the way."""
    monkeypatch.setattr(replacement, "DRAINS", 0.1)
    draining = Instance("r1.1", "r1", Role.RETIRING, 1, 0.0, True, "", "")
    shown = [[draining]]
    manager: Any = SimpleNamespace(instances=lambda: shown[-1])
    refused(lambda: replacement._live(manager), "repeat this when `gapless status` shows it no more")
    shown.append([])
    assert replacement._live(manager) is None


def test_a_point_that_the_replica_has_no_more() -> None:
    """What [database] retention keeps can be gone back to."""
    points = [{"max_txid": "5", "timestamp": "then"}]
    shown: list[list[dict[str, str]]] = [points]
    one: Any = SimpleNamespace(reached=lambda: shown[-1])
    ledger = SimpleNamespace(before=lambda _release: "3")
    project: Any = SimpleNamespace(ledger=ledger, current="r1")
    refused(lambda: database_verbs._point(Output(), project, one, "r2"), "`[database] retention` says how far back")
    shown.append([{"max_txid": "3", "timestamp": "then"}, *points])
    assert database_verbs._point(Output(), project, one, "r2") == "3"
