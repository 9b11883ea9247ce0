"""What reaches hosts: Ansible, with an `ssh` that does here what a host is told; or what stands in for Ansible."""

from __future__ import annotations

import configparser
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gapless.cli.fleet.board import Board, refused
from gapless.cli.output import Output
from gapless.config import parse
from gapless.fleet import play, provision
from gapless.fleet.deploy import deploy
from gapless.fleet.hosts import Host, chosen
from gapless.fleet.parts import Fleet, State
from gapless.fleet.play import Answer, Order, Play
from tests.support import GAPLESS

WEB = Host("web1")
LEAST = 'name = "shop"\ncommand = "gapless serve app:app"\n[hosts]\nweb = ["web1"]\n'
SHOP = parse(LEAST, Path("gapless.toml"))
FLEET = Fleet(SHOP, chosen(SHOP))
SSH = '#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n'
ODD = "#!/bin/sh\ncase $* in *'cat > /dev/null'*) cat > /dev/null;; esac\necho '{}'\n"
KEEPS = '#!/bin/sh\ncp "$ANSIBLE_CONFIG" {there}\n'
DIES = "#!/bin/sh\necho no memory\nexit 1\n"
# It never ends, and its caller gets Ctrl-C as soon as there are no more orders.
STAYS = '#!/bin/sh\ncat "/proc/self/fd/${GAPLESS_FLEET#*,}"\nkill -INT $PPID\nexec sleep 60\n'

Program = Callable[[str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Writes a program, which is there as Ansible."""
    there = tmp_path / "ansible-playbook"

    def written(text: str) -> None:
        there.write_text(text)
        there.chmod(0o755)

    for module in (play, provision):
        monkeypatch.setattr(module, "ansible_playbook", lambda: str(there))
    return written


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Writes a program, which is there as ssh."""
    there = tmp_path / "bin" / "ssh"

    def written(text: str) -> None:
        there.parent.mkdir()
        there.write_text(text)
        there.chmod(0o755)
        monkeypatch.setenv("PATH", f"{there.parent}:{os.environ['PATH']}")

    return written


class Heard:
    """Keeps what was answered; a file says of each answer that it came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = list[str]()

    def begun(self, _host: Host) -> None:
        pass

    def answered(self, _host: Host, answer: Answer) -> None:
        self.said.append(answer.said.strip() or str(answer))
        (self.folder / f"heard {len(self.said)}").touch()


def test_an_answer_is_told_when_it_is_there(tmp_path: Path, ssh: Program) -> None:
    """Invariant 5: what a host has changed to is known, whatever ends the next order, which takes its time."""
    ssh(SSH)
    heard = Heard(tmp_path)
    waits = f"timeout 10 sh -c 'until [ -e \"{tmp_path}/heard 1\" ]; do sleep 0.05; done' && echo two"
    with Play([[WEB]]) as one:
        one.round({WEB: [Order(["echo", "one"]), Order(["sh", "-c", waits])]}, heard)
    assert heard.said == ["one", "two"]


@pytest.mark.parametrize(
    "verb", ["status", "logs", "audit", "doctor", "lock status", "rollback --yes", "deploy --dry-run"]
)
def test_a_host_of_another_version(tmp_path: Path, ssh: Program, verb: str) -> None:
    """Invariant 8: its answer lacks what every verb wants to show: it is named, and how to see which version it has."""
    ssh(ODD)
    (tmp_path / "gapless.toml").write_text(LEAST)
    argv = [*GAPLESS, *verb.split(), *(["."] if "deploy" in verb else [])]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "cannot run gapless on web1: it ended with 0, without an answer" in done.stderr
    assert "`ssh web1 gapless --version`" in done.stderr


def test_ctrl_c_while_ansible_ends(program: Program) -> None:
    """Neither that is left, with its connections, nor its folder."""
    program(STAYS)
    with pytest.raises(KeyboardInterrupt), Play([[WEB]]) as one:
        left = Path("/proc", str(one._process.pid)), one._folder
    assert not any(path.exists() for path in left)


def test_an_ansible_that_dies(program: Program) -> None:
    """Invariant 8: what it wrote is told, and each host is named, with what became of it."""
    program(DIES)
    board = Board(Output())
    with deploy(FLEET, Path("artifact"), "ann@desk", [], board) as rollout:
        ended = board.run(rollout, "abc")
    last = refused("deploy", "shop", rollout.parts, State.DEPLOYED, ended)
    assert last
    assert last.cause == "cannot run ansible-playbook: it ended before its work was done; web1: spared"
    assert last.details == ("no memory",)


@pytest.mark.parametrize("verb", ["deploy", "up"])
def test_a_long_path_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Program, verb: str
) -> None:
    """A socket's path has 107 characters at most, unix(7): Ansible's name for it takes 10, and ssh adds 17 to that."""
    (long := tmp_path / ("x" * 70)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    program(KEEPS.format(there=tmp_path / "ansible.cfg"))
    if verb == "deploy":
        with Play([[WEB]]):
            pass
    else:
        assert [*provision.provision(FLEET, long, dry_run=False)] == []
    (found := configparser.RawConfigParser()).read(tmp_path / "ansible.cfg")
    assert len(f"{found['ssh_connection']['control_path_dir']}/") + 10 + 17 <= 107
