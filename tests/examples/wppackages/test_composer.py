"""The example wppackages: a real Composer installs from it, and each of its installs is counted once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gapless import config
from tests.examples.wppackages.conftest import EXAMPLE, Site

pytestmark = pytest.mark.usefixtures("clients")
REQUIRED = {"wp-plugin/high-tags": "^1.0", "wp-plugin/twin-versions": "*", "wp-plugin/trunk-only": "dev-trunk"}


class Composer:
    """A PHP project with caches of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.caches = folder / "php", folder / "caches"
        self.folder.mkdir()
        repositories: list[Any] = [{"type": "composer", "url": url}, {"packagist.org": False}]
        document = {"name": "acme/site", "require": REQUIRED, "repositories": repositories}
        # It cannot be downloaded here; without it packages go to vendor/.
        document |= {"replace": {"composer/installers": "2.2.0"}, "config": {"secure-http": False}}
        (self.folder / "composer.json").write_text(json.dumps(document))

    def __call__(self, *argv: str, status: int = 0) -> str:
        """Run a command of Composer; what it prints. Fails the test on another exit status, or where a cache served."""
        home = {"COMPOSER_HOME": str(self.caches), "COMPOSER_ALLOW_SUPERUSER": "1"}
        whole = ["composer", *argv, "--no-interaction", "--no-ansi"]
        done = subprocess.run(
            whole, cwd=self.folder, env={**os.environ, **home}, capture_output=True, text=True, check=False, timeout=60
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        assert "could not be fully loaded" not in said
        return said

    def cold(self) -> None:
        """Forget all caches."""
        shutil.rmtree(self.caches, ignore_errors=True)

    def uninstalled(self) -> None:
        """As after a fresh checkout."""
        shutil.rmtree(self.folder / "vendor", ignore_errors=True)


def test_it_updates_and_installs(site: Site, tmp_path: Path) -> None:
    """Cold and warm caches, the newest versions that fit, whole archives; and three installs are counted each time."""
    site.filled().serve("--check", "/ready")
    composer = Composer(tmp_path, site.url)
    composer("update")
    locked = json.loads((composer.folder / "composer.lock").read_text())["packages"]
    assert {one["name"]: one["version"] for one in locked} == {
        "wp-plugin/high-tags": "1.2",
        "wp-plugin/twin-versions": "1.0.0",
        "wp-plugin/trunk-only": "dev-trunk",
    }
    assert "Version: 1.2" in (composer.folder / "vendor/wp-plugin/high-tags/high-tags.php").read_text()
    assert site.installs() == 3
    composer.uninstalled()
    composer("install")
    composer.cold()
    composer.uninstalled()
    composer("install")
    assert site.installs() == 9
    composer("update")  # nothing to do: no install
    assert site.installs() == 9


def test_it_follows_a_release(site: Site, tmp_path: Path) -> None:
    """With warm caches it is told 304 until there is something new, and then takes that."""
    site.filled().serve()
    composer = Composer(tmp_path, site.url)
    composer("update")
    site.world.move("release", "high-tags")
    site.refreshed()
    assert "Upgrading wp-plugin/high-tags (1.2 => 1.3)" in composer("update")
    assert site.installs() == 4


def test_an_archive_that_was_changed_is_refused(site: Site, tmp_path: Path) -> None:
    """Composer compares what we serve with `shasum`, and installs nothing else."""
    site.filled().serve()
    for archive in site.settings.archives.iterdir():
        archive.write_bytes(archive.read_bytes() + b"!")
    assert "checksum verification of the file failed" in Composer(tmp_path, site.url)("update", status=1)


def test_it_searches(site: Site, tmp_path: Path) -> None:
    """`composer search` and `composer show` find packages that are not installed."""
    site.filled().serve()
    composer = Composer(tmp_path, site.url)
    assert "wp-plugin/high-tags" in composer("search", "high tags")
    assert "dev-trunk, 1.2, 1.1, 1.0" in composer("show", "--available", "wp-plugin/high-tags")


def test_its_configuration_is_valid() -> None:
    """gapless.toml parses, and asks for readiness."""
    found = config.load(EXAMPLE)
    assert found.check.path == "/ready"
    assert set(found.timers) == {"discover", "discover-whole", "update", "build"}
