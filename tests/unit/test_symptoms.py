"""What programs were seen to write where the sandbox refused them something, and what is advised then."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gapless import config
from gapless.config.settings import Sandbox
from gapless.switch.symptoms import NEAR, Kind, of_sandbox, recognise

# As written under the sandbox by: cffi, llvmlite, Node, Java, PHP, Ruby, Erlang, the dynamic linker …
SEEN = {
    Kind.JIT: (
        "MemoryError: Cannot allocate write+execute memory for ffi.callback(). You might be running on a system …",
        "OSError: [Errno 1] cannot allocate executable memory. This may be due to security restrictions on your system",
        "# Check failed: 12 == (*__errno_location ()).",
        "Failed to mark memory page as executable - check if grsecurity/PaX is enabled",
        "PHP Warning:  preg_match(): Allocation of JIT memory failed, PCRE JIT will be disabled.",
        "Couldn't make JIT page (0x7fee7d06c000) executable, errno: Operation not permitted",
        "Internal error: jit: Failed to allocate executable+writable memory",
        "OSError: x.so: cannot enable executable stack as shared object requires: Operation not permitted",
        "libpython3.14.so.1.0: cannot enable executable stack as shared object requires: Invalid argument",
    ),
    Kind.STACK: ("RuntimeError: can't start new thread",),
    Kind.PROC: (
        "FileNotFoundError: [Errno 2] No such file or directory: '/proc/stat'",
        "free: Memory information file /proc/meminfo does not exist",
        "Error: ENOENT: no such file or directory, open '/proc/cpuinfo'",
    ),
    Kind.PRIORITY: (
        "    os.nice(5)\nPermissionError: [Errno 1] Operation not permitted",
        "SystemError [ERR_SYSTEM_ERROR]: A system error occurred: uv_os_setpriority returned EPERM (operation …)",
        "nice: cannot set niceness: Operation not permitted",
        "renice: failed to set priority for 32315 (process ID): Operation not permitted",
        "taskset: failed to set pid 5356's affinity: Operation not permitted",
        "    psutil.Process().cpu_affinity([0])\n  File psutil\n    raise\npsutil.AccessDenied: (pid=5405)",
        "ionice: ioprio_set failed: Operation not permitted",
        "-e:1:in `setpriority': Operation not permitted (Errno::EPERM)",
        "PHP Warning:  proc_nice(): Only a super user may attempt to increase the priority of a process",
    ),
    Kind.NETWORK: (
        "OSError: [Errno 97] Address family not supported by protocol",
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "    sock.connect(('192.0.2.1', 443))\nPermissionError: [Errno 1] Operation not permitted",
    ),
    Kind.OWNER: (
        "chown: changing ownership of 'x': Operation not permitted",
        "Error: EPERM: operation not permitted, chown '/srv/shop/shared/x'",
        "    os.chown(path, 33, 33)\nOSError: [Errno 22] Invalid argument: 'x'",
    ),
    Kind.ACCOUNT: ("    os.setgroups([33])\nPermissionError: [Errno 1] Operation not permitted",),
    Kind.NAMESPACES: ("[0112/1] FATAL:zygote_host_impl_linux.cc(127)] No usable sandbox! Update your kernel or see …",),
    Kind.ROOT: ('sudo: The "no new privileges" flag is set, which prevents sudo from running as root.',),
}
NARROW = Sandbox(network="none", proc="pid")
WIDE = Sandbox(jit=True, priority=True)
SETTABLE = (Kind.JIT, Kind.STACK, Kind.PROC, Kind.PRIORITY, Kind.NETWORK)


@pytest.mark.parametrize(("kind", "said"), [(kind, said) for kind, some in SEEN.items() for said in some])
def test_a_line_that_betrays_what_was_refused(kind: Kind, said: str) -> None:
    """Each is known among other lines, as what it is alone, and by the line that a person looks for."""
    lines = ["INFO: it starts", *said.splitlines(), "INFO: it ends"]
    [found] = recognise(lines, NARROW)
    assert (found.kind, found.line) == (kind, lines[1].strip()[:200])
    assert of_sandbox(lines, NARROW) == f"{found.advice}; "
    assert recognise([said], NARROW) == (found,)  # one entry of several lines
    assert recognise(lines, None) == ()


@pytest.mark.parametrize("kind", SETTABLE)
def test_a_setting_as_it_is_advised(kind: Kind) -> None:
    """Invariant 8: it is accepted, and with it nobody is told to set it again."""
    assert set(SEEN) == set(Kind)
    lines = list(SEEN[kind])
    [found] = recognise(lines, NARROW)
    setting = found.advice.partition("[sandbox] ")[2]
    written = config.parse(f"name = 'shop'\ncommand = 'shop'\n[sandbox]\n{setting}\n", Path("gapless.toml")).sandbox
    assert written != Sandbox() or setting in {'proc = "all"', 'network = "full"'}
    [name] = msgspec.toml.decode(setting)
    assert recognise(lines, msgspec.structs.replace(NARROW, **{name: getattr(written, name)})) == ()


def test_what_is_refused_all_the_same_is_said_to_be_left_out() -> None:
    """What no setting allows is known under any."""
    for kind, some in SEEN.items():
        assert [one.kind for one in recognise(some, WIDE)] == ([] if kind in SETTABLE else [kind])


def test_lines_that_betray_nothing() -> None:
    """A call long before an error, one's own processes, a refusal of something else: nobody is sent astray."""
    far = ["os.nice(5)", *["INFO: nothing"] * NEAR, "PermissionError: [Errno 1] Operation not permitted"]
    assert recognise(far, NARROW) == ()
    assert recognise(["No such file or directory: '/proc/self/x'", "/proc/12/stat: no such file"], NARROW) == ()
    assert recognise(["botocore: AccessDenied", "Permission denied: '/srv/x'", "GET /chown 200"], NARROW) == ()


def test_each_kind_is_said_once() -> None:
    """A worker that fails again and again fills the log; the first line is shown."""
    again = [line for _ in range(1000) for line in SEEN[Kind.PRIORITY][0].splitlines()]
    [found] = recognise([*again, *SEEN[Kind.JIT]], Sandbox())[1:]
    assert found.kind is Kind.PRIORITY
