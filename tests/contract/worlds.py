"""Where the contract tests happen: a manager with its releases and, but for the scripted one, a real port."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import msgspec

from gapless.errors import GaplessError
from gapless.switch.embedded.manager import EmbeddedManager
from gapless.switch.embedded.records import Record
from gapless.switch.manager import Instance, Manager, Readiness, Role
from tests.scripted import ScriptedManager
from tests.support import wait_until

HERE = Path(__file__).parent


class AnyWorld(Protocol):
    """A manager that runs, and what a test needs that looks at its instances alone."""

    @property
    def manager(self) -> Manager: ...

    def release(self, name: str, behaviour: str = "") -> str: ...
    def boots(self, release: str) -> int: ...
    def kill(self, instance: Instance) -> None: ...
    def caller(self, code: str) -> subprocess.Popen[bytes]: ...


class World(AnyWorld, Protocol):
    """One with real processes and a real port."""

    address: tuple[str, int]
    shared: Path

    def release(self, name: str, behaviour: str = "", command: Sequence[str] = ()) -> str: ...
    def inode(self) -> int: ...


class Callers:
    """Runs code in processes that a test may kill; `prelude` makes the `manager` that the code has at hand."""

    def __init__(self, prelude: str) -> None:
        self.prelude = prelude
        self.processes: list[subprocess.Popen[bytes]] = []

    def caller(self, code: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", f"from pathlib import Path\n{self.prelude}\n{code}"]
        self.processes.append(subprocess.Popen(argv, cwd=HERE.parents[1]))
        return self.processes[-1]

    def down(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


class Scripted(Callers):
    """The scripted manager; since nothing runs, it is told how a candidate of the release made last will end."""

    ENDS: ClassVar = {"": Readiness.READY, "exits": Readiness.EXITED, "hangs": Readiness.TIMED_OUT}

    def __init__(self, home: Path) -> None:
        super().__init__(f"from tests.scripted import ScriptedManager; manager = ScriptedManager(Path({str(home)!r}))")
        self.home = home
        self.manager = ScriptedManager(home)
        self.manager.drains = False

    def release(self, name: str, behaviour: str = "") -> str:
        (self.home / "releases" / name).mkdir(parents=True)
        self.manager.readiness = self.ENDS[behaviour]
        return name

    def boots(self, release: str) -> int:
        return self.manager.boots.count(release)

    def kill(self, instance: Instance) -> None:
        self.manager.end(instance)


class Processes(Callers):
    """Instances that are processes of this machine, and note in `shared` that they boot (app.py)."""

    shared: Path

    def boots(self, release: str) -> int:
        """How often it was started."""
        return (self.shared / "boots").read_text().split().count(release)

    def kill(self, instance: Instance) -> None:
        os.kill(instance.pid, signal.SIGKILL)


class Embedded(Processes):
    """The embedded supervisor, in a process of its own."""

    def __init__(self, project: Path) -> None:
        project.mkdir(parents=True, exist_ok=True)
        self.project = project
        self.home = project / ".gapless"
        super().__init__(
            "from gapless.switch.embedded.manager import EmbeddedManager; "
            f"manager = EmbeddedManager(Path({str(self.home)!r}))"
        )
        self.shared = self.home / "shared"
        self.manager = EmbeddedManager(self.home)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address: tuple[str, int] = free.getsockname()
        self.output = project / "output"
        self.listen = f"127.0.0.1:{self.address[1]}"
        self.configure(project)

    def configure(self, directory: Path, behaviour: str = "", command: Sequence[str] = ("x",), more: str = "") -> None:
        """Write gapless.toml there."""
        (directory / "gapless.toml").write_text(f"""
            name = "web"
            command = {msgspec.json.encode(list(command)).decode()}
            listen = "{self.listen}"
            env = {{ BEHAVIOUR = "{behaviour}" }}
            {more}
        """)

    def release(self, name: str, behaviour: str = "", command: Sequence[str] = (), more: str = "") -> str:
        """Make the release `name`, of which every instance behaves like that."""
        directory = self.home / "releases" / name
        directory.mkdir(parents=True)
        self.configure(directory, behaviour, command or [sys.executable, str(HERE / "app.py")], more)
        return name

    def up(self, *first: str, through: Sequence[str] = (), give: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        """Start the supervisor, by way of the command `through`, and wait until it answers or ends."""
        argv = [*through, sys.executable, str(HERE / "supervise.py"), str(self.home), *first]
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, pass_fds=give
            )
        self.processes.append(process)
        wait_until(lambda: process.poll() is not None or self.answers(process.pid), what="the supervisor answers")
        return process

    def answers(self, pid: int) -> bool:
        try:
            return self.manager.about().pid == pid
        except GaplessError:
            return False

    def inode(self) -> int:
        return self.manager.about().sockets[self.listen]

    def says(self, text: str) -> None:
        """Wait until the supervisor has emitted `text`."""
        wait_until(lambda: text in self.output.read_text(), what=f"{text!r} in {self.output.read_text()}")

    def records(self) -> list[Record]:
        return [msgspec.json.decode(path.read_bytes(), type=Record) for path in self.home.glob("run/*.instance")]

    def apps(self) -> set[int]:
        """The pid of every process that runs in the environment of an instance of this world."""
        found = set()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
                if entry.name.isdecimal() and f"GAPLESS_SHARED={self.shared}\0".encode() in (
                    (entry / "environ").read_bytes()
                ):
                    found.add(int(entry.name))
        return found

    def down(self) -> None:
        """End everything that this world started, whatever state the test left it in."""
        super().down()
        # By their environment, not by the records: a test may have failed because those are wrong.
        for pid in self.apps():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.apps(), what="everything is gone")


def ask(address: tuple[str, int], path: str = "/", sent: threading.Event | None = None) -> str:
    """One request on a connection of its own: the answer, "<release> <pid>"; `sent` is set once it is there."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        if sent:
            sent.set()
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()


class Later(threading.Thread):
    """A request that is in the queue of `address`, before every later one; `result` waits for its answer."""

    def __init__(self, address: tuple[str, int], path: str = "/") -> None:
        super().__init__(daemon=True)
        self._what = (address, path)
        self._sent = threading.Event()
        self._answer: str | Exception = ""
        self.start()
        assert self._sent.wait(30), self._answer

    def run(self) -> None:
        try:
            self._answer = ask(*self._what, self._sent)
        except Exception as error:
            self._answer = error

    def result(self) -> str:
        self.join(40)
        assert isinstance(self._answer, str), self._answer
        assert self._answer, "no answer"
        return self._answer


@contextlib.contextmanager
def traffic(address: tuple[str, int]) -> Iterator[list[str]]:
    """Requests one after the other on two threads, all through the block; the block fails if one was lost."""
    answers: list[str] = []
    lost: list[Exception] = []
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            try:
                answers.append(ask(address))
            except Exception as error:
                lost.append(error)

    visitors = [threading.Thread(target=visit, daemon=True) for _ in range(2)]
    for visitor in visitors:
        visitor.start()
    try:
        wait_until(lambda: answers or lost, what="the first answer")
        yield answers
        before = len(answers)
        wait_until(lambda: len(answers) > before + 4 or lost, what="answers after the last event")
    finally:
        over.set()
        for visitor in visitors:
            visitor.join(40)
    assert not lost


def live(world: AnyWorld, release: str, within: float = 10.0) -> Instance:
    """Make `release` the live one by hand, as its first release; it is ready `within` so many seconds."""
    started = world.manager.start(release, within)
    assert started.readiness is Readiness.READY, started.cause
    world.manager.point(release)
    return next(one for one in world.manager.instances() if one.role is Role.LIVE)


def refused_elsewhere(world: Embedded) -> tuple[Instance, str]:
    """Kill the supervisor of a release; the next one has to listen elsewhere, and ends. Who serves, and where."""
    supervisor = world.up()
    first = live(world, world.release("r1"))
    supervisor.kill()
    supervisor.wait()
    was, world.listen = world.listen, "127.0.0.1:1"
    world.configure(world.project)
    assert world.up().wait() == 1
    return first, was


def named(world: AnyWorld, instance: Instance) -> Instance | None:
    """The instance as it is now, or None when it is gone."""
    return next((one for one in world.manager.instances() if one.id == instance.id), None)


def is_gone(pid: int) -> bool:
    """Whether the process has ended."""
    try:
        # A zombie is gone, too: whoever is process 1 here may be slow to reap it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
