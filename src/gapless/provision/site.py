"""The app's site in Caddy: its file, the line that imports it, and Caddy's reload."""

from __future__ import annotations

import difflib
import os
import pwd
import stat
from pathlib import Path

from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.linux.files import close_to_others, replace
from gapless.provision import caddy, caddyfile
from gapless.provision.caddyfile import MAIN, SITES
from gapless.switch.systemd.home import SystemdHome, ours
from gapless.switch.systemd.units import CADDY

AGAIN = "then run `gapless up` again"


class Site:
    """The site of `config`'s [proxy], or none; `blocked` says why Caddy can load none at all, once `judge` was called.

    Under a user's own manager there is none: Caddy is the machine's.
    """

    def __init__(self, config: Config, home: SystemdHome) -> None:
        self.config = config
        self.home = home
        self.file = SITES / f"{home.name}.caddy"
        # As long as it is there, Caddy may not have read what the files say.
        self.unread = SITES / f"{home.name}.unread"
        self.log = caddyfile.log(home)
        self.wanted = bool(config.proxy.domains and home.owner)
        self.blocked: GaplessError | None = None

    def missing(self) -> list[str]:
        """Raises GaplessError where Caddy, or a service of it as its packages have it, is missing."""
        if not self.wanted:
            return [f"Remove {self.file}, and have Caddy reload."] if self._is_there else []
        if self.blocked:
            return []
        changes = self.changes()
        sentences = [f"Write {self.file}, and have Caddy reload."] if self.file in changes else []
        sentences += [f"Add `{line}` to {MAIN}." for line in _added(changes)]
        sentences += [] if self.home.page.exists() else [f"Write {self.home.page}."]
        sentences += [f"Let nobody else read {self.log}."] if self._log_is_open else []
        return sentences or ([f"Have Caddy reload for {self.file}."] if self.unread.exists() else [])

    def changes(self) -> dict[Path, str]:
        """The files of Caddy that are to be written, with their texts. Raises GaplessError."""
        if not self.wanted:
            return {}
        if self.file.exists() and not ours(self.file):
            hint = "move it away, or choose another `name`"
            raise GaplessError("write", str(self.file), "gapless did not make it", hint)
        found, main = caddy.find(), _main()
        changes = {self.file: caddyfile.site(self.config, self.home, found.version)}
        if self.file.exists() and self.file.read_text("utf-8") == changes[self.file]:
            del changes[self.file]
        wanted = main if caddyfile.imports(main, self.file) else caddyfile.with_import(main)
        if found.admin_is_open and caddyfile.leaves_admin_open(main):
            wanted = caddyfile.with_admin(wanted)
        return changes if wanted == main else changes | {MAIN: wanted}

    def diff(self) -> list[str]:
        """Show how Caddy's files differ from the wanted ones, as a unified diff."""
        lines: list[str] = []
        for path, text in self.changes().items():
            before = (_main() if path == MAIN else path.read_text("utf-8") if path.exists() else "").splitlines()
            around = 0 if path == MAIN else 3  # somebody else's lines may be secrets, and this goes into logs
            lines += difflib.unified_diff(before, text.splitlines(), str(path), "new", "", "", around, "")
        return lines

    def judge(self) -> None:
        """Have Caddy judge its whole configuration with this site, before anything is written.

        Raises GaplessError for what is wrong with the site; what is wrong with the rest is `blocked`.
        """
        changes = self.changes()
        if not changes and not self.unread.exists():
            return
        found = caddy.find()
        self._refuse_taken(found)
        try:
            with caddy.staged(changes) as tree:
                found.validate(tree)
                known = caddy.hosts(found.adapt(tree))
        except caddy.RefusedError as error:
            self.blocked = self._blame(found, changes, error)
            return
        if lost := {*self.config.proxy.domains} - known:
            cause = f"with it in {MAIN} Caddy has no site for {', '.join(sorted(lost))}"
            self.blocked = GaplessError("import", str(self.file), cause, f"mend {MAIN}, {AGAIN}")

    def make(self) -> None:
        if not self.wanted:
            self.remove(data=False)
            return
        if not self.missing():
            return
        replace(self.home.page, self.home.page.read_text("utf-8") if self.home.page.exists() else caddyfile.page())
        changes = self.changes()
        if changes or self.unread.exists():
            self._write(changes)
        if self._log_is_open:  # an old Caddy made it so
            close_to_others(self.log, pwd.getpwnam(CADDY).pw_uid)

    def _write(self, changes: dict[Path, str]) -> None:
        """Write the files, and have Caddy read them; or put them back. Raises GaplessError, OSError."""
        before = self.file.read_text("utf-8") if self.file.exists() else None
        main = _main()
        replace(self.unread, "")
        try:
            if self.file in changes:
                replace(self.file, changes[self.file])
            if MAIN in changes:
                _overwrite_main(changes[MAIN])
            caddy.have_log(self.log)
            caddy.read_again()
        except (GaplessError, OSError):  # Caddy itself goes on with what it had read
            self.file.unlink(missing_ok=True) if before is None else replace(self.file, before)
            _overwrite_main(main)
            self.unread.unlink()
            raise
        self.unread.unlink()

    def remove(self, *, data: bool) -> list[str]:  # noqa: ARG002 -- it keeps none
        """Remove the file, and have Caddy reload; `blocked` says why Caddy could not."""
        if not self._is_there:
            return []
        replace(self.unread, "")
        self.file.unlink(missing_ok=True)
        try:
            if caddy.is_active():
                caddy.read_again()
        except GaplessError as error:
            self.blocked = error  # the site is gone for the next reload; somebody else's fault keeps nobody from `down`
        self.unread.unlink()
        return [str(self.file)]

    @property
    def _log_is_open(self) -> bool:
        try:
            found, owner = self.log.lstat(), pwd.getpwnam(CADDY)
        except (OSError, KeyError):  # there is none yet, or it is not the caller's to see
            return False
        return stat.S_ISREG(found.st_mode) and found.st_uid == owner.pw_uid and bool(found.st_mode & 0o077)

    @property
    def _is_there(self) -> bool:
        return bool(self.home.owner) and (self.unread.exists() or (self.file.exists() and ours(self.file)))

    def _refuse_taken(self, found: caddy.Caddy) -> None:
        """Raises GaplessError when another site is for one of the domains."""
        try:
            with caddy.staged({self.file: None}) as tree:
                taken = caddy.hosts(found.adapt(tree)) & {*self.config.proxy.domains}
        except caddy.RefusedError:  # it is empty without the site, or is blamed for it later
            return
        if not taken:
            return
        where = next((str(one) for one in self._neighbours() if taken & _hosts_of(found, one)), f"{MAIN}")
        hint = "take it out there, or out of [proxy] domains"
        raise GaplessError("serve", sorted(taken)[0], f"another site is for that domain: {where}", hint)

    def _blame(self, found: caddy.Caddy, changes: dict[Path, str], error: caddy.RefusedError) -> GaplessError:
        """Say who keeps Caddy from loading its configuration. Raises GaplessError when it is this site."""
        with caddy.staged({self.file: None}) as tree:
            rest_is_well = found.accepts(tree)
        with caddy.staged({**changes, MAIN: f"import {self.file}\n"}) as tree:
            if rest_is_well and not found.accepts(tree):
                raise GaplessError("use", "[proxy]", error.cause, "mend it in gapless.toml")
        guilty = MAIN
        for one in self._neighbours():
            with caddy.staged({**changes, one: None}) as tree:
                if found.accepts(tree):
                    guilty = one
        cause = f"Caddy cannot load {guilty}: {error.cause}"
        return GaplessError("write", str(self.file), cause, f"mend {guilty}, {AGAIN}")

    def _neighbours(self) -> list[Path]:
        return sorted(one for one in SITES.glob("*.caddy") if one != self.file)


def _hosts_of(found: caddy.Caddy, one: Path) -> set[str]:
    """The domains of the sites in one file alone; none where it does not stand alone."""
    with caddy.staged({MAIN: f"import {one}\n"}) as tree:
        return caddy.hosts(found.adapt(tree)) if found.accepts(tree) else set()


def _main() -> str:
    """Caddy's own file, which is somebody else's: whatever is no text in it stays so."""
    return MAIN.read_text("utf-8", "surrogateescape") if MAIN.exists() else ""


def _added(changes: dict[Path, str]) -> list[str]:
    """The lines that Caddy's own file gets."""
    had, lines = _main().splitlines(), changes.get(MAIN, "").splitlines()
    return [one.strip() for one in lines if one not in had and one.split()[:1] in (["admin"], ["import"])]


def _overwrite_main(text: str) -> None:
    """Have Caddy's own file say `text`, in its place: with its mode and its owner. Raises OSError."""
    descriptor = os.open(MAIN, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb", buffering=0) as file:  # one write(2): a kill does not leave half of it
        file.truncate(file.write(text.encode("utf-8", "surrogateescape")))
        os.fsync(descriptor)
