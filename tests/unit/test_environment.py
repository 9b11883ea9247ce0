"""What a release runs with: the files that people write, and the copies that belong to the release."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapless import assignments, environment
from gapless.config.settings import Check, Config
from gapless.errors import GaplessError
from gapless.release.store import Store
from tests.unit.release_kit import CONFIG

NAMES = st.from_regex("[A-Za-z_][A-Za-z0-9_]*", fullmatch=True)
AWKWARD = st.sampled_from(["\\", '"', "'", "$", "`", "\n", "\r", " ", "#", "\t", "=", "\ufeff", "\x85", "\u2028"])
TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
VALUES = st.lists(AWKWARD | TEXT).map("".join)


def config(env_file: str = "", env: dict[str, str] | None = None, **secrets: str) -> Config:
    return Config(name="shop", command="serve", env_file=env_file, env=env or {}, secrets=secrets)


def written(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("  export A = b c \r", "b c"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=b # a comment", "b"),
        ("A=b#c=d'e\"", "b#c=d'e\""),
        ("A=#b", "#b"),
        ("A=\\n$B\\", "\\n$B\\"),
        ("A='b \"c\" $D \\' # a comment", 'b "c" $D \\'),
        ('A="b \'c\' # \\$D \\"e\\" \\\\ \\`" # a comment', "b 'c' # $D \"e\" \\ `"),
        ('A="$B \\n"', "$B \\n"),
        ('A="b\nc\\\nd"', "b\ncd"),
        ("A='b\nc'", "b\nc"),
        ("A=1\nA=2", "2"),
        ("\ufeffA=b", "b"),
        ("A=b\x85\u2028c", "b\x85\u2028c"),
    ],
)
def test_lines_that_people_write(line: str, value: str) -> None:
    """Comments, `export`, quotes that a shell understands; nothing is expanded, and no other character ends a line."""
    text = f"# first\n\n  # second\n{line}\nLAST=1"
    if line.startswith("\ufeff"):
        text = f"{line}\nLAST=1"
    assert assignments.parse(text.encode(), Path(".env")) == {"A": value, "LAST": "1"}


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"hunter2", "line 3 is not NAME=value"),
        (b"1A=hunter2", "line 3 is not NAME=value"),
        (b"A-B=hunter2", "line 3 is not NAME=value"),
        (b'A="hunter2', "line 3 is not NAME=value, or its quotes are not closed"),
        (b"A='hunter2' hunter2", "line 3 is not NAME=value"),
        (b"A=hunter2\0", "or it has a NUL byte"),
        (b"A=hunter2\xff", "line 3 is not UTF-8"),
    ],
)
def test_a_line_that_is_wrong_is_named_but_not_shown(line: bytes, cause: str) -> None:
    """Invariant 8: file and line number; what stands there may be a secret, and is not repeated."""
    with pytest.raises(GaplessError, match=r"\.env") as failed:
        assignments.parse(b'A="1\n2"\n' + line + b"\nB=1\n", Path(".env"))
    assert cause in str(failed.value)
    assert "hunter2" not in str(failed.value) + failed.value.hint
    assert failed.value.__cause__ is None


@given(st.dictionaries(NAMES, VALUES))
@settings(deadline=None)
def test_every_value_comes_back_as_it_was(variables: dict[str, str]) -> None:
    """What was fixed is read back exactly, whatever it is."""
    with tempfile.TemporaryDirectory() as folder:
        environment.fix(Path(folder), "r1", config(env=variables), Path(folder))
        assert environment.read(Path(folder), "r1") == variables


def test_the_file_has_the_syntax_of_systemd(tmp_path: Path) -> None:
    """systemd.exec(5): double quotes, with a backslash before the four characters that need one."""
    environment.fix(tmp_path, "r1", config(env={"A": "b \"c\" $D `e` \\ 'f'\n#g"}), tmp_path)
    assert (tmp_path / "env" / "r1.env").read_text() == 'A="b \\"c\\" \\$D \\`e\\` \\\\ \'f\'\n#g"\n'


@pytest.mark.parametrize("value", ["a\0b", "a\ud800b"])
def test_what_no_variable_can_hold_is_refused(tmp_path: Path, value: str) -> None:
    """Invariant 8: a NUL byte or a lone surrogate is refused by the variable's name, and nothing is written."""
    with pytest.raises(GaplessError, match="`A` of r1"):
        environment.fix(tmp_path, "r1", config(env={"A": value}), tmp_path)
    assert written(tmp_path) == []


@pytest.mark.parametrize("path", ["/etc/hostname", "../hostname", "link"])
def test_a_file_outside_of_the_project_is_refused(tmp_path: Path, path: str) -> None:
    """The release's own gapless.toml names it, and root reads it for the app."""
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "hostname").touch()
    (project / "link").symlink_to(tmp_path / "hostname")
    for one in (config(env_file=path), config(key=path)):
        with pytest.raises(GaplessError, match="not in the project's directory"):
            environment.fix(tmp_path / "home", "r1", one, project)
    assert written(tmp_path / "home") == []


@pytest.mark.parametrize("name", ["GAPLESS_RELEASE", "LISTEN_FDS", "NOTIFY_SOCKET"])
def test_what_the_manager_says_is_not_the_apps_to_set(tmp_path: Path, name: str) -> None:
    """Invariant 8: systemd would take the app's word, the embedded supervisor its own; so it is refused, by name."""
    (tmp_path / "shop.env").write_text(f"{name}=1\n")
    for one in (config(env={name: "1"}), config(env_file="shop.env")):
        with pytest.raises(GaplessError, match=name):
            environment.fix(tmp_path / "home", "r1", one, tmp_path)
    assert written(tmp_path / "home") == []


def test_values_may_use_what_is_handed_over(tmp_path: Path) -> None:
    """Invariant 10: $GAPLESS_SHARED and $GAPLESS_RELEASE mean the same everywhere, and no other $ means anything."""
    (tmp_path / ".env").write_text("A='sqlite:///${GAPLESS_SHARED}/a.db'\n")
    used = {"B": "$GAPLESS_RELEASE-$HOME", "C": "$GAPLESS_SHARED_X ${GAPLESS_RELEASE $GAPLESS_CHECK"}
    environment.fix(tmp_path / "home", "r1", config(".env", used), tmp_path)
    assert environment.read(tmp_path / "home", "r1") == {
        "A": f"sqlite:///{tmp_path}/home/shared/a.db",
        "B": "r1-$HOME",
        "C": used["C"],
    }


def test_env_comes_over_env_file_and_secrets_are_copied_for_their_owner_alone(tmp_path: Path) -> None:
    """[env] wins; what is written can be read by nobody else, whatever the umask was."""
    project, home = tmp_path, tmp_path / "home"
    (project / "shop.env").write_text("A=1\nB=1\n")
    (project / "key").write_bytes(b"\0hunter2\n")
    before = os.umask(0)
    try:
        environment.fix(home, "r1", config("shop.env", {"B": "2"}, api_key="key"), project)
    finally:
        os.umask(before)
    assert environment.read(home, "r1") == {"A": "1", "B": "2"}
    assert environment.secrets(home, "r1") == home / "secrets" / "r1"
    assert (home / "secrets" / "r1" / "api_key").read_bytes() == b"\0hunter2\n"
    assert {str(path.relative_to(home)): path.stat().st_mode & 0o7777 for path in home.rglob("*")} == {
        "env": 0o700,
        "env/r1.env": 0o600,
        "secrets": 0o700,
        "secrets/r1": 0o700,
        "secrets/r1/api_key": 0o600,
    }


def test_a_release_never_sees_a_change(tmp_path: Path) -> None:
    """Invariant 7: a second time changes nothing, so that a rollback finds what was there."""
    (tmp_path / ".env").write_text("A=old\n")
    (tmp_path / "key").write_text("old")
    home, both = tmp_path / "home", config(".env", key="key")
    environment.fix(home, "r1", both, tmp_path)
    (tmp_path / ".env").write_text("A=new\n")
    (tmp_path / "key").write_text("new")
    for release in ("r1", "r2"):
        environment.fix(home, release, both, tmp_path)
    assert [environment.read(home, release)["A"] for release in ("r1", "r2")] == ["old", "new"]
    assert [(home / "secrets" / release / "key").read_text() for release in ("r1", "r2")] == ["old", "new"]


def test_files_that_are_missing_are_all_named(tmp_path: Path) -> None:
    """Invariant 8: each missing file by its path, and where it is looked for; nothing is written."""
    (tmp_path / "there").write_text("x")
    with pytest.raises(GaplessError, match="there is no such file") as failed:
        environment.fix(tmp_path / "home", "r1", config(".env", a="there", b="keys/b"), tmp_path)
    assert failed.value.object == f"{tmp_path / '.env'}, {tmp_path / 'keys' / 'b'}"
    assert "project's directory" in failed.value.hint
    assert not (tmp_path / "home").exists()


def test_what_the_disk_refuses_is_said(tmp_path: Path) -> None:
    """Invariant 8: what stands where the file must be is named, whether it is written or read."""
    (tmp_path / "env" / "r1.env").mkdir(parents=True)
    with pytest.raises(GaplessError, match="cannot read the environment of r1: Is a directory"):
        environment.read(tmp_path, "r1")
    (tmp_path / "env" / "r1.env").rmdir()
    (tmp_path / "env").rmdir()
    (tmp_path / "env").write_text("")
    with pytest.raises(GaplessError, match="Not a directory"):
        environment.fix(tmp_path, "r1", config(), tmp_path)


def test_a_release_of_an_older_gapless_has_its_own_env(tmp_path: Path) -> None:
    """Without the file, [env] of the release's gapless.toml counts, as it did when the release was made."""
    (tmp_path / "releases" / "r1").mkdir(parents=True)
    (tmp_path / "releases" / "r1" / "gapless.toml").write_text(CONFIG + '[env]\nA = "1"\n')
    assert environment.read(tmp_path, "r1") == {"A": "1"}
    assert not environment.secrets(tmp_path, "r1").exists()


def test_what_a_kill_left_half_written_is_replaced_or_forgotten(tmp_path: Path) -> None:
    """Invariant 5: half-written files get in nobody's way, and go with the release; others' stay."""
    (tmp_path / "key").write_text("new")
    for half in ("secrets/r1/key", "secrets/.r1-abc/key", "env/.r1-abc", "secrets/.r12-abc/key", "env/.r12-abc"):
        (tmp_path / half).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / half).write_text("old")
    environment.fix(tmp_path, "r1", config(key="key"), tmp_path)
    others = ["env/.r12-abc", "key", "secrets/.r12-abc/key"]
    assert written(tmp_path) == sorted([*others, "env/r1.env", "secrets/r1/key"])
    assert (tmp_path / "secrets" / "r1" / "key").read_text() == "new"
    environment.forget(tmp_path, "r1")
    environment.forget(tmp_path, "r1")
    assert written(tmp_path) == others


def test_a_release_goes_with_its_environment(tmp_path: Path) -> None:
    """Invariant 5: removed, or half-removed by a killed command and then cleaned, nothing of its secrets stays."""
    store = Store(tmp_path / "home")
    (tmp_path / "key").write_text("x")
    for release in ("r1", "r2"):
        store.add(release, lambda directory: (directory / "app.py").touch())
        environment.fix(store.home, release, config(key="key"), tmp_path)
    store.remove("r1")
    store.path("r2").rename(store.releases / ".removing-r2")
    store.clean()
    assert written(store.home) == []


def test_headers_of_the_check_are_beside_the_variables(tmp_path: Path) -> None:
    """Invariant 10: they are in a file of their own, and the release keeps its variables."""
    read = Config(name="shop", command="serve", env={"A": "1"}, check=Check(headers={"x-token": "secret"}))
    environment.fix(tmp_path, "r1", read, tmp_path)
    assert environment.read(tmp_path, "r1") == {"A": "1"}
    assert "x-token=secret" in environment.check_file(tmp_path, "r1").read_text()
