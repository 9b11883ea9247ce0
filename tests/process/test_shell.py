"""At a shell: what it completes, the help of a verb, and -C on either side of it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import Project
from tests.support import wait_until

BIN = Path(sys.executable).parent
RELEASES = ("20260101T000000Z-aaaaaaa", "20260102T000000Z-bbbbbbb")
DOCUMENTED = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
TURN_ON = re.findall(r"^    (.*_GAPLESS_COMPLETE=\w+ .*?)  +#", DOCUMENTED, re.MULTILINE)


class Bash:
    """A bash on a terminal of its own, with gapless's completion."""

    def __init__(self, folder: Path) -> None:
        self.master, slave = os.openpty()
        os.set_blocking(self.master, False)
        env = {"PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "ready> ", "HOME": str(folder)}
        argv = ["bash", "--norc", "--noprofile", "-i"]
        self.process = subprocess.Popen(
            argv, cwd=folder, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.seen = ""
        self.type(f"bind 'set show-all-if-ambiguous on'; {TURN_ON[0]}; echo complete''d\n", "completed")

    def type(self, keys: str, expected: str) -> None:
        """Type `keys`, and wait until `expected` has come after them."""
        begin = len(self.seen)
        os.write(self.master, keys.encode())

        def came() -> bool:
            with contextlib.suppress(BlockingIOError):
                self.seen += os.read(self.master, 1 << 16).decode()
            return expected in self.seen[begin:]

        wait_until(came, 30, f"{expected!r} after {keys!r}")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def bash(project: Project) -> Iterator[Bash]:
    """A bash in a project with two releases, and a destination."""
    for release in RELEASES:
        (project.home / "releases" / release).mkdir(parents=True)
    (project.folder / "gapless.staging.toml").touch()
    one = Bash(project.folder)
    yield one
    one.close()


def test_bash_completes_what_is_typed(bash: Bash, project: Project) -> None:
    """A verb, an option, a release, a destination, a file; where several are possible it lists them."""
    bash.type("gapless rollb\t", "gapless rollback ")
    bash.type("20260102\t", f"{RELEASES[1]} ")
    bash.type("--dry\t", "--dry-run ")
    bash.type("\x15gapless logs -d st\t", "staging ")
    bash.type("\x15gapless exec --release \t", RELEASES[0])
    bash.type("\x15gapless lock ac\t", "acquire ")
    bash.type("\x15gapless help lock rel\t", "release ")
    bash.type("\x15gapless deploy gapless.st\t", "gapless.staging.toml ")
    bash.type("\x15gapless -C .gap\t", ".gapless/")
    assert completed(project.folder.parent, "-C", str(project.folder), "logs", "") == [
        f"plain,{one}" for one in reversed(RELEASES)
    ]


def completed(folder: Path, *words: str, shell: str = "bash") -> list[str]:
    """What the completion of `shell` is answered for a line of `words`, of which the last is not complete yet."""
    line, env = " ".join(("gapless", *words)), {"_GAPLESS_COMPLETE": f"{shell}_complete"}
    env |= {"COMP_WORDS": line, "COMP_CWORD": words[-1] if shell == "fish" else str(len(words))}
    argv = [str(BIN / "gapless")]
    done = subprocess.run(argv, cwd=folder, env=os.environ | env, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_completion(tmp_path: Path, shell: str) -> None:
    """The line that the docs give for it has a function from gapless, which asks gapless."""
    [line] = (one for one in TURN_ON if f"{shell}_source" in one)
    source = line.replace("eval ", "echo ").removesuffix(" | source")
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", source], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert f"_GAPLESS_COMPLETE={shell}_complete" in done.stdout
    assert "rollback" in "\n".join(completed(tmp_path, "roll", shell=shell))


@pytest.mark.parametrize(
    "words",
    [("logs", ""), ("deplyo", "x"), ("-C", "/nowhere", "logs", ""), ("help", "x", "")],
)
def test_where_there_is_nothing_to_complete_nothing_is_said(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Outside of a project, after a slip: no traceback comes into somebody's line."""
    assert completed(tmp_path, *words) == []


def test_minus_c_stands_before_the_verb_or_after_it(project: Project, tmp_path: Path) -> None:
    """As with git and make; the one after the verb is the nearer one, and a verb without a project takes none."""
    here, project.folder = str(project.folder), tmp_path
    said = project.json("-C", here, "config")
    assert said == project.json("config", "-C", here)
    assert said["name"] == "shop"
    assert project.json("-C", "/nowhere", "config", "-C", here) == said
    assert project("-C", here, "lock", "status") == "Not locked.\n"
    assert "`gapless serve` is about no project: it takes no -C." in project("-C", here, "serve", "a:b", status=2)
    assert "there is no such file" in project("-C", "/nowhere", "status", status=2)


def test_help_shows_the_help_of_a_verb(project: Project) -> None:
    """`gapless help VERB` says what `gapless VERB --help` does, of verbs in verbs, too; a slip is told what is near."""
    assert project("help") == project("--help")
    assert project("help", "deploy") == project("deploy", "--help")
    assert project("help", "lock", "acquire") == project("lock", "acquire", "--help")
    assert "Did you mean 'deploy'?" in project("help", "deplyo", status=2)
    assert "No such command 'x'" in project("help", "lock", "x", status=2)
    assert "is no command" in project("help", "deploy", "x", status=2)
