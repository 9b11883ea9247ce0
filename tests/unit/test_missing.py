"""What a release would miss of its checkout, said; and what of the project stays where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gapless.config import parse
from gapless.errors import GaplessError
from gapless.release import missing, sources
from gapless.release.checkout import WITHOUT
from gapless.release.sources import OUTWARD
from tests.unit.release_kit import commit, git, make_project

LEAST = 'name = "shop"\ncommand = "gapless serve app:app"\n'
BUILD = 'build = { run = "make" }\n'


def said(tree: Path, text: str, *left_out: str) -> list[str]:
    return missing.of(tree, parse(text, tree / "gapless.toml"), tree.parent / "project", lambda: left_out)


@pytest.mark.parametrize("name", [".venv", "venv", "node_modules"])
def test_what_was_installed_beside_the_code_is_missed(tmp_path: Path, name: str) -> None:
    """Without a build nothing takes its place; with one, that is what builds are for."""
    assert said(tmp_path, LEAST, f"{name}/", "cache/") == [
        f"{name} stays in the project, and nothing in the release takes its place: {missing.BUILD}"
    ]
    assert said(tmp_path, BUILD + LEAST, f"{name}/") == []


def test_the_environment_that_gapless_itself_runs_in_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its programs are found from everywhere: that is how one works locally."""
    monkeypatch.setattr("sys.prefix", str(tmp_path / "project/.venv"))
    assert said(tmp_path / "tree", LEAST, ".venv") == []


def test_programs_and_public_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    """By the setting that wants them."""
    text = (
        'name = "shop"\ncommand = ".venv/bin/gunicorn app:app"\n'
        'processes = { worker = { command = "bin/worker" } }\nassets = { "/static" = "dist" }\n'
    )
    assert [one.partition(",")[0].partition(" is not")[0] for one in said(tmp_path, text)] == [
        "`command` runs .venv/bin/gunicorn",
        "`worker` runs bin/worker",
        "`[assets]` /static: dist",
    ]
    for name in (".venv/bin/gunicorn", "bin/worker", "dist/style.css"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert said(tmp_path, text) == []


@pytest.mark.parametrize("more", ["", BUILD])
def test_a_virtual_environment_in_a_release_is_named(tmp_path: Path, more: str) -> None:
    """Its programs begin with the path of the checkout that it was made in."""
    (tmp_path / "env").mkdir()
    (tmp_path / "env/pyvenv.cfg").touch()
    [one] = said(tmp_path, more + LEAST)
    assert one.startswith("env is a virtual environment, whose programs run from where it was made")


def test_what_is_left_out_is_named_with_why(tmp_path: Path) -> None:
    """Of a directory what git ignores and what never comes, of a revision what is not committed."""
    project = make_project(tmp_path / "shop")
    (project / ".gitignore").write_text("*.log\n/node_modules\n")
    (project / "node_modules/a").mkdir(parents=True)
    for name in ("a.log", "node_modules/a/b.js"):
        (project / name).touch()
    commit(project)
    (project / ".venv").mkdir()
    (project / "new.py").touch()
    left_out = sources.find(project).left_out()
    assert left_out == {
        ".git": "it never comes along",
        ".venv": "it never comes along",
        "a.log": "git ignores it",
        "node_modules": "git ignores it",
    }
    assert sources.find(project, "HEAD").left_out() == {"new.py": "it is not committed"}


@pytest.mark.parametrize("where", ["../../libs", "/etc/hosts"])
@pytest.mark.parametrize("under_git", [True, False])
def test_a_link_that_leads_out_is_refused_from_everywhere(tmp_path: Path, where: str, under_git: bool) -> None:
    """A release does not depend on what is beside it, and there is nothing where the link would lead."""
    project = make_project(tmp_path / "shop") if under_git else tmp_path / "plain"
    project.mkdir(exist_ok=True)
    (project / "libs").symlink_to(where)
    if under_git:
        commit(project)
    for named in (None, "HEAD") if under_git else (None,):
        source = sources.find(project, named)
        out = tmp_path / f"out {named}"
        out.mkdir()
        with pytest.raises(GaplessError, match=r"its link `libs` leads out of the release") as refused:
            source.install(out)
        assert refused.value.hint == (WITHOUT if named else OUTWARD)
    # What the hints name: what it leads to in its place, as it is and committed, or out of git's sight.
    link = project / "libs"
    link.unlink()
    link.write_text("here")
    if under_git:
        commit(project)
    for number, named in enumerate((None, "HEAD") if under_git else (None,)):
        assert (installed(project, named, tmp_path / f"in{number}") / "libs").read_text() == "here"
    if under_git:
        link.unlink()
        link.symlink_to(where)
        git(project, "rm", "-q", "--cached", "libs")
        (project / ".gitignore").write_text("libs\n")
        assert not os.path.lexists(installed(project, None, tmp_path / "ignored") / "libs")


def installed(project: Path, named: str | None, out: Path) -> Path:
    """The tree of the source, in `out`."""
    out.mkdir()
    sources.find(project, named).install(out)
    return out


def test_a_bare_repository_is_no_source(tmp_path: Path) -> None:
    """What is in there is git's own: a clone has the files."""
    project = make_project(tmp_path / "shop")
    commit(project)
    git(tmp_path, "clone", "-q", "--bare", str(project), "shop.git")
    with pytest.raises(GaplessError, match="it is a bare git repository") as refused:
        sources.find(project, str(tmp_path / "shop.git"))
    assert refused.value.status == 2
    assert refused.value.hint == "clone it, and deploy the clone"
    git(tmp_path, "clone", "-q", "shop.git", "clone")
    assert (installed(project, str(tmp_path / "clone"), tmp_path / "out") / "app.py").exists()
