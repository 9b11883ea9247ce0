"""The example wppackages: what becomes of the catalogue when wordpress.org is as it is."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace

import pytest

from tests.examples.wppackages.conftest import Site
from wppackages import catalogue
from wppackages.catalogue import Package


def known(site: Site, slug: str) -> Package:
    with contextlib.closing(catalogue.connect(site.settings.database)) as database:
        found = catalogue.find(database, f"wp-plugin/{slug}")
    assert found is not None
    return found


def test_everything_that_is_listed_is_looked_at_once(site: Site) -> None:
    """`discover` and `update` bring the catalogue up, 429 and 5xx included; a second time there is nothing to do."""
    site("migrate")
    assert site("discover") == "67 packages to look at\n"
    assert site("update") == "67 packages looked at, 67 changed\n"
    assert site("discover") == "0 packages to look at\n"
    assert site("update") == "0 packages looked at, 0 changed\n"
    for slug in ("busy-today", "broken-often"):
        assert known(site, slug).state == "open"
    assert known(site, "high-tags").info["name"] == "High Tags & more"
    assert known(site, "high-tags").info["author"] == "Ann O\u2019Nym"


def test_a_package_without_an_answer_stays_due(site: Site) -> None:
    """Four tries fail, the others go on, the exit status tells; the next `update` asks again."""
    entry = next(one for one in site.world if one.slug == "high-tags")
    entry.answers += [429, 503, 500, 502]
    site("migrate")
    site("discover")
    said = site("update", status=1)
    assert "67 packages looked at, 66 changed, 1 stay due: no answer from" in said
    assert "in 4 tries: it answered 502" in said
    assert site("update") == "1 packages looked at, 1 changed\n"


def test_an_answer_that_is_none_closes_nothing(site: Site) -> None:
    """403, or what nobody can read, is no word of a closing: the package stays as it was, and due."""
    site.filled()
    entry = next(one for one in site.world if one.slug == "high-tags")
    site.world.move("release", "high-tags")
    site("discover")
    entry.answers += [403]
    assert "which answered 403" in site("update", status=1)
    version, entry.version = entry.version, ""
    entry.title = None  # type: ignore[assignment]  # as wrong as can be: the stand-in breaks off
    assert "no answer" in site("update", status=1)
    entry.title, entry.version = "High Tags", version
    assert known(site, "high-tags").state == "open"
    site("update")
    assert known(site, "high-tags").info["version"] == "1.3"


def test_nobody_answers(site: Site) -> None:
    """Without wordpress.org `discover` says so, what is there stays, and the service is ready all the same."""
    site.filled()
    site.settings = replace(site.settings, upstream="http://127.0.0.1:9")
    assert "no answer from http://127.0.0.1:9/plugins/info/1.2/" in site("discover", status=1)
    site.serve("--check", "/ready")
    assert site.json("/p2/wp-plugin/high-tags.json")["packages"]


@pytest.mark.parametrize(
    ("slug", "versions", "development"),
    [
        ("high-tags", ["1.2", "1.1", "1.0"], ["dev-trunk"]),
        ("twin-versions", ["1.0.0", "0.9"], ["dev-trunk"]),
        ("trunk-only", [], ["dev-trunk"]),
        ("odd-versions", ["1.5", "1.4-RC1", "1.1b2"], ["dev-trunk"]),
        ("closed-door", [], []),
    ],
)
def test_what_is_wrong_there_is_right_here(
    served: Site, slug: str, versions: list[str], development: list[str]
) -> None:
    """Tags above the released version, twins, trunk alone, tags that are no versions, a closed plugin."""
    assert served.versions(f"wp-plugin/{slug}") == versions
    assert served.versions(f"wp-plugin/{slug}~dev") == development


def test_a_release_a_closing_and_an_opening_are_followed(site: Site) -> None:
    """A new version is offered after three verbs; a plugin that is listed no more is withdrawn, and can come back."""
    site.filled()
    site.world.move("release", "high-tags")
    site.refreshed()
    assert site.versions("wp-plugin/high-tags") == ["1.3", "1.3-beta1", "1.2", "1.1", "1.0"]
    site.world.move("close", "high-tags")
    site.refreshed()
    assert site.versions("wp-plugin/high-tags") != []  # the newest pages of the listing do not tell
    site.refreshed("--whole")
    assert site.versions("wp-plugin/high-tags") == []
    build = site.build
    assert "wp-plugin/high-tags" not in build.names("wp-plugin/*")
    assert build.search("high tags", "", 1) == []
    site.world.move("open", "high-tags")
    site.refreshed()
    assert site.versions("wp-plugin/high-tags")[0] == "1.3"


def test_the_release_before_lives_with_a_step_of_the_next(site: Site) -> None:
    """A newer release migrates while this one serves, counts and builds: nothing of it fails."""
    site.filled()
    site.serve("--check", "/ready")
    with contextlib.closing(sqlite3.connect(site.settings.database)) as newer:
        newer.execute("ALTER TABLE package ADD COLUMN banner TEXT")
        newer.execute("CREATE TABLE review (package INTEGER, stars INTEGER)")
        newer.execute(f"PRAGMA user_version = {catalogue.SCHEMA + 1}")
        newer.commit()
    assert site.json("/ready")["schema"] == catalogue.SCHEMA + 1
    site.world.move("release", "high-tags")
    site.refreshed()
    assert site("migrate") == "already up to date\n"
    assert site.json("/p2/wp-plugin/high-tags.json")["packages"]["wp-plugin/high-tags"][0]["version"] == "1.3"


def test_each_step_of_the_schema_only_adds() -> None:
    """No step drops, renames or narrows what the release before it reads and writes."""
    for step in catalogue.STEPS:
        for statement in filter(str.strip, step.split(";")):
            assert statement.split()[:2] in (["CREATE", "TABLE"], ["CREATE", "INDEX"], ["ALTER", "TABLE"]), statement
            assert "DROP" not in statement
            assert "RENAME" not in statement
            assert statement.split()[0] == "CREATE" or "ADD COLUMN" in statement


def test_a_migration_goes_on_where_one_was_killed(site: Site) -> None:
    """Each step is one transaction with its number: whatever the database has seen, the rest is taken, once."""
    site.settings.data.mkdir()
    with contextlib.closing(sqlite3.connect(site.settings.database)) as database:
        database.executescript(f"{catalogue.STEPS[0]}; PRAGMA user_version = 1")
    assert site("migrate").startswith("took the steps 2, 3; first build: ")
    assert site("migrate") == "already up to date\n"
