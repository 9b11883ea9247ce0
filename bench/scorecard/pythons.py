"""Run the battery on `gapless serve`, as built and installed, on every Python that there is: uvloop and asyncio.

python -m bench.scorecard.pythons [--suite forky] [PYTHON …]

Without PYTHON those on PATH and pyenv's and uv's; with --suite (as root) also the Python of that Debian, whose tree is
made in .debian. Writes the table in docs/scorecard.md, and prints what is no longer as it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.scorecard.book import Book, Row, judge, kept
from bench.scorecard.page import counts
from bench.scorecard.servers import PLACE, ROOT

NEWEST = 20  # of Python 3; what is not there is not tried
LOOPS = ("uvloop", "asyncio")
APPS = {"ASGI": "app:app", "WSGI": "app:wsgi"}
PLACES = (".pyenv/versions/3.{minor}.*/bin/python3", ".local/share/uv/python/cpython-3.{minor}*/bin/python3")
PIP = ("-m", "pip", "--disable-pip-version-check", "-q")
WHEELS = "var/tmp/wheels"  # in the tree of another Debian
# What runs in such a tree sees its own processes, as on a host.
INSIDE = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && tree=$1 && shift && exec chroot "$tree" "$@"'
VERSIONS = """
import json, platform
from importlib import metadata
found = {"python": platform.python_version(), "uvicorn": metadata.version("uvicorn")}
try: found["uvloop"] = metadata.version("uvloop")
except metadata.PackageNotFoundError: pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Python:
    """An interpreter: its path, and the tree in which that is a path, none for this machine's own."""

    path: str
    tree: Path | None = None

    def argv(self, *argv: str) -> list[str]:
        if self.tree is None:
            return [*argv]
        unshare = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        return [*unshare, "sh", "-c", INSIDE, "sh", str(self.tree), *argv]

    def run(self, *argv: str) -> str:
        done = subprocess.run(self.argv(*argv), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    @property
    def minor(self) -> str:
        return self.run(self.path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()


def local() -> Iterator[Python]:
    """The Pythons of this machine, the oldest that gapless runs on first; of each minor version one."""
    for minor in range(11, NEWEST):
        known = [shutil.which(f"python3.{minor}") or ""]
        known += [str(one) for place in PLACES for one in sorted(Path.home().glob(place.format(minor=minor)))]
        for path in known:
            # One of pyenv's shims may be there and run nothing.
            if (
                path
                and subprocess.run([path, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0
            ):
                yield Python(path)
                break


def debian(suite: str) -> Python:
    """The Python of a Debian, in a tree made of that."""
    tree = ROOT / ".debian" / f"python-{suite}"
    done = tree / ".complete"
    if not done.exists():
        shutil.rmtree(tree, ignore_errors=True)
        include = "--include=python3,python3-venv"
        # Of the mirror that it knows, and by the script of all new suites: it may be older than this one.
        subprocess.run(
            ["debootstrap", "--variant=minbase", include, suite, str(tree), "", "sid"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        done.touch()
    return Python("/usr/bin/python3", tree)


def wheel() -> Path:
    """Build what users install."""
    into = PLACE / "wheels"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return max(into.glob("gapless-*.whl"), key=lambda one: one.stat().st_mtime)


def install(python: Python, loop: str, built: Path) -> str:
    """Install the wheel into an environment of its own, without uvloop for asyncio; the environment's bin."""
    name = f"{python.minor}-{loop}"
    if python.tree is None:
        place = str(PLACE / "pythons" / name)
        what, options = f"{built}[serve,cli]", ("--force-reinstall", "--upgrade")
    else:  # its pip knows no registry: this one's does
        place = f"/opt/{name}"
        wheels = python.tree / WHEELS
        download = ("download", "--only-binary=:all:", "--python-version", python.minor, "-d", str(wheels))
        subprocess.run([sys.executable, *PIP, *download, f"{built}[serve,cli]"], check=True)
        what, options = f"/{WHEELS}/{built.name}[serve,cli]", ("--no-index", f"--find-links=/{WHEELS}")
    python.run(python.path, "-m", "venv", "--clear", place)
    python.run(f"{place}/bin/python", *PIP, "install", *options, what)
    if loop == "asyncio":
        python.run(f"{place}/bin/python", *PIP, "uninstall", "-y", "uvloop")
    return f"{place}/bin"


def row(python: Python, loop: str, app: str, bin_: str, cases: Sequence[str]) -> Row:
    """What is kept of one."""
    found: dict[str, str] = json.loads(python.run(f"{bin_}/python", "-c", VERSIONS))
    if (loop == "uvloop") != ("uvloop" in found):
        sys.exit(f"{bin_} is not as it was to be: {found}")
    program = f"{bin_}/gapless"
    one = {
        "name": f"Python {python.minor}, {loop}, {app}",
        "version": ", ".join(f"{name} {number}" for name, number in found.items()),
        "command": f"gapless serve {APPS[app]}",
        "about": "",
        "python": found["python"],
        "loop": loop,
        "app": app,
        **kept(judge([program, "serve", APPS[app]], cases, python.argv(program))),
    }
    print(f"{one['name']}: {counts(one)}, in {one['seconds']} s", flush=True)
    return one


def main() -> int:
    """Judge ours on each, write the page, tell what changed; the status is 1 where a case fails."""
    parser = argparse.ArgumentParser(prog="bench.scorecard.pythons", description=__doc__)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="an interpreter; the others' rows stay")
    parser.add_argument("--suite", action="append", default=[], help="a Debian whose Python to try, too")
    parser.add_argument("--loop", action="append", choices=LOOPS, help="on this loop alone")
    parser.add_argument("--case", action="append", default=[], help="as --only of gapless conform")
    parser.add_argument("--into", type=Path, default=ROOT / "docs", help="the directory of the page")
    chosen = parser.parse_args()
    pythons = [Python(str(Path(one).absolute())) for one in chosen.pythons] or [*local()]
    pythons += [debian(one) for one in chosen.suite]
    book, built, bad = Book(chosen.into, "pythons"), wheel(), False
    order = [f"Python 3.{minor}, {loop}, {app}" for minor in range(11, NEWEST) for loop in LOOPS for app in APPS]
    for python in pythons:
        for loop in chosen.loop or LOOPS:
            bin_ = install(python, loop, built)
            for app in APPS:
                one = row(python, loop, app, bin_, chosen.case)
                bad |= bool(one["error"]) or any(outcome == "fail" for outcome, _ in one["cases"].values())
                book.put(one, order, only_some=bool(chosen.case))
    for line in book.changes():
        print(line)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
