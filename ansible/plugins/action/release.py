# Copyright: gapless maintainers
# SPDX-License-Identifier: MIT
"""Packs a revision of the project on the controller and sends it along with the module of the same name."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """The part of gapless.deploy.release that runs on the controller."""

    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send the archive, in check mode too, where it is read and removed; then run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = dict(self._task.args)
        folder = tempfile.mkdtemp(prefix="gapless-", dir=constants.DEFAULT_LOCAL_TMP)
        try:
            if args.get("state", "deployed") == "deployed":
                packed = _packed(args.get("source"), args.get("revision") or "HEAD", Path(folder))
                temporary = self._connection._shell.tmpdir or self._make_tmp_path()
                args["archive"] = self._connection._shell.join_path(temporary, packed.name)
                self._transfer_file(str(packed), args["archive"])
                self._fixup_perms2((temporary, args["archive"]))
            result.update(self._execute_module(module_args=args, task_vars=task_vars))
        finally:
            shutil.rmtree(folder)
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result


def _packed(source: str | None, revision: str, folder: Path) -> Path:
    """An archive of the source: of a checkout, the revision's, named after it. Raises AnsibleActionFail."""
    if not source:
        raise AnsibleActionFail("state=deployed needs a source: a git checkout or a tar archive on the controller")
    path = Path(source).expanduser()
    if path.is_file():
        return path
    commit = _git(path, "rev-parse", "--short=7", "--verify", "--end-of-options", f"{revision}^{{commit}}").strip()
    packed = folder / f"{commit}.tar"
    _git(path, "archive", "--format=tar", f"--output={packed}", commit)
    return packed


def _git(directory: Path, *argv: str) -> str:
    try:
        done = subprocess.run(["git", "-C", directory, *argv], capture_output=True, text=True, check=False)
    except OSError as error:
        raise AnsibleActionFail(f"cannot run git on the controller: {error}") from error
    if done.returncode != 0:
        raise AnsibleActionFail(f"`git {argv[0]}` in {directory} on the controller failed: {done.stderr.strip()}")
    return done.stdout
