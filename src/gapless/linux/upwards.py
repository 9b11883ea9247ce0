"""Where a search from a directory upwards may look: not where somebody else could have put what it finds.

/tmp is above much, and anybody may put a gapless.toml or a .git into it.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Upwards:
    """The directories to look into, the start first; `end` is the one that stopped the search, None is above /."""

    directories: tuple[Path, ...]
    end: Path | None = None
    why: str = ""

    def nearest(self, name: str) -> Path | None:
        """The first of the directories that has something called `name`."""
        return next((one for one in self.directories if (one / name).exists()), None)


def upwards(start: Path, name: str) -> Upwards:
    """Where to look for `name`: in `start`, whoever owns it, and above it as long as it can only be trusted people's.

    Trusted are root, who we are, and the owner of `start`; with them the group that is one's of them alone.
    """
    start = start.absolute()
    trusted = {0, os.geteuid()}
    if start.exists():
        trusted.add(start.stat().st_uid)
    found = [start]
    for one in start.resolve().parents:
        try:
            why = writers(one, trusted) or writers(one / name, trusted)
        except OSError as error:
            why = f"{one}: {error.strerror}"
        if why:
            return Upwards(tuple(found), one, why)
        found.append(one)
    return Upwards(tuple(found))


def writers_above(path: Path, trusted: set[int]) -> str:
    """Who else could put something else in the place of `path`, in words; empty when nobody can. Raises OSError.

    Looked at is every directory above, by the way that is written and by the one that links lead. In one with a sticky
    bit (/tmp) anybody can be the first.
    """
    above = (*path.parents, *path.parent.resolve().parents, path.parent.resolve())
    return next((why for one in dict.fromkeys(above) if (why := writers(one, trusted))), "")


def writers(path: Path, trusted: set[int]) -> str:
    """Who else could write to `path`, in words; empty when nobody can, or there is no such file. Raises OSError."""
    try:
        link, file = path.lstat(), path.stat()
    except FileNotFoundError:
        return ""
    for owner in (link.st_uid, file.st_uid):
        if owner not in trusted:
            return f"{path} belongs to {_user(owner)}"
    if file.st_mode & stat.S_IWOTH:
        return f"anybody can write to {path}"
    if file.st_mode & stat.S_IWGRP:
        if "system.posix_acl_access" in os.listxattr(path):  # the group's bits are a mask then, acl(5)
            return f"an access control list lets others write to {path}"
        if not _is_private(file.st_gid, trusted):
            return f"the group {_group(file.st_gid)} can write to {path}"
    return ""


def _is_private(gid: int, trusted: set[int]) -> bool:
    """Whether all who are in the group are trusted people, and it is the primary group of one of them."""
    primary = {user.pw_uid for user in pwd.getpwall() if user.pw_gid == gid}
    try:
        members = {pwd.getpwnam(name).pw_uid for name in grp.getgrgid(gid).gr_mem}
    except KeyError:
        return False
    return bool(primary) and primary | members <= trusted


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
