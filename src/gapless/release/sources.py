"""Where a release comes from: a directory (as git sees it), a tar archive, or a git revision of the project."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gapless.config import FILE
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.release import artifact, copying, git
from gapless.release.archive import check_links, open_archive, strip, unpack
from gapless.release.budget import Budget
from gapless.release.checkout import checkout
from gapless.release.git_run import command
from gapless.release.pointers import PULL, refuse_pointers

OVERLAYS = "gapless.*.toml"  # see destination.py
NEVER = "it never comes along"
BARE = ("HEAD", "objects", "refs", "config")
OUTWARD = "put what it leads to into the project, or let git ignore the link"
LONGEST = 1 << 20  # bytes of a file of variables or of a secret
PACK = " and ".join(f"`git {one}`" for one in PULL) + " where it was made, and make it again"


@dataclass(frozen=True)
class Source:
    """`short` is 7 hex digits for the release's name, `revision` is for people, `install` fills a directory.

    `left_out` names what of the project is not in there, each with why; it raises GaplessError.
    """

    what: str
    short: str
    revision: str
    install: Callable[[Path], None]
    left_out: Callable[[], dict[str, str]] = dict


def find(project: Path, named: str | None = None) -> Source:
    """What `named` means: an existing directory, an existing file, else a revision; None is `project` itself.

    A release that brings no gapless.toml gets the project's, with what lies over it for destinations. Raises
    GaplessError (status 2 when it is none of them).
    """
    if named is None:
        source = _directory(project)
    elif Path(named).is_dir():
        source = _directory(Path(named))
    elif Path(named).is_file():
        source = _archive(Path(named))
    else:
        source = _revision(project, named)

    def install(target: Path) -> None:
        source.install(target)
        budget = _budget(project)
        if not os.path.lexists(target / FILE) and (project / FILE).exists():
            for name in (FILE, *(path.name for path in project.glob(OVERLAYS))):
                if not os.path.lexists(target / name):
                    copying.copy(project, name, stat.S_IFREG, target, budget)
        copying.open_directories(target)

    return replace(source, install=install)


def reader_in(project: Path) -> Callable[[Path], bytes]:
    """Make what reads a file in the directory `project`, which may be another user's, over no link put there since.

    It raises GaplessError for what is not in there, or no regular file, and OSError.
    """
    top = project.resolve()

    def read(path: Path) -> bytes:
        real = path.resolve()
        if not real.is_relative_to(top):
            raise GaplessError("read", str(path), f"it is not in {top}", "copy it into the project's directory")
        with copying.opened(top, str(real.relative_to(top))) as file:
            content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise GaplessError("read", str(path), f"it has more than {LONGEST >> 20} MiB")
        return content

    return read


def leave_out(tree: Path, names: Iterable[str]) -> None:
    """Remove the files `names` from `tree`; what is not in `tree`, if only by way of a link, stays. Raises OSError."""
    for path in (tree / name for name in names):
        if path.parent.resolve().is_relative_to(tree.resolve()) and (path.is_symlink() or path.is_file()):
            path.unlink()


def _refuse_bare(directory: Path) -> None:
    """Refuse a repository without a work tree: its files are git's own. Raises GaplessError."""
    if all((directory / name).exists() for name in BARE) and not (directory / FILE).exists():
        cause = "it is a bare git repository: what is in there is git's own"
        raise GaplessError("deploy", str(directory), cause, "clone it, and deploy the clone", status=2)


def _directory(directory: Path) -> Source:
    _refuse_bare(directory)
    names, changed = git.files(directory) if git.in_work_tree(directory) else ([], True)
    under_git = bool(names)  # no work tree, or a directory in one that git ignores, such as dist/
    try:
        names = names or _walk(directory)
        found = {name: (directory / name).lstat() for name in names}
        at_once = _budget(directory)
        for name, one in found.items():  # a sparse file says so
            at_once.enter(name, one.st_size if stat.S_ISREG(one.st_mode) else 0)
        listed = {name: stat.S_IFMT(one.st_mode) for name, one in found.items()}
        short = _digest(directory, listed) if changed or not under_git else ""
    except OSError as error:
        raise refusal("read", str(directory), error) from error
    if not under_git:
        revision, what = directory.absolute().name, f"the directory {directory}"
    else:
        commit, branch = git.head(directory)
        what = f"the directory {directory} as git sees it"
        if changed:
            revision = f"{commit[:7]} with local changes" if commit else "not committed yet"
        else:
            short = commit[:7]
            revision = f"{short} ({branch})" if branch else short

    def pull(name: str) -> str:  # in a repository inside, that one has to
        if not under_git:
            return PACK
        first, then = (command((directory / name).parent, *one.split()) for one in PULL)
        return f"{first}, then {then}, fetches them"

    def install(target: Path) -> None:
        budget = _budget(directory)  # another: what is there may have grown since it was listed
        for name, kind in listed.items():
            copying.copy(directory, name, kind, target, budget)
        check_links(target, str(directory), OUTWARD)
        refuse_pointers(target, str(directory), pull)

    def left_out() -> dict[str, str]:
        never = {name: NEVER for name in git.NEVER if os.path.lexists(directory / name)}
        return never | (dict.fromkeys(git.ignored(directory), "git ignores it") if under_git else {})

    return Source(what, short, revision, install, left_out)


def _budget(directory: Path) -> Budget:
    hint = "let git ignore what is no part of a release"
    return Budget(lambda cause: GaplessError("read", str(directory), cause, hint))


def _walk(directory: Path) -> list[str]:
    """Everything below `directory` but what no release wants; sockets, pipes and devices hold nothing to copy."""
    names = []
    for folder, folders, files in os.walk(directory, onerror=_raise):
        folders[:] = [name for name in folders if name not in git.NEVER]
        for name in (*folders, *(name for name in files if name not in git.NEVER)):
            path = Path(folder, name)
            if path.is_symlink() or path.is_dir() or path.is_file():
                names.append(str(path.relative_to(directory)))
    return sorted(names)


def _raise(error: OSError) -> None:
    raise error


def _digest(directory: Path, listed: Mapping[str, int]) -> str:
    """7 hex digits over names, modes and contents."""
    whole = hashlib.sha256()
    for name, kind in listed.items():
        mode, content = kind, b""
        if stat.S_ISLNK(kind):
            content = os.fsencode((directory / name).readlink())
        elif not stat.S_ISDIR(kind):
            with copying.opened(directory, name) as file:
                mode |= copying.mode(os.fstat(file.fileno()).st_mode)
                content = hashlib.file_digest(file, "sha256").digest()
        whole.update(b"%s\0%o\0%d\0%s" % (os.fsencode(name), mode, len(content), content))
    return whole.hexdigest()[:7]


def _archive(path: Path) -> Source:
    with open_archive(path) as archive:  # what is no archive is refused before anything starts
        head = artifact.head(archive)
    if head:
        return _artifact(path, head)
    with path.open("rb") as file:
        short = hashlib.file_digest(file, "sha256").hexdigest()[:7]

    def install(target: Path) -> None:
        with open_archive(path) as archive:
            unpack(archive, target, str(path))
        strip(target)
        check_links(target, str(path))
        refuse_pointers(target, str(path), lambda _: PACK)

    return Source(f"the archive {path}", short, path.name, install)


def _artifact(path: Path, head: artifact.Head) -> Source:
    def install(target: Path) -> None:
        with open_archive(path) as archive:
            artifact.install(archive, head, target)

    return Source(f"the artifact {path}", head.short, head.revision, install)


def _revision(project: Path, named: str) -> Source:
    in_git = git.in_work_tree(project)
    commit = git.commit(project, named) if in_git else None
    if commit is None:
        why = f"a git revision of {project}" + ("" if in_git else ", which is not under git")
        cause = f"it is neither a directory, nor an archive file, nor {why}"
        raise GaplessError("find", named, cause, "check the spelling, or `git fetch` first", status=2)
    short = commit[:7]
    revision = short if commit.startswith(named) else f"{short} ({named})"
    return Source(
        f"git revision {revision}",
        short,
        revision,
        lambda target: checkout(project, commit, target),
        lambda: dict.fromkeys(git.untracked(project), "it is not committed"),
    )
