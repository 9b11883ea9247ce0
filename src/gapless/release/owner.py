"""The user whom a release belongs to, where that is not whoever deploys."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from gapless.errors import GaplessError
from gapless.linux.disk import refusal


def account(owner: str) -> pwd.struct_passwd:
    """The account of the user `owner`. Raises GaplessError when there is none."""
    try:
        return pwd.getpwnam(owner)
    except KeyError:
        hint = "`sudo gapless up` makes the users of an app"
        raise GaplessError("find", f"the user {owner}", "there is no such user", hint) from None


def give(tree: Path, owner: str) -> None:
    """Make `tree` and all in it belong to `owner`; what its links lead to stays as it is. Raises GaplessError."""
    user = account(owner)
    try:
        # From below: what is given already must not be walked again, its owner could put links into it.
        for folder, folders, files in os.walk(tree, topdown=False):
            for name in (*folders, *files):
                os.lchown(Path(folder, name), user.pw_uid, user.pw_gid)
        os.lchown(tree, user.pw_uid, user.pw_gid)
    except OSError as error:
        raise refusal(f"give to {owner}", str(tree), error) from error
