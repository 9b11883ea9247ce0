"""The example wppackages: builds are whole, kept, the same whichever way they were made, and can be taken back."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from email.utils import parsedate_to_datetime

import pytest

from tests.examples.wppackages.conftest import EXAMPLE, Site
from tests.support import wait_until
from wppackages import builds as making
from wppackages.builds import Builds
from wppackages.settings import Failure

PATH = "/p2/wp-plugin/high-tags.json"
# Ends itself at the file operation of that number.
KILLED = """
import os, signal, sys
from wppackages import builds, settings
to, left = settings.from_environment(), int(sys.argv[1])
def at(event, arguments):
    global left
    if event in ("open", "os.rename", "os.symlink", "os.remove", "sqlite3.connect") and str(to.data) in str(arguments):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(at)
builds.Builds(to).make(full=True)
"""


def stamp(site: Site, path: str = "wp-plugin/high-tags") -> int:
    build = site.build
    found = build.document(path)
    assert found is not None
    return found[0]


def changed(site: Site, what: str = "release", slug: str = "high-tags") -> None:
    """Something happens to a plugin, and the catalogue knows."""
    site.world.move(what, slug)
    site("discover", "--whole")
    site("update")


def test_what_changed_and_everything_anew_are_the_same(site: Site) -> None:
    """Of what changed, or of everything: the same documents, stamps and pages; what did not change keeps its stamp."""
    site.filled()
    before = stamp(site), stamp(site, "wp-plugin/twin-versions")
    changed(site)
    changed(site, "close", "odd-versions")
    assert "5 documents changed" in site("build")  # two, two withdrawn, the list
    one = site.build
    assert "0 documents changed" in site("build", "--full")
    two = site.build
    assert one.name < two.name
    assert {path: one.document(path) for path in one.paths()} == {path: two.document(path) for path in two.paths()}
    assert [one.popular("", page) for page in (1, 2, 3)] == [two.popular("", page) for page in (1, 2, 3)]
    assert one.search("contact", "", 1) == two.search("contact", "", 1) != []
    assert stamp(site) > before[0]
    assert stamp(site, "wp-plugin/twin-versions") == before[1]


def test_nothing_new_is_no_build(site: Site) -> None:
    """A second `build` says `already built`, and publishes nothing."""
    site.filled()
    name = site.kept()
    assert site("build").startswith("already built: ")
    assert site.kept() == name


def test_a_build_that_is_taken_back_stays_so(site: Site) -> None:
    """`rollback` serves the older contents with newer stamps, holds them against timers, until `resume`."""
    site.filled()
    site.serve()
    changed(site)
    site("build")
    released = site.get(PATH)
    assert site("rollback").startswith("went back: ")
    back = site.get(PATH)
    assert b'"1.3"' in released[2]
    assert b'"1.3"' not in back[2]
    dates = [parsedate_to_datetime(one[1]["last-modified"]) for one in (released, back)]
    assert dates[0] < dates[1]
    assert "held at" in site("build", status=1)
    assert "name the build" in site("rollback", status=1)
    assert "there is no build 2020" in site("rollback", "2020", status=1)
    assert site("resume") == "builds go on\n"
    assert site("resume") == "already: nothing is held\n"
    site("build")
    again = site.get(PATH)
    assert again[2] == released[2]
    assert parsedate_to_datetime(again[1]["last-modified"]) > dates[1]


def test_a_package_that_is_closed_and_opened_again_has_a_newer_stamp(site: Site) -> None:
    """Stamps grow over a withdrawal: who kept the first contents does not take the last ones for them."""
    site.filled()
    stamps = [stamp(site)]
    for what in ("close", "open", "release"):
        changed(site, what)
        site("build")
        stamps.append(stamp(site))
    assert stamps == sorted(set(stamps))


def test_builds_are_kept_and_bounded(site: Site) -> None:
    """The last five are there, and the current one is the last."""
    site.filled()
    for _ in range(6):
        site("build", "--full")
    kept = site.kept()
    assert len(kept) == 5
    assert site("builds").splitlines()[-1] == f"* {kept[-1]}"


def test_a_server_follows_at_once_and_keeps_what_it_has_open(site: Site) -> None:
    """The next request after a build is answered from it, whichever thread answers, however many builds went by."""
    site.filled()
    site.serve()
    for number in range(3, 10):
        changed(site)
        site("build")
        assert site.json(PATH)["packages"]["wp-plugin/high-tags"][0]["version"] == f"1.{number}"
        assert f"1.{number}".encode() in site.get("/wp-plugin/high-tags")[2]


def test_a_build_that_is_killed_changes_nothing(site: Site) -> None:
    """SIGKILL at each operation with files: a whole build is current, the old or the new one; the next succeeds."""
    site.filled()
    for at in itertools.count():
        before = site.build.name
        argv = [sys.executable, "-c", KILLED, str(at)]
        killed = subprocess.run(argv, cwd=EXAMPLE, env={**os.environ, **site.environment}, check=False, timeout=60)
        assert site.build.name in (before, site.kept()[-1])
        assert site.versions("wp-plugin/high-tags") == ["1.2", "1.1", "1.0"]
        assert "0 documents changed" in site("build", "--full")
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL
    assert at > 10


def test_two_builds_at_once_are_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told so, and the first goes on."""
    site.filled()
    seen = []

    def meanwhile(*_: object) -> None:
        with pytest.raises(Failure, match="another build is being made"):
            Builds(site.settings).make(full=True)
        seen.append(True)

    monkeypatch.setattr(making, "_sync", meanwhile)
    Builds(site.settings).make(full=True)
    assert seen


def test_stamps_are_not_of_the_future_for_long(site: Site) -> None:
    """Builds within one second count on; the clock catches up."""
    site.filled()
    changed(site)
    site("build")
    first = stamp(site)
    wait_until(lambda: time.time() > first + 1)
    changed(site)
    site("build")
    assert first < stamp(site) <= int(time.time())
