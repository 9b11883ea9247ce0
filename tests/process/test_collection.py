"""The Ansible collection, judged as Ansible's own are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.host.ansible import install_collection, program


def test_the_collection_is_built_and_judged(tmp_path: Path) -> None:
    """`ansible-galaxy collection build` makes an archive that installs, and passes ansible-lint's strictest profile."""
    collections = install_collection(tmp_path)
    installed = collections / "ansible_collections" / "gapless" / "deploy"
    assert (installed / "plugins" / "modules" / "release.py").exists()
    env = os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_HOME": str(tmp_path / "home")}
    lint = [program("ansible-lint"), "--offline", "--nocolor", "--profile", "production", "--strict"]
    done = subprocess.run(lint, cwd=installed, env=env, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Profile 'production' was required, and it passed." in done.stderr
