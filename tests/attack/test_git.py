"""A repository as a weapon: everything in it that names a program for git to run, when root deploys from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host.host import PROJECTS, Host
from tests.host.life import Shop, app_up
from tests.support import GAPLESS

HOOKS = (
    "post-checkout",
    "post-index-change",
    "reference-transaction",
    "pre-auto-gc",
    "fsmonitor-watchman",
    "post-merge",
)
TRAP = "/traps/run"  # says its name and its user
SETTINGS = f"""
[core]
    fsmonitor = {TRAP} fsmonitor
    sshCommand = {TRAP} ssh
    pager = {TRAP} pager
    editor = {TRAP} editor
    askPass = {TRAP} askpass
    alternateRefsCommand = {TRAP} alternates
    gitProxy = {TRAP} proxy
[pager]
    diff = {TRAP} pager
[filter "trap"]
    clean = {TRAP} clean
    smudge = {TRAP} smudge
[filter "long"]
    process = {TRAP} process
[diff]
    external = {TRAP} external
[diff "trap"]
    textconv = {TRAP} textconv
    command = {TRAP} command
[merge "trap"]
    driver = {TRAP} merge
[gpg]
    program = {TRAP} gpg
[gpg "ssh"]
    program = {TRAP} gpg
[credential]
    helper = {TRAP} credential
[uploadpack]
    packObjectsHook = {TRAP} upload
[tar "tar"]
    command = {TRAP} tar
[alias]
    archive = !{TRAP} alias
    ls-files = !{TRAP} alias
    diff = !{TRAP} alias
[remote "origin"]
    url = ssh://nowhere/x
    promisor = true
    vcs = trap
"""
ATTRIBUTES = "app.py filter=trap diff=trap merge=trap\n*.long filter=long diff=trap\nsubst export-subst\n"


@pytest.fixture(scope="module")
def shop(host: Host) -> Iterator[Shop]:
    """An app that is up, a user who sets traps, and the traps."""
    host.run("useradd", "--create-home", "mallory")
    host.write(TRAP, '#!/bin/sh\necho "$1 $(id -u)" >> /proof/ran\n[ "$1" = textconv ] || cat\nexit 1\n', 0o755)
    with app_up(host) as one:
        yield one


def set_traps(host: Host, work: str, git: str) -> None:
    """Settings by every way that leads into a repository's own: its file, what that includes, a worktree's."""
    host.write(f"{work}/.gitattributes", ATTRIBUTES)
    for name, text in (("a.long", "x\n"), ("subst", "$Format:%G?%GG$\n"), ("more.py", "x = 1\n")):
        host.write(f"{work}/{name}", text)
    for step in (["add", "-A"], ["-c", "user.name=m", "-c", "user.email=m@m", "commit", "-qm", "x", "--allow-empty"]):
        host.run("git", "-c", "safe.directory=*", *step, cwd=work)
    plain, _, rest = SETTINGS.partition("[filter")
    host.write(f"{git}/traps", f"[filter{rest}")
    config = host.read(f"{git}/config").replace("repositoryformatversion = 0", "repositoryformatversion = 1")
    config += plain + f'[includeIf "gitdir:/"]\n    path = {git}/traps\n[include]\n    path = {git}/traps\n'
    config += "[extensions]\n    worktreeConfig = true\n"
    host.write(f"{git}/config", config)
    host.write(f"{git}/config.worktree", f"[core]\n    fsmonitor = {TRAP} worktree\n")
    for hook in HOOKS:
        host.write(f"{git}/hooks/{hook}", f"#!/bin/sh\nexec {TRAP} {hook}\n", 0o755)
    host.write(f"{git}/objects/info/alternates", f"{git}/objects\n")
    for name in ("app.py", "a.long", "more.py"):  # so that git has to look into them
        host.run("sh", "-c", f"echo '# changed' >> {work}/{name}")


def ran(host: Host) -> list[str]:
    """What ran since it was last asked, with its user."""
    found = host.read("/proof/ran").splitlines()
    host.run("sh", "-c", ": > /proof/ran")
    return found


def deploy(shop: Shop, project: str, *source: str) -> str:
    """What a deploy by sudo(8) says, whatever comes of it: nothing of another user ran as root for it."""
    host = shop.host
    uid, gid = (host.run("id", how, "mallory").stdout.strip() for how in ("-u", "-g"))
    sudo = {"SUDO_UID": uid, "SUDO_GID": gid, "SUDO_USER": "mallory"}
    done = host.run(*GAPLESS, "deploy", *source, cwd=project, env=sudo, check=False)
    assert "Traceback" not in done.stderr
    assert [line for line in ran(host) if line.endswith(" 0")] == []
    return f"{done.returncode} {done.stderr}"


def test_the_repository_of_another_user(shop: Shop) -> None:
    """Invariant 9: root's git runs as him: no setting, hook or filter of his runs as root, however it deploys."""
    host, project = shop.host, "/home/mallory/shop"
    host.run("mkdir", "-p", project)
    for name in ("app.py", "gapless.toml"):
        host.write(f"{project}/{name}", host.read(f"{shop.project}/{name}"))
    host.run("git", "init", "-q", cwd=project)
    set_traps(host, project, f"{project}/.git")
    host.run("chown", "-R", "mallory:", project)
    # 1. The traps are none by themselves: he steps into them, and so would root.
    for verb in (["status"], ["diff"], ["archive", "HEAD"], ["hash-object", "app.py"]):
        host.run("git", *verb, cwd=project, user="mallory", check=False)
    assert {line.split()[0] for line in ran(host)} >= {"worktree", "clean", "smudge", "process", "command"}
    host.run("git", "-c", "safe.directory=*", "status", cwd=project, check=False)
    assert any(line.endswith(" 0") for line in ran(host))
    # 2. root does not.
    assert deploy(shop, project).startswith("0 ")
    assert "# changed" in host.read(f"/srv/shop/releases/{shop.current()}/app.py")
    assert deploy(shop, project, "HEAD").startswith("0 ")
    assert "# changed" not in host.read(f"/srv/shop/releases/{shop.current()}/app.py")
    for ours in ("status", "config", "up"):
        host.run(
            *GAPLESS, ours, cwd=project, env={"SUDO_UID": host.run("id", "-u", "mallory").stdout.strip()}, check=False
        )
    assert [line for line in ran(host) if line.endswith(" 0")] == []


@pytest.mark.parametrize("how", ["directory", "file"])
def test_another_users_repository_inside_of_roots(shop: Shop, how: str) -> None:
    """Invariant 9: he may have a directory in root's project, or be whom a file `.git` there leads to."""
    host, project = shop.host, str(PROJECTS / f"outer-{how}")
    for name in ("app.py", "gapless.toml"):
        host.write(f"{project}/{name}", host.read(f"{shop.project}/{name}"))
    inner = f"{project}/vendor"
    git = f"{inner}/.git" if how == "directory" else "/home/mallory/inner.git"
    host.run("mkdir", inner)
    host.run("git", "init", "-q", *([] if how == "directory" else ["--separate-git-dir", git]), cwd=inner)
    host.write(f"{inner}/app.py", "x = 1\n")
    set_traps(host, inner, git)
    host.run("chown", "-R", "mallory:", inner if how == "directory" else git)
    host.run("sh", "-c", "git init -q; git add app.py gapless.toml", cwd=project)
    host.run("git", "-c", "safe.directory=*", "-C", inner, "status", check=False)
    assert any(line.endswith(" 0") for line in ran(host))  # it is a trap
    deploy(shop, project)


def test_a_repository_below_tmp_is_not_asked(shop: Shop) -> None:
    """Invariant 9: another user's .git above root's project in /tmp has no say in what is deployed."""
    host, project = shop.host, "/tmp/roots"  # noqa: S108
    host.run("git", "init", "-q", "/tmp", user="mallory")  # noqa: S108
    set_traps(host, "/tmp", "/tmp/.git")  # noqa: S108
    host.run("sh", "-c", "chown -R mallory: /tmp/.git; mkdir /tmp/roots")
    for name in ("app.py", "gapless.toml"):
        host.write(f"{project}/{name}", host.read(f"{shop.project}/{name}"))
    assert deploy(shop, project).startswith("0 ")
    assert "neither a directory, nor an archive file" in deploy(shop, project, "HEAD")
    host.run("sh", "-c", "rm -rf /tmp/.git* /tmp/roots /tmp/*.py /tmp/a.long /tmp/subst")
