"""`gapless exec` under systemd: the command in a unit as the server's, which is stopped when it, or its caller, ends.

Standard streams that are our terminal are one of its own, which we copy to ours. Pipes it has itself; of what only a
descriptor gives (a file at some place in it, a socket) we copy the bytes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import select
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gapless.errors import GaplessError
from gapless.linux import attending, procfs
from gapless.linux.disk import refusal
from gapless.linux.files import replace
from gapless.linux.terminal import Terminal, stand_in
from gapless.switch.job import NOT_EXECUTED, out_of_memory
from gapless.switch.systemd import units
from gapless.switch.systemd.deadman import stopped_with_us
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.systemctl import GONE

PART = 1 << 16  # bytes
LEFT = 1 << 20  # bytes: as much as a pipe of a user holds at the most, pipe(7)
LOOK_EVERY = 0.02  # seconds until systemd has noted what we have seen
OF_SYSTEMD = range(200, 246)  # statuses of a start that failed, systemd.exec(5)
NOT_SEEN = "203"  # EXIT_EXEC
MISSING = "a name is looked for in .venv/bin of the release and on its PATH; a path begins in the release"
HIDDEN = "install that program for all users: under systemd nothing in /root or /home is seen"
SHOWN = ("MainPID", "ActiveState", "ExecMainCode", "ExecMainStatus", "Result")


def interact(home: SystemdHome, argv: Sequence[str], release: str) -> int:
    """Run `argv` in `release` on our standard streams; returns its status, 128 + n for signal n.

    Raises GaplessError, with status 127 when it cannot be started.
    """
    # No process of the app has an underscore in its name. Whose it is stands in it, for `clear`.
    unit = home.other(f"exec_{os.getpid()}_{procfs.started(os.getpid())}", release)
    path = home.volatile / unit
    config = home.config(release)
    if problem := units.missing(config, home, release, argv[0]):
        hint = MISSING if problem == errno.ENOENT else f"chmod +x {argv[0]}, then deploy"
        raise _not_started(argv, os.strerror(problem), hint)
    with attending.told() as awaited, contextlib.ExitStack() as stack:
        uid = pwd.getpwnam(home.owner).pw_uid if home.owner else os.geteuid()
        terminal = stack.enter_context(stand_in(uid, awaited))
        streams = stack.enter_context(_streams(terminal))
        try:
            name = terminal.name if terminal else ""
            replace(path, units.execution(config, home, release, argv, streams.words, name))
        except OSError as error:
            raise refusal("write", str(path), error) from error
        stack.enter_context(stopped_with_us(home.ctl, unit, remove=[path]))
        stack.callback(_forget, home, unit)
        done = home.ctl.attempt("start", unit)
        streams.hand_over()
        found = home.ctl.show(SHOWN, unit)[0]
        # It may have failed faster than systemd saw it begin: then the status is its own.
        if done.returncode and (found["ExecMainCode"] == "0" or int(found["ExecMainStatus"]) in OF_SYSTEMD):
            if found["ExecMainStatus"] == NOT_SEEN:
                raise _not_started(argv, "it is not to be seen from there", HIDDEN)
            hint = f"`journalctl{home.own} -u {unit}` says why"
            raise _not_started(argv, done.stderr.strip() or found["Result"], hint)
        if pid := int(found["MainPID"]):
            with contextlib.suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                stack.callback(os.close, pidfd)
                attending.attend(attending.Command(pid, pidfd, apart=True), terminal)
        while found["ExecMainCode"] == "0" and found["ActiveState"] not in GONE:
            time.sleep(LOOK_EVERY)
            found = home.ctl.show(SHOWN, unit)[0]
        home.ctl.end(unit)
        if terminal:
            terminal.drain(attending.TOLD)
        streams.finish()
    if found["Result"] == "oom-kill":
        cause = out_of_memory("limits", config.limits.memory)
        raise GaplessError("run", argv[0], cause, status=128 + 9)
    return int(found["ExecMainStatus"]) + (128 if found["ExecMainCode"] in {"2", "3"} else 0)


def _not_started(argv: Sequence[str], cause: str, hint: str) -> GaplessError:
    return GaplessError("start", argv[0], cause, hint, status=NOT_EXECUTED)


def clear(home: SystemdHome) -> None:
    """End what is left of those whose gapless is gone, and its deadman, too: they would keep their releases."""
    for path in home.volatile.glob(home.other("exec_*", "*")):
        words = home.what(path.name).split("_")
        if not (words[1].isdecimal() and words[-1].isdecimal() and procfs.lives(int(words[1]), int(words[-1]))):
            _forget(home, path.name)


def _forget(home: SystemdHome, unit: str) -> None:
    with contextlib.suppress(GaplessError):  # systemd never read that file
        home.ctl.end(unit)
    home.ctl.attempt("reset-failed", unit)
    (home.volatile / unit).unlink(missing_ok=True)


class Streams:
    """The standard streams of a command: `words` say to systemd what each is."""

    def __init__(self, terminal: Terminal | None) -> None:
        self.words: list[str] = []
        self._theirs: list[int] = []
        self._over, self._end = os.pipe()
        self._copying: list[threading.Thread] = []
        for one in (0, 1, 2):
            if terminal and one in terminal.stands_for:
                self.words.append("tty")
            elif one == 2 and self._is_the_same():
                self.words.append("inherit")
            else:
                self.words.append(f"file:/proc/{os.getpid()}/fd/{one if _can_be_opened(one) else self._copied(one)}")

    def _is_the_same(self) -> bool:
        return self.words[1] != "tty" and os.path.samestat(os.fstat(1), os.fstat(2))

    def _copied(self, one: int) -> int:
        """The command's end of a pipe in the place of our stream."""
        reading, writing = os.pipe()
        theirs, source, target = (reading, 0, writing) if one == 0 else (writing, reading, one)
        self._theirs.append(theirs)
        thread = threading.Thread(target=self._copy, args=(source, target), daemon=True)
        if one:
            self._copying.append(thread)
        thread.start()
        return theirs

    def _copy(self, source: int, target: int) -> None:
        """Copy until the end, or until both the command has ended and nothing is left.

        What is left is what a pipe may hold: whom the command gave its end, the server say, may write for ever.
        """
        left = LEFT
        try:
            while source in (ready := select.select([source, self._over], [], [])[0]) and left > 0:
                part = os.read(source, PART)
                if not part:
                    break
                left -= len(part) if self._over in ready else 0
                while part:
                    part = part[os.write(target, part) :]
        except OSError:
            pass  # whoever reads has left: so does who writes, once we close ours
        finally:
            os.close(source if source > 2 else target)

    def hand_over(self) -> None:
        """Close what the command has by now: who reads finds its end by that."""
        while self._theirs:
            os.close(self._theirs.pop())

    def finish(self) -> None:
        """Return when all that the command said is with whoever called us."""
        if self._end >= 0:
            os.close(self._end)
            self._end = -1
        for thread in self._copying:
            thread.join()


@contextlib.contextmanager
def _streams(terminal: Terminal | None) -> Iterator[Streams]:
    streams = Streams(terminal)
    try:
        yield streams
    finally:
        streams.hand_over()
        streams.finish()


def _can_be_opened(one: int) -> bool:
    """Whether systemd can open the very thing: a pipe without a name. A file it begins anew, for a FIFO it waits."""
    path = Path(f"/proc/self/fd/{one}")
    try:
        name = str(path.readlink())
        if name.startswith("pipe:[") or name == os.devnull:
            os.close(os.open(path, os.O_RDONLY if one == 0 else os.O_WRONLY))  # another user may have made it
            return True
    except OSError:
        pass
    return False
