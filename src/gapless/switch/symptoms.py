"""What a log says where the sandbox refused a program something, and what to set: text in, advice out. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gapless.config.settings import Sandbox

NEAR = 8  # lines from the call in a traceback to the error that it ended with
LONGEST = 200  # characters of a line that is shown again


class Kind(enum.StrEnum):
    """What was refused."""

    JIT = "code that is made while it runs"
    STACK = "a thread"
    PROC = "the system's figures"
    PRIORITY = "a priority"
    NETWORK = "the network"
    OWNER = "a file's owner"
    ACCOUNT = "another user"
    NAMESPACES = "a sandbox of its own"
    ROOT = "root"


ADVICE = {
    Kind.JIT: "in gapless.toml: [sandbox] jit = true",
    Kind.STACK: "if its interpreter has an executable stack (`gapless doctor` says so): [sandbox] jit = true",
    Kind.PROC: 'in gapless.toml: [sandbox] proc = "all"',
    Kind.PRIORITY: "in gapless.toml: [sandbox] priority = true",
    Kind.NETWORK: 'in gapless.toml: [sandbox] network = "full"',
    Kind.OWNER: "leave that chown out: what the app writes is its user's, who may give nothing away",
    Kind.ACCOUNT: "leave the user and the group out of its settings: it is started as the app's",
    Kind.NAMESPACES: "start it without a sandbox of its own (Chromium: --no-sandbox): it is in one",
    Kind.ROOT: "leave sudo out: nothing of a release becomes root",
}


@dataclass(frozen=True)
class Symptom:
    """What was refused, by the line that betrays it."""

    kind: Kind
    line: str

    @property
    def advice(self) -> str:
        """What to set, or to leave out."""
        return ADVICE[self.kind]

    @property
    def said(self) -> str:
        """The line, without the release that a log has before it."""
        return self.line.partition(" | ")[2] or self.line


@dataclass(frozen=True)
class _Signs:
    """How to know a kind, in small letters: by one of `words`, or by a call near which something was not permitted.

    Where `possible` says no, a setting allows it already.
    """

    words: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ("not permitted", "eperm", "accessdenied", "permission denied")
    possible: Callable[[Sandbox], bool] = lambda _sandbox: True


SIGNS = {
    Kind.JIT: _Signs(
        (
            "allocate write+execute memory",  # cffi
            "allocate executable",  # numba (llvmlite), Erlang
            "check failed: 12 == (*__errno_location",  # V8: Node, Chromium
            "failed to mark memory page as executable",  # Java
            "allocation of jit memory failed",  # PHP's regular expressions
            "make jit page",  # Ruby
            "cannot enable executable stack",  # the dynamic linker
        ),
        possible=lambda sandbox: not sandbox.jit,
    ),
    Kind.STACK: _Signs(("can't start new thread",), possible=lambda sandbox: not sandbox.jit),
    Kind.PROC: _Signs(
        calls=("/proc/",),
        refusals=("no such file", "enoent", "does not exist"),
        possible=lambda sandbox: sandbox.proc == "pid",
    ),
    Kind.PRIORITY: _Signs(
        ("proc_nice(): only a super user",),  # PHP
        (
            *("nice(", "set niceness", "set priority", "setpriority", "ionice", "ioprio_set"),
            *("affinity", "sched_setscheduler", "sched_setparam", "set_mempolicy"),
        ),
        possible=lambda sandbox: not sandbox.priority,
    ),
    Kind.NETWORK: _Signs(
        (
            *("address family not supported", "network is unreachable", "enetunreach"),
            *("failure in name resolution", "name or service not known", "eai_again"),
        ),
        ("connect", "dial tcp"),
        possible=lambda sandbox: sandbox.network != "full",
    ),
    Kind.OWNER: _Signs(calls=("chown", "changing ownership"), refusals=("not permitted", "eperm", "invalid argument")),
    Kind.ACCOUNT: _Signs(calls=("setgroups", "initgroups", "setuid", "setgid", "setresuid", "setresgid")),
    Kind.NAMESPACES: _Signs(("no usable sandbox", "failed to move to new namespace")),
    Kind.ROOT: _Signs(('"no new privileges" flag is set',)),
}
OWN_PROC = re.compile(r"/proc/(self|thread-self|[0-9]+)\b")  # which is there in any case


def recognise(lines: Iterable[str], sandbox: Sandbox | None) -> tuple[Symptom, ...]:
    """Find what `sandbox` refused the program that wrote `lines`, each kind once; None: it was in none."""
    if sandbox is None:
        return ()
    written = [line for several in lines for line in several.splitlines()]
    small = [OWN_PROC.sub("", line.lower()) for line in written]
    found = []
    for kind, signs in SIGNS.items():
        if signs.possible(sandbox):
            place = next((at for at in range(len(small)) if _betrays(signs, small[at : at + NEAR])), None)
            found += [] if place is None else [Symptom(kind, written[place].strip()[:LONGEST])]
    return tuple(found)


def of_sandbox(lines: Iterable[str], sandbox: Sandbox | None) -> str:
    """The part of a hint that is due when `lines` of a program tell of what its sandbox refused; else empty."""
    return "".join(f"{one.advice}; " for one in recognise(lines, sandbox))


def _betrays(signs: _Signs, lines: Sequence[str]) -> bool:
    """Whether the first of the lines is a sign, or a call that the next ones say was refused."""
    if any(word in lines[0] for word in signs.words):
        return True
    called = any(call in lines[0] for call in signs.calls)
    return called and any(refusal in line for line in lines for refusal in signs.refusals)
