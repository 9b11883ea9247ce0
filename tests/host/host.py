"""A real systemd host for tests: this machine's userland without what people keep there (/root, /home, /srv), booted.

In namespaces of its own, which takes Linux and root.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.host import network
from tests.support import get

PROJECT = Path(__file__).parents[2]
BOOT = str(Path(__file__).with_name("boot.sh"))
REQUIREMENTS = str(Path(__file__).with_name("requirements.sh"))
# What must be at the same place inside as outside: the project with its .venv, and that one's interpreter. The system's
# own is on the host's disk already; it stays writable there.
NEEDED = (str(Path(one).resolve()) for one in (PROJECT, sys.prefix, sys.base_prefix))
LOWER = os.environ.get("LOWER", "")  # another userland, made by debian.sh: it has a project of its own at this place
VISIBLE = tuple(
    dict.fromkeys(one for one in NEEDED if one not in ("/usr", "/usr/local") and Path(f"{LOWER}{one}").exists())
)
SEARCHED = f"{sys.prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROJECTS = Path("/opt/gapless-tests")  # inside, and on nobody's machine: /opt is as it is there
BOOT_SECONDS = 60.0
AS_USER = """
exec setpriv --reuid="$0" --regid="$(id -g "$0")" --init-groups --reset-env --pdeathsig=KILL \\
    env PATH="$PATH" LANG=C.UTF-8 XDG_RUNTIME_DIR="/run/user/$(id -u "$0")" "$@"
"""

T = TypeVar("T")
# A program of the host that writes files below its argument: JSON on standard input has their names and texts.
WRITE = """
import json, pathlib, sys
for name, text in json.load(sys.stdin).items():
    path = pathlib.Path(sys.argv[1], name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
"""


def install_requirements() -> None:
    """Install what hosts boot, where it is missing. Raises CalledProcessError."""
    subprocess.run([REQUIREMENTS], check=True, timeout=480)


class ForbiddenError(Exception):
    """This machine does not let us make a host; the text is what it said."""


class BootError(Exception):
    """A host did not come up; the text is what it logged."""


class Host:
    """One host with its own disk, network (loopback only), users and journal; up when this returns."""

    address = "127.0.0.1"

    def __init__(self) -> None:
        self.folder = Path("/dev/shm") / f"gapless-host-{secrets.token_hex(4)}"  # noqa: S108 -- a tmpfs: no disk writes
        self.folder.mkdir(mode=0o700)
        self._booted: subprocess.Popen[str] | None = None
        self._holder = subprocess.Popen(
            ["unshare", "--mount", BOOT, "disk", str(self.folder), *VISIBLE],
            stdin=subprocess.PIPE,  # its end, even by our own death, makes the holder clear up
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            self._await_disk()
            self.boot()
        except BaseException:
            self.close()
            raise

    def _await_disk(self) -> None:
        assert self._holder.stdout is not None
        said = ""
        for line in self._holder.stdout:
            if line == "ready\n":
                return
            said += line
        raise ForbiddenError(said or "the disk's holder ended")

    def __enter__(self) -> Host:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """PID 1 of the host, as this machine numbers it."""
        return int((self.folder / "pid").read_text())

    @property
    def holder(self) -> int:
        """The process in whose mounts the disk is, at `folder`/disk/root, also while the power is off."""
        return self._holder.pid

    def boot(self) -> None:
        """Boot from the disk as it is; a second try if the first fails. Raises BootError with the console's log."""
        try:
            self._boot()
        except BootError:
            self.kill_power()
            self._boot()

    def _boot(self) -> None:
        (self.folder / "pid").unlink(missing_ok=True)
        with self._console.open("wb") as console:
            self._booted = subprocess.Popen(
                ["nsenter", f"--target={self._holder.pid}", "--mount", BOOT, "boot", str(self.folder), *VISIBLE],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                text=True,
                start_new_session=True,
            )
        deadline = time.monotonic() + BOOT_SECONDS
        state = "off"
        while state not in ("running", "degraded"):
            if self._booted.poll() is not None:
                raise BootError(f"the host ended while it booted\n{self._log()}")
            if time.monotonic() > deadline:
                raise BootError(f"the host is still {state!r} after {BOOT_SECONDS} s\n{self._log()}")
            time.sleep(0.05)
            if (self.folder / "pid").exists():
                state = self.run("systemctl", "is-system-running", check=False).stdout.strip()

    @property
    def _console(self) -> Path:
        return self.folder / "console"

    def _log(self) -> str:
        """All that a host said that did not boot: its mounts, systemd before journald runs, jobs, journal."""
        log = self._console.read_text(errors="replace")
        with contextlib.suppress(FileNotFoundError):
            log += (self.folder / "kmsg").read_text(errors="replace")
        if self._booted is not None and self._booted.poll() is None and (self.folder / "pid").exists():
            for argv in (["systemctl", "list-jobs"], ["systemctl", "--failed"], ["journalctl", "--no-pager", "-n100"]):
                log += self.run(*argv, check=False).stdout
        return log

    def kill_power(self) -> None:
        """SIGKILL PID 1 and with it all that runs inside. The disk stays as it is; /run, /tmp and /dev/shm are lost."""
        if self._booted is None:
            return
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if self._booted.poll() is None:
                os.kill(self.pid, signal.SIGKILL)
        try:
            self._booted.wait(BOOT_SECONDS)
        except subprocess.TimeoutExpired:  # it hangs before there is a PID 1
            os.killpg(self._booted.pid, signal.SIGKILL)
            self._booted.wait()
        (self.folder / "pid").unlink(missing_ok=True)

    def close(self) -> None:
        """End the host for good: no process, mount, cgroup or file of it is left. Can be repeated."""
        self.kill_power()
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._holder.stdin.close()
        self._holder.stdout.close()
        try:
            self._holder.wait(BOOT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._holder.pid, signal.SIGKILL)
            self._holder.wait()
        if self.folder.exists():  # the holder could not
            shutil.rmtree(self.folder)

    def argv(self, *argv: str, env: Mapping[str, str] | None = None, cwd: str = "/", user: str = "") -> list[str]:
        """What runs `argv` inside with an environment of its own; it dies (SIGKILL) with the process started so."""
        pid = self.pid
        words = ["env", f"--chdir={cwd}", *(f"{name}={value}" for name, value in (env or {}).items()), *argv]
        # The parent's death signal would not outlive a later change of user.
        words = ["sh", "-c", AS_USER, user, *words] if user else ["setpriv", "--pdeathsig=KILL", *words]
        enter = ["nsenter", f"--target={pid}", "--all", *words]
        # In the host's own cgroup: otherwise it would be nowhere, seen from inside.
        joined = f"/proc/{pid}/root/sys/fs/cgroup/tests.scope/cgroup.procs"
        return ["env", "-i", f"PATH={SEARCHED}", "LANG=C.UTF-8", "HOME=/root", "USER=root", "LOGNAME=root",
                "SHELL=/bin/sh", "sh", "-c", 'echo 0 > "$0" && exec "$@"', joined, *enter]  # fmt: skip

    def popen(
        self, *argv: str, env: Mapping[str, str] | None = None, cwd: str | Path = "/", user: str = ""
    ) -> subprocess.Popen[str]:
        """Start `argv` inside; standard output and error come as one. kill() on it is a SIGKILL of `argv`."""
        return subprocess.Popen(
            self.argv(*argv, env=env, cwd=str(cwd), user=user),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(
        self,
        *argv: str,
        check: bool = True,
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
        cwd: str | Path = "/",
        user: str = "",
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` inside, as root or `user`; `timeout` in seconds. Fails the test on a status but 0 if `check`."""
        done = subprocess.run(
            self.argv(*argv, env=env, cwd=str(cwd), user=user),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            start_new_session=True,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"{shlex.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done

    def gapless(
        self, *argv: str, check: bool = True, timeout: float = 60.0, cwd: str | Path = "/", user: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the gapless command inside."""
        return self.run(sys.executable, "-m", "gapless", *argv, check=check, timeout=timeout, cwd=cwd, user=user)

    def write(self, path: str | Path, text: str, mode: int = 0o644) -> None:
        """Write a file inside, root's, and the directories that it needs."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"'
        self.run("sh", "-c", script, "sh", str(path), f"{mode:o}", stdin=text)

    def write_all(self, folder: str | Path, files: Mapping[str, str]) -> None:
        """Write files below a folder inside, by their names there."""
        self.run("/usr/bin/python3", "-c", WRITE, str(folder), stdin=json.dumps(dict(files)))

    def read(self, path: str | Path) -> str:
        """The text of a file inside."""
        return self.run("cat", str(path)).stdout

    def journal(self, unit: str = "") -> str:
        """The messages of a unit, or of all of them, of this boot and the ones before."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--output=cat", *([f"--unit={unit}"] if unit else [])).stdout

    def inside(self, call: Callable[[], T]) -> T:
        """The result of `call`, run in a thread in the host's network: sockets made there stay in it."""
        return network.inside(self.pid, call)

    def connect(self, port: int, timeout: float = 10.0) -> socket.socket:
        """A TCP connection of this process to a port of the host's loopback; `timeout` in seconds."""
        return self.inside(lambda: socket.create_connection((self.address, port), timeout))

    def get(self, port: int, path: str = "/", timeout: float = 10.0) -> tuple[int, dict[str, str], bytes]:
        """One GET on a new connection to the host's loopback."""
        return self.inside(lambda: get((self.address, port), path, timeout))
