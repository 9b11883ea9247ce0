"""A terminal of its own for a command of another user, who is never to hold ours; we copy between the two."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
import termios
import tty
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from gapless.linux import signals

CHUNK = 4096  # bytes: as many as the kernel keeps of what is typed
LEFT = 1 << 16  # bytes: more than a pseudo-terminal holds when its command ends
LOOK_EVERY = 0.2  # seconds, while somebody else has our terminal
OFLAG, LFLAG, CC = 1, 3, 6  # of what tcgetattr(3) answers


@dataclass
class Terminal:
    """Both terminals of a command; all are descriptors, `stands_for` are those of 0, 1, 2 that are our terminal.

    Ours is raw meanwhile: what is typed, Ctrl-C too, is for the command's own terminal to judge. But in a pipeline or
    in the background ours is not ours alone: a pager reads it, others write to it. It is `shared` then, stays as it is,
    and of what is typed the command gets the lines, as long as nobody changes its modes.
    """

    stands_for: list[int]
    wake: int
    keyboard: int
    screen: int
    master: int
    slave: int
    shared: bool
    before: list[Any]
    listens: bool = True
    typed: bytes = b""  # read, and not written yet
    said: bytes = b""

    @property
    def name(self) -> str:
        """The path of the command's terminal."""
        return os.ttyname(self.slave)

    @property
    def is_there(self) -> bool:
        """Whether ours still is."""
        return self.master >= 0

    def fit(self) -> None:
        """Take over the size of our terminal, and make it raw where it is ours; again when either may have changed."""
        with contextlib.suppress(OSError, termios.error):  # it is gone: `copy` finds out
            if not self.shared and _in_front(self.keyboard):
                tty.setraw(self.keyboard, termios.TCSANOW)
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, fcntl.ioctl(self.screen, termios.TIOCGWINSZ, bytes(8)))

    def restore(self) -> None:
        """Give our terminal its modes back; in the background it is its shell that did."""
        with contextlib.suppress(OSError, termios.error):
            if not self.shared and _in_front(self.keyboard):
                termios.tcsetattr(self.keyboard, termios.TCSANOW, self.before)

    def copy(self, ended: int) -> None:
        """Copy between the two until a signal waits, the descriptor `ended` is readable, or our terminal is gone."""
        while self.is_there:
            mine = self._mine()
            reads = [self.wake, ended]
            if mine and not self.typed:
                reads.append(self.keyboard)
            if not self.said:
                reads.append(self.master)
            writes = [one for one, text in ((self.master, self.typed), (self.screen, self.said)) if text]
            ready, free, _ = select.select(reads, writes, [], None if mine or not self.listens else LOOK_EVERY)
            if self.wake in ready or ended in ready:
                return
            if self.keyboard in ready and self._mine():
                self._hear()
            if self.master in ready:
                self.said = _read(self.master)
            if self.master in free:
                self.typed = self.typed[_write(self.master, self.typed) :]
            if self.screen in free:
                self._say()

    def drain(self, wake: Collection[int]) -> None:
        """Show what the command said last; a signal of `wake` says that nobody waits for it any more."""
        signals.waiting(wake, self.wake)
        left = LEFT  # a child that it left behind may say more for ever
        while self.master >= 0 and (self.said or left > 0):
            if not self.said:
                self.said = _read(self.master)
                left -= len(self.said)
                if not self.said:
                    return
            ready, free, _ = select.select([self.wake], [self.screen], [])
            if ready:
                return
            if free:
                self._say()

    def hang_up(self) -> None:
        """End the command's terminal: the kernel sends SIGHUP to its session."""
        if self.master >= 0:
            os.close(self.master)
        self.master, self.listens, self.typed, self.said = -1, False, b"", b""

    def _mine(self) -> bool:
        if not self.listens or not _in_front(self.keyboard):
            return False
        try:
            return not self.shared or termios.tcgetattr(self.keyboard)[LFLAG] == self.before[LFLAG]
        except termios.error:
            return True  # it is gone: a read says so

    def _hear(self) -> None:
        try:
            self.typed = os.read(self.keyboard, CHUNK)
            if not self.typed or self.shared:
                modes = termios.tcgetattr(self.keyboard)  # fails when it is gone
                if modes[LFLAG] & termios.ICANON and not self.typed.endswith(b"\n"):
                    self.typed += modes[CC][termios.VEOF]  # Ctrl-D was typed
        except BlockingIOError:
            pass  # somebody else was faster
        except (OSError, termios.error):
            self.hang_up()

    def _say(self) -> None:
        try:
            self.said = self.said[_write(self.screen, self.said) :]
        except OSError:
            self.hang_up()


@contextlib.contextmanager
def stand_in(uid: int, wake: Collection[int]) -> Iterator[Terminal | None]:
    """A terminal that belongs to `uid` in the place of ours; None where none of the descriptors 0, 1, 2 is one.

    One of the signals `wake`, which are blocked, ends `copy`. Raises OSError.
    """
    ours = [one for one in (0, 1, 2) if os.isatty(one)]
    if not ours:
        yield None
        return
    with contextlib.ExitStack() as undo:
        # Opened anew: not to block is of an open file description, and ours is our shell's too.
        keyboard, screen = _reopen(undo, ours[0]), _reopen(undo, next(one for one in (1, 2, 0) if one in ours))
        waiting = signals.waiting(wake)
        undo.callback(os.close, waiting)
        master, slave = os.openpty()
        undo.callback(os.close, slave)  # until the end: without anybody who has it open, reading fails
        shared = any(_is_pipe(one) for one in (0, 1)) or not _in_front(keyboard)
        terminal = Terminal(ours, waiting, keyboard, screen, master, slave, shared, termios.tcgetattr(keyboard))
        undo.callback(terminal.hang_up)
        os.set_blocking(master, False)
        os.fchown(slave, uid, -1)  # /dev/stdout can be opened
        modes = termios.tcgetattr(keyboard)
        if shared:  # ours echoes already, and makes CR LF of LF
            modes[OFLAG] &= ~termios.OPOST
            modes[LFLAG] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        undo.callback(terminal.restore)
        terminal.fit()
        yield terminal


def _reopen(undo: contextlib.ExitStack, descriptor: int) -> int:
    copy = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    undo.callback(os.close, copy)
    return copy


def _in_front(descriptor: int) -> bool:
    """Whether the terminal is ours to read and to change; one that does not control us leaves that to everybody."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True


def _is_pipe(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False  # it is closed
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _read(master: int) -> bytes:
    try:
        return os.read(master, CHUNK)
    except BlockingIOError:
        return b""


def _write(descriptor: int, text: bytes) -> int:
    try:
        return os.write(descriptor, text)
    except BlockingIOError:
        return 0
