"""One ansible-playbook for a whole deploy: a play is a round of orders to hosts, begun when it is told, with answers.

Ansible has the connections; which hosts get what, and when, is said here. So its start is paid for once.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from gapless.errors import GaplessError
from gapless.fleet.hosts import Host
from gapless.linux.orphans import nothing_left

AT_ONCE = 50  # hosts of a wave that are worked on side by side; each takes a process here
PATIENCE = 10.0  # seconds for Ansible to end
LAST = 20  # lines of what it wrote
SHORT = 50  # characters of TMPDIR: a socket's path has 107 (unix(7)): 23 are our folder's, 11 Ansible's, 17 ssh's
# A dead host is given up in 15 s. What orders share is a connection of this play alone, which goes with that.
SSH = "-o BatchMode=yes -o ServerAliveInterval=5 -o ServerAliveCountMax=3"
SHARED, ANEW = f"{SSH} -o ControlMaster=auto -o ControlPersist=60s", f"{SSH} -o ControlMaster=no -o ControlPath=none"
SETTINGS = """[defaults]
action_plugins = {plugins}/action
callback_plugins = {plugins}/callback
stdout_callback = events
forks = {forks}
timeout = 10
gathering = explicit
retry_files_enabled = false
[connection]
pipelining = true
[ssh_connection]
ssh_args = {ssh}
control_path_dir = {folder}
"""


@dataclass(frozen=True)
class Order:
    """A command for a host, with the file that it gets on standard input, if any.

    It finds out `anew` whether the host can be reached, or goes through the connection of the orders before it. A host
    that is not reached is tried again for `patience` seconds.
    """

    argv: Sequence[str]
    sends: Path | None = None
    patience: float = 0.0
    anew: bool = False


@dataclass(frozen=True)
class Answer:
    """How a command ended and what it wrote; or, where the host was not reached, `unreachable` says why."""

    status: int = -1
    said: str = ""
    errors: str = ""
    unreachable: str = ""


class Observer(Protocol):
    """Is told when a host begins with an order, and what came of that."""

    def begun(self, host: Host) -> None: ...
    def answered(self, host: Host, answer: Answer) -> None: ...


class Play:
    """An ansible-playbook that has a round for each of `rounds`, which are the hosts that may get orders in it.

    It ends with the block, and by the death of this process.
    """

    def __init__(self, rounds: Sequence[Sequence[Host]]) -> None:
        self._folder = Path()
        self._hosts = {
            f"h{number}": host for number, host in enumerate(dict.fromkeys(host for one in rounds for host in one))
        }
        self._names = {host: name for name, host in self._hosts.items()}
        self._rounds = [[self._names[host] for host in one] for one in rounds]
        self._done = 0
        self._process: subprocess.Popen[bytes]
        self._events: IO[bytes]
        self._gate = -1
        self._left = ExitStack()

    def __enter__(self) -> Play:
        """Start Ansible. Raises GaplessError where it is not installed."""
        program = ansible_playbook()
        with ExitStack() as left:
            self._folder = Path(left.enter_context(own_folder()))
            _write(self._folder, self._hosts, self._rounds)
            left.enter_context(nothing_left())  # Ansible's workers and their ssh are in sessions of their own
            self._start(program)
            self._left = left.pop_all()
        return self

    def _start(self, program: str) -> None:
        events, told = os.pipe()
        gate, self._gate = os.pipe()
        try:
            with (self._folder / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    [program, "-i", str(self._folder / "hosts.json"), str(self._folder / "play.json")],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**surroundings(self._folder), "GAPLESS_FLEET": f"{told},{gate}"},
                    pass_fds=(told, gate),
                    start_new_session=True,  # Ctrl-C is ours to answer
                )
        finally:
            os.close(told)
            os.close(gate)
        self._events = os.fdopen(events, "rb")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            with self._left:
                os.close(self._gate)
                self._events.close()
                if kind is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(PATIENCE)
        finally:
            self._process.wait()

    def round(self, orders: Mapping[Host, Sequence[Order]], observer: Observer) -> None:
        """Have hosts do what is ordered, side by side, each one order after the other until one fails.

        Raises GaplessError where Ansible does not do its part.
        """
        written = Path(self._folder, f"{self._done}.json")
        told = {self._names[host]: [_told(one) for one in some] for host, some in orders.items()}
        assert told.keys() <= {*self._rounds[self._done]}, "a host that is not of this round"  # noqa: S101 -- ours
        written.write_text(json.dumps(told))
        for event in self._heard():
            if event.get("round") == str(self._done):
                break
        os.write(self._gate, b"\n")
        left = {*self._rounds[self._done]}
        self._done += 1
        for event in self._heard() if left else ():
            host, name = self._hosts[event["host"]], event["host"]
            if "begun" in event:
                observer.begun(host)
                continue
            if "answered" in event:
                one = written.with_suffix(f".{name}.{event['answered']}")
                observer.answered(host, Answer(**json.loads(one.read_text("utf-8"))))
                continue
            left.discard(name)
            if host in orders and event["failed"]:  # by Ansible itself
                observer.answered(host, Answer(unreachable=event["failed"]))
            if not left:
                break

    def _heard(self) -> Iterator[dict[str, Any]]:
        for line in self._events:
            event: dict[str, Any] = json.loads(line)
            yield event
        said = (self._folder / "log").read_text("utf-8", "replace").splitlines()[-LAST:]
        raise GaplessError("run", "ansible-playbook", "it ended before its work was done", details=tuple(said))


def ansible_playbook() -> str:
    """Find the program, beside this interpreter or on the PATH. Raises GaplessError."""
    beside = Path(sys.executable).with_name("ansible-playbook")
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if not found:
        raise GaplessError(
            "run", "ansible-playbook", "it is not installed", 'pip install "gapless[cli,fleet]"', status=2
        )
    return found


def own_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder, ours alone, for what Ansible reads and the sockets of its connections, wherever TMPDIR is."""
    far = len(os.path.realpath(tempfile.gettempdir())) > SHORT
    return tempfile.TemporaryDirectory(prefix="gapless-fleet-", dir="/tmp" if far else None)  # noqa: S108 -- 0700


def surroundings(folder: Path) -> dict[str, str]:
    """The variables that Ansible is started with, for what is in `folder` alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    own = {
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),  # and none of the project's, or of the caller's
        "ANSIBLE_HOME": str(folder / "ansible"),
        "LC_ALL": "C.UTF-8",  # it refuses another encoding
    }
    return {**kept, **own}


def _told(order: Order) -> dict[str, object]:
    return {
        "command": shlex.join(order.argv),
        "sends": str(order.sends or ""),
        "patience": order.patience,
        "ssh": ANEW if order.anew else SHARED,
    }


def _write(folder: Path, hosts: Mapping[str, Host], rounds: Sequence[Sequence[str]]) -> None:
    """Write what Ansible reads. Its own names for hosts are ours: in what people write, it sees patterns and ports."""
    known = {name: variables(host) for name, host in hosts.items()}
    groups = {f"round{number}": {"hosts": dict.fromkeys(names)} for number, names in enumerate(rounds)}
    plays = [
        {
            "name": str(number),
            "hosts": f"round{number}",
            "gather_facts": False,
            "ignore_errors": True,  # a host that Ansible cannot serve is not to be missing in the next round
            "ignore_unreachable": True,
            "tasks": [{"name": "Do what is ordered", "on_host": {"orders": str(folder / f"{number}.json")}}],
        }
        for number in range(len(rounds))
    ]
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": known, "children": groups}}))
    (folder / "play.json").write_text(json.dumps(plays))
    plugins = files("gapless").joinpath("fleet/plugins")
    largest = max(map(len, rounds), default=1)
    settings = SETTINGS.format(plugins=plugins, forks=min(largest, AT_ONCE), ssh=SHARED, folder=folder)
    (folder / "ansible.cfg").write_text(settings)


def variables(host: Host) -> dict[str, object]:
    """What Ansible is to know of a host."""
    user = {"ansible_user": host.user} if host.user else {}
    port = {"ansible_port": int(host.port)} if host.port else {}
    return {"ansible_host": host.address, **user, **port}
