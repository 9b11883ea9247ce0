"""Start a command as another user for good: in a session of its own, without a capability, and never to gain one.

Popen's own `user=` changes the user before anything of ours could run, and then nobody may empty the bounding set; a
helper such as setpriv would be looked up on a PATH that begins with the release.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import subprocess
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from gapless.errors import GaplessError
from gapless.linux.libc import checked, libc

# linux/prctl.h and linux/capability.h
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
LONGEST = 300  # characters of what a command says
CAPABILITY_VERSION_3 = 0x20080522

# Made here: between fork and exec nothing may be made.
_HEADER = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
_NONE = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice, for 64 bits


def start(argv: Sequence[str], user: pwd.struct_passwd, **options: Any) -> subprocess.Popen[bytes]:
    """Start `argv` as `user`; `options` are Popen's.

    Raises GaplessError that names the step of the change that failed, OSError as Popen does.
    """
    steps = _steps(user)
    heard, report = os.pipe()

    def become() -> None:
        for step, call in steps.items():
            try:
                call()
            except OSError as error:
                os.write(report, f"cannot {step}: {error.strerror}".encode())
                raise

    try:
        return subprocess.Popen(argv, preexec_fn=become, **options | {"start_new_session": True})
    except subprocess.SubprocessError as error:  # all that Popen says is that `become` failed
        os.close(report)
        report = -1
        cause = os.read(heard, 1000).decode() or str(error)
        hint = "`grep Cap /proc/self/status` shows what root may do here; run it where root has all its capabilities"
        raise GaplessError("become", f"the user {user.pw_name}", cause, hint) from None
    finally:
        os.close(heard)
        if report >= 0:
            os.close(report)


def run(argv: Sequence[str], user: pwd.struct_passwd, within: float) -> str:
    """Run `argv` as `user`, with umask 0027 and no variables; why it failed, "" where it did not.

    Raises as `start` does.
    """
    about = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "umask": 0o027}
    with start(argv, user, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, **about) as process:
        try:
            said = process.communicate(timeout=within)[1].decode(errors="replace").strip()
        except subprocess.TimeoutExpired:
            process.kill()
            return f"it took longer than {within:g} s"
    return (said[-LONGEST:] or f"{argv[0]} exited with status {process.returncode}") if process.returncode else ""


def _steps(user: pwd.struct_passwd) -> dict[str, Callable[[], object]]:
    """What a child does to become `user`, in this order, by the names that errors give it."""
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    # The kernel refuses numbers that it does not know; one that is out already needs no right to be dropped.
    known = takewhile(lambda number: libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0, range(64))
    bounding = [number for number in known if libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0)]

    def drop() -> None:
        for number in bounding:
            checked(libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0))

    return {
        "empty its bounding set": drop,
        "set its groups": lambda: os.setgroups(groups),
        "set its group": lambda: os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid),
        "set its user": lambda: os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid),
        "give up its capabilities": lambda: checked(libc.capset(_HEADER, _NONE)),  # the ambient ones go with them
        "set no_new_privs": lambda: checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
    }
