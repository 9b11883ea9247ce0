"""Litestream beside an app: its configuration, the credentials, its unit; and the database of a host that has none."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from gapless import assignments
from gapless.config import content
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.linux.files import replace
from gapless.linux.upwards import writers_above
from gapless.switch.systemd import database, litestream, units
from gapless.switch.systemd.home import SystemdHome, ours

UNREACHED = {"AWS_CA_BUNDLE": "Litestream does not start with it: name the certificates by SSL_CERT_FILE"}


class LitestreamPiece:
    """The Litestream of `config`'s [database], or none; `first`: before there is a release, a database is restored.

    `project` is where the credentials are; without it those that were copied are taken for the right ones. `read` reads
    them.
    """

    def __init__(
        self,
        config: Config,
        home: SystemdHome,
        *,
        first: bool,
        project: Path | None = None,
        read: Callable[[Path], bytes] = content,
    ) -> None:
        self.config = config
        self.home = home
        self.first = first
        self.project = project
        self.read = read
        self.wanted = litestream.of(home, config)
        self.file = home.units / home.litestream

    def missing(self) -> list[str]:
        """Raises GaplessError where Litestream is missing or too old, or another database has the same replica."""
        if not self.wanted:
            return [f"Remove {self.file}."] if self._is_there else []
        self._refuse_twice()
        self._refuse_place()
        sentences = [f"Make {self.config.database.directory}."] if self._has_no_place else []
        sentences += [f"Write {path}." for path, text in self._texts().items() if _read(path) != text]
        sentences += [f"Write {self.home.litestream_env}."] if self._credentials_differ() else []
        if self.first and not os.path.lexists(self.wanted.path):
            sentences.append(f"Restore {self.wanted.path} from {self.config.database.replica}, if there is a replica.")
        state = self.wanted.state()
        if state["ActiveState"] not in {"active", "activating"} or state["UnitFileState"] != "enabled":
            sentences.append(f"Start and enable {self.home.litestream}.")
        return sentences

    def make(self) -> None:
        if not self.wanted:
            self.remove(data=False)
            return
        before = _read(self.home.litestream_config)
        if self.config.database.directory and not self._has_no_place:
            database.must_be_writable(self.wanted, Path(self.config.database.directory))
        changed = self._write()
        if before and f'"{self.config.database.replica}"' not in before:  # how far it is with that one, is in that one
            self.home.ctl.end(self.home.litestream)
            database.forget_position(self.wanted)
        if self.first:
            database.restore_missing(self.wanted)
        self.home.ctl.do("enable", self.home.litestream)
        self.home.ctl.do("restart" if changed else "start", self.home.litestream)

    def remove(self, *, data: bool) -> list[str]:  # noqa: ARG002 -- the replica always stays
        """Stop it, once it has copied what it can, and remove its unit; the rest goes with the app's directory."""
        if not self._is_there:
            return []
        self.home.ctl.do("disable", self.home.litestream)
        self.home.ctl.end(self.home.litestream)
        for path in (self.file, self.home.litestream_config, self.home.litestream_env):
            path.unlink(missing_ok=True)
        self.home.ctl.do("daemon-reload")
        self.home.ctl.attempt("reset-failed", self.home.litestream)
        return [str(self.file)]

    @property
    def _is_there(self) -> bool:
        return bool(self.home.owner) and self.file.exists() and ours(self.file)

    def _texts(self) -> dict[Path, str]:
        assert self.wanted is not None  # noqa: S101 -- for mypy
        return {self.file: self.wanted.unit(self.config), self.home.litestream_config: self.wanted.config()}

    def _write(self) -> bool:
        """Write all that differs; whether any did."""
        directory = Path(self.config.database.directory)
        if self._has_no_place:
            directory.mkdir(mode=0o700)
            shutil.chown(directory, self.home.owner, self.home.owner)
        changed = False
        if self._credentials_differ():
            with _private():
                changed = replace(self.home.litestream_env, self._credentials())
        for path, text in self._texts().items():
            changed = replace(path, text) or changed
        if changed:
            self.home.ctl.do("daemon-reload")
        return changed

    def _credentials_differ(self) -> bool:
        if self.project is None or (self.home.root.exists() and not os.access(self.home.root, os.R_OK)):
            return False
        with contextlib.suppress(PermissionError):  # who may not see them hears of the rest
            return (_read(self.home.litestream_env) or "") != self._credentials()
        return False

    def _credentials(self) -> str:
        """The variables of the file, as systemd reads them again. Raises GaplessError that names no value."""
        name = self.config.database.credentials
        if not name or self.project is None:
            return ""
        path = self.project / name
        if not path.resolve().is_relative_to(self.project.resolve()):
            hint = "copy it into the project's directory (git need not see it)"
            raise GaplessError("read", str(path), "it is not in the project's directory", hint)
        try:
            found = assignments.parse(self.read(path), path)
        except OSError as error:
            hint = "create it (it is relative to the project's directory), or correct `[database] credentials`"
            raise GaplessError("read", str(path), error.strerror or str(error), hint) from error
        for variable, why in UNREACHED.items():
            if variable in found:
                raise GaplessError("use", str(path), f"it sets {variable}", why)
        return "".join(assignments.assignment(key, value, "the replica's credentials") for key, value in found.items())

    @property
    def _has_no_place(self) -> bool:
        return bool(self.config.database.directory) and not os.path.lexists(self.config.database.directory)

    def _refuse_place(self) -> None:
        """Refuse a directory for the replica that the sandbox hides, or in which somebody else could put another."""
        if not self.config.database.directory:
            return
        directory = Path(self.config.database.directory)
        cause = hint = ""
        if hidden := next((one for one in units.HIDDEN if directory.is_relative_to(one)), None):
            cause, hint = f"services see nothing in {hidden}", 'for example: replica = "file:///var/backups/shop"'
        elif not directory.parent.is_dir():
            cause, hint = f"there is no directory {directory.parent}", "is its disk mounted? else `mkdir` it"
        elif why := writers_above(directory, {0}):
            cause, hint = why, "use a directory that only root can rename"
        if cause:
            raise GaplessError("copy the database to", self.config.database.replica, cause, hint, status=2)

    def _refuse_twice(self) -> None:
        """Refuse a replica that another app's database has: two who write there destroy it. Raises GaplessError."""
        for unit in sorted(self.home.units.glob("*.litestream.service")):
            other = SystemdHome(unit.name.partition(".")[0])
            said = _read(other.litestream_config) or ""
            if unit != self.file and ours(unit) and f'"{self.config.database.replica}"' in said:
                hint = "set another `[database] replica`: two who write to one destroy it"
                raise GaplessError("copy the database to", self.config.database.replica, f"{other.name} does", hint)


@contextlib.contextmanager
def _private() -> Iterator[None]:
    """What is written inside the block is for its owner alone."""
    mask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(mask)


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
