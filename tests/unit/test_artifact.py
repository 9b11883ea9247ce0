"""What `gapless pack` writes and `gapless deploy -` takes: one tree, one id, hostile until it is checked."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gapless import config
from gapless import destination as destinations
from gapless.errors import GaplessError
from gapless.release import artifact, budget, content, packing, receiving, sources
from gapless.release.archive import HELD
from gapless.release.deploy import deploy
from tests.scripted import ScriptedManager
from tests.unit.release_kit import CONFIG, commit, git, make_project
from tests.unit.release_shop import Shop

NO_HASH = hashlib.sha256(b"another").hexdigest()
APP = b"print('hello')\n"
Member = tuple[tarfile.TarInfo, bytes]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A project with names of all kinds, and its app on a host."""
    project = make_project(tmp_path / "shop")
    for name in ("deep/er/file", "ä\n", os.fsdecode(b"\xff"), "long/" + "n" * 200):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name * 100, errors="surrogateescape")
    (project / "tool").write_text("#!/bin/sh\n")
    (project / "tool").chmod(0o755)
    (project / "link").symlink_to("deep/er/file")
    commit(project)
    return Shop(project, ScriptedManager(project / ".gapless"))


def packed(project: Path, have: Mapping[str, str] | None = None, named: str | None = None) -> bytes:
    """What `gapless pack` writes of the source."""
    with packing.packing(project, named) as one:
        out = io.BytesIO()
        artifact.write(one.tree, one.head, have or {}, out)
    return out.getvalue()


@contextlib.contextmanager
def received(shop: Shop, stream: bytes) -> Iterator[sources.Source]:
    """What `gapless deploy -` reads of `stream`."""
    with tempfile.TemporaryFile() as file:
        file.write(stream)
        file.seek(0)
        with receiving.receiving(shop.target, config.load(shop.project), file.fileno()) as source:
            yield source


def receive(shop: Shop, stream: bytes) -> None:
    """As it begins."""
    with received(shop, stream):
        pass


def deployed(shop: Shop, stream: bytes) -> str:
    """The release that `gapless deploy -` makes of `stream`."""
    shop.time += 60
    with received(shop, stream) as source:
        release = deploy(shop.target, shop.project, source).release
    shop.manager.end_retired()
    return release


def there(shop: Shop) -> dict[str, str]:
    """The files that the host has, as `gapless releases --files` lists them."""
    current = shop.manager.current()
    return content.files(shop.target.store.path(current)) if current else {}


def refused(act: Callable[[], object], cause: str, advised: str) -> None:
    """Fail unless `act` is refused for that `cause`, with that advice."""
    with pytest.raises(GaplessError) as caught:
        act()
    assert cause in caught.value.cause
    assert advised in caught.value.hint


def crafted(*members: Member, **more: object) -> bytes:
    """A stream that says of itself what is in `more`, with a gapless.toml, the `members`, and no id that fits."""
    head = artifact.Head("0" * 64, "0123456", "crafted")
    comment = {"comment": str(more.get("comment") or artifact.said(head))}
    out = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", 6, out) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, pax_headers=comment) as archive,
    ):
        for info, text in (member("gapless.toml", CONFIG.encode()), *members):
            archive.addfile(info, io.BytesIO(text))
    return out.getvalue()


def member(name: str, text: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(text)
    return info, text


def held(name: str, text: bytes = APP) -> Member:
    return member(name, kind=HELD, link=hashlib.sha256(text).hexdigest())


def test_one_tree_is_the_same_bytes_whoever_packs_it(shop: Shop, tmp_path: Path) -> None:
    """Invariant 13: a clone of other time stamps under another umask, or a revision, is the same stream."""
    first = packed(shop.project)
    assert first[4:8] == bytes(4)  # when it was packed, for gzip
    before = os.umask(0o077)
    try:
        git(tmp_path, "clone", "-q", str(shop.project), "clone")
        for path in (tmp_path / "clone").rglob("*"):
            os.utime(path, (1, 1), follow_symlinks=False)
        assert packed(tmp_path / "clone") == first
    finally:
        os.umask(before)
    head = git(shop.project, "rev-parse", "HEAD")
    assert packed(shop.project, named=head) == packed(tmp_path / "clone", named=head)
    (shop.project / "app.py").write_text("print('bye')\n")
    assert packed(shop.project) != first


def test_a_release_is_the_tree_that_was_packed(shop: Shop, tmp_path: Path) -> None:
    """Invariant 13: by stream or from a file, it is the tree that a deploy of the directory makes, and named so."""
    stream, artifact_file = packed(shop.project), tmp_path / "shop.artifact"
    artifact_file.write_bytes(stream)
    releases = [shop.deploy(), deployed(shop, stream), shop.deploy(source=str(artifact_file))]
    trees = [shop.target.store.path(one) for one in releases]
    assert content.files(trees[0]) == content.files(trees[1]) == content.files(trees[2])
    assert len({shop.target.home.content(one).read_text() for one in releases}) == 1
    entries = shop.target.ledger.entries()
    assert len({(entry.revision, entry.to.rpartition("-")[2]) for entry in entries}) == 1
    with packing.packing(shop.project, None) as one:
        assert shop.target.home.content(releases[0]).read_text() == one.head.id


def test_what_a_host_has_is_not_sent_again(shop: Shop) -> None:
    """A second stream of the same files is small, one with a changed file holds that alone; the releases are whole."""
    (shop.project / "large").write_bytes(os.urandom(1 << 20))
    commit(shop.project)
    first = deployed(shop, packed(shop.project))
    stream = packed(shop.project, there(shop))
    assert len(stream) < 2000
    second = deployed(shop, stream)
    (shop.project / "app.py").write_text("print('bye')\n")
    stream = packed(shop.project, there(shop))
    assert len(stream) < 2000
    third = deployed(shop, stream)
    paths = [shop.target.store.path(one) for one in (first, second, third)]
    assert content.files(paths[0]) == content.files(paths[1]) != content.files(paths[2])
    assert (paths[2] / "app.py").read_text() == "print('bye')\n"
    assert (paths[2] / "large").read_bytes() == (paths[0] / "large").read_bytes()
    assert (paths[2] / "large").stat().st_mtime == (paths[0] / "large").stat().st_mtime


def test_variables_and_secrets_stay_on_their_host(shop: Shop) -> None:
    """No file of variables or secrets is in an artifact, whichever destination's; a host without its own is told."""
    (shop.project / "gapless.toml").write_text(f'{CONFIG}env_file = "shop.env"\nsecrets = {{ key = "shop.key" }}\n')
    over = 'name = "staging"\nlisten = "127.0.0.1:8001"\nenv_file = "staging.env"\n'
    (shop.project / "gapless.staging.toml").write_text(over)
    own = {"shop.env": "A=hush\n", "shop.key": "hush", "staging.env": "A=hush\n"}
    for name, text in own.items():
        (shop.project / name).write_text(text)
    commit(shop.project)
    stream = packed(shop.project)
    assert b"hush" not in gzip.decompress(stream)
    with packing.packing(shop.project, None) as one:
        assert not {*own} & {*one.files}
        assert "gapless.staging.toml" in one.files
    (shop.project / "shop.env").unlink()
    refused(lambda: deployed(shop, stream), "there is no such file", "create it")
    (shop.project / "shop.env").write_text("A=hush\n")
    assert deployed(shop, stream)


def test_a_stream_that_was_cut_changes_nothing(shop: Shop) -> None:
    """Invariant 5: wherever it ends too early, it is refused before a deploy begins; the whole one is taken."""
    stream = packed(shop.project)
    before = deployed(shop, stream)
    entries = shop.target.ledger.entries()
    for length in sorted({1, 9, len(stream) - 1, len(stream) - 8, *range(2, len(stream), 97)}):
        refused(lambda: receive(shop, stream[:length]), "it ended too early", "send it again")  # noqa: B023 -- at once
    refused(lambda: receive(shop, stream + b"x"), "something follows", "send it again")
    damaged = bytearray(stream)
    damaged[-6] ^= 1  # of the checksum
    refused(lambda: receive(shop, bytes(damaged)), "it is damaged", "send it again")
    assert shop.manager.current() == before
    assert shop.target.ledger.entries() == entries
    assert deployed(shop, stream)


def test_what_nobody_packed_is_refused(shop: Shop) -> None:
    """What is no artifact is refused, with what would make one."""
    for stream in (b"hello", gzip.compress(b"hello" * 1000), gzip.compress(b"")):
        with pytest.raises(GaplessError):
            receive(shop, stream)
    refused(lambda: receive(shop, b""), "it is empty", "gapless pack")
    refused(lambda: receive(shop, crafted(comment="0" * 40)), "nothing that", "gapless pack")
    refused(lambda: receive(shop, crafted(comment='{"gapless": 2}')), "another gapless", "one version of gapless")
    for short in ("../../x", "012345\n", "0123456\n"):
        said = artifact.said(artifact.Head("0" * 64, short, ""))
        refused(lambda: receive(shop, crafted(comment=said)), "nothing that", "gapless pack")  # noqa: B023 -- at once


HOSTILE = {
    "another content than its id says": [member("app.py", b"evil")],
    "out": [member("../victim", b"evil")],
    "absolute": [member("/tmp/gapless-victim", b"evil")],  # noqa: S108 -- it must not be written
    "through a link": [member("out", kind=tarfile.SYMTYPE, link="../.."), member("out/victim", b"evil")],
    "a link out": [member("out", kind=tarfile.SYMTYPE, link="../../..")],
    "a device": [member("null", kind=tarfile.CHRTYPE)],
    "held, out": [held("../victim")],
    "held, absolute": [held("/etc/passwd")],
    "held, the top": [held(".")],
    "held, twice": [held("app.py"), held("app.py")],
    "held, over a file": [member("app.py", b"evil"), held("app.py")],
    "held, over a link": [member("app.py", kind=tarfile.SYMTYPE, link="../../victim"), held("app.py")],
    "held, another one": [held("app.py", b"another")],
    "held, and not there": [held("none.py")],
    "held, below a file": [held("app.py/none")],
    "held, a link there": [held("link", b"deep/er/file" * 100)],
    "held, a directory there": [held("deep")],
    "held, through a link there": [held("folder/file", b"deep/er/file" * 100)],
    "more than one may hold": [member(f"f{number}") for number in range(60)],
    "too deep": [member("d/" * 250 + "f")],
    "a name without an end": [member("n" * (2 << 20))],
}


def test_a_hostile_stream_makes_no_release(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 9: root writes and reads nothing outside for a stream, and what served goes on serving."""
    (shop.project / "folder").symlink_to("deep/er")
    commit(shop.project)
    before = shop.deploy()
    victim = shop.project.parent / "victim"
    victim.write_text("safe")
    monkeypatch.setattr(budget, "MAX_MEMBERS", 50)
    for case, members in HOSTILE.items():
        with pytest.raises(GaplessError):
            deployed(shop, crafted(*members))
        assert victim.read_text() == "safe", case
        assert not Path("/tmp/gapless-victim").exists(), case  # noqa: S108 -- it must not be there
        assert shop.target.store.names() == [before], case
        assert shop.manager.current() == before, case


def test_a_bomb_is_stopped_while_it_comes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that becomes more than a release may have is refused before all of it is on the disk."""
    stream = packed(shop.project)
    (shop.project / "zeros").write_bytes(b"\0" * (8 << 20))
    bomb = packed(shop.project)
    assert len(bomb) < 1 << 20
    monkeypatch.setattr(budget, "MAX_BYTES", 4 << 20)
    refused(lambda: receive(shop, bomb), "it holds more than", "deploy less")
    receive(shop, stream)


def test_a_sender_who_stops_is_not_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream in which nothing comes any more, or that takes too long, ends; so does a terminal."""

    def from_(descriptor: int) -> None:
        with receiving.receiving(shop.target, config.load(shop.project), descriptor):
            pass

    stream = packed(shop.project)
    ours, theirs = os.pipe()
    os.write(theirs, stream[:100])
    monkeypatch.setattr(receiving, "IDLE", 0.05)
    refused(lambda: from_(ours), "nothing came", "send it again")
    monkeypatch.setattr(receiving, "LONGEST", 0.0)
    refused(lambda: from_(ours), "it took more than", "send it again")
    for one in (ours, theirs):
        os.close(one)
    ours, theirs = os.openpty()
    refused(lambda: from_(theirs), "that is a terminal", "gapless pack")
    for one in (ours, theirs):
        os.close(one)


def test_files_that_a_host_has_no_longer(shop: Shop) -> None:
    """What is to stay as it is has to be in the current release, or nothing is deployed; as advised it is, then."""
    deployed(shop, packed(shop.project))
    stream = packed(shop.project, there(shop))
    (shop.project / "app.py").write_text("print('bye')\n")
    shop.deploy()
    refused(lambda: deployed(shop, stream), "has not the `app.py`", "pack without --have, or with what")
    assert deployed(shop, packed(shop.project, there(shop)))
    shutil.rmtree(shop.project / ".gapless")  # another host, without a release
    shop.manager = ScriptedManager(shop.project / ".gapless")
    refused(lambda: deployed(shop, stream), "has not the", "pack without --have")
    assert deployed(shop, packed(shop.project))


def test_an_artifact_that_is_damaged_is_packed_again(shop: Shop, tmp_path: Path) -> None:
    """What is not as it was packed is refused, from a file, too; packed again it is a release."""
    path = tmp_path / "shop.artifact"
    path.write_bytes(crafted(member("app.py", b"print()\n")))
    refused(lambda: shop.deploy(source=str(path)), "it is not what was packed", "`gapless pack` it again")
    path.write_bytes(packed(shop.project))
    assert shop.deploy(source=str(path))


def test_the_artifact_of_another_project(shop: Shop, tmp_path: Path) -> None:
    """An artifact of another name or id is refused, in the directory of its own it is taken."""
    other = make_project(tmp_path / "bakery", CONFIG.replace("shop", "bakery"))
    stream = packed(other)
    refused(lambda: deployed(shop, stream), "the artifact is not of shop", "pass `-C` with the directory of bakery")
    assert deployed(Shop(other, ScriptedManager(other / ".gapless")), stream)
    (shop.project / "gapless.toml").write_text(f'{CONFIG}id = "one"\n')
    twin = make_project(tmp_path / "twin", f'{CONFIG}id = "two"\n')
    stream = packed(twin)
    refused(lambda: deployed(shop, stream), "of another project", "pass `-C` with the other project's directory there")
    assert deployed(Shop(twin, ScriptedManager(twin / ".gapless")), stream)


def test_a_destination_has_its_settings_from_the_artifact(shop: Shop) -> None:
    """With -d the overlay in the artifact counts, whatever the host's own directory says; the id is the packer's."""
    over = shop.project / "gapless.staging.toml"
    over.write_text('name = "staging"\nlisten = "127.0.0.1:8001"\nenv = { WHERE = "packed" }\n')
    commit(shop.project)
    stream = packed(shop.project)
    over.write_text('name = "staging"\nlisten = "127.0.0.1:8002"\n')
    target = replace(shop.target, destination="staging")
    settings = destinations.load(shop.project, "staging")
    with tempfile.TemporaryFile() as file:
        file.write(stream)
        file.seek(0)
        with receiving.receiving(target, settings, file.fileno()) as source:
            release = deploy(target, shop.project, source).release
            identity = shop.target.home.content(release).read_text()
    assert target.home.config(release).env == {"WHERE": "packed"}
    over.write_text('name = "staging"\nlisten = "127.0.0.1:8001"\nenv = { WHERE = "packed" }\n')
    with packing.packing(shop.project, None) as one:
        assert one.head.id == identity


def test_a_list_of_files_that_is_none() -> None:
    """What no host wrote is refused, with what does write it."""
    for wrong in (b"", b"\n", b"[]", b"{}", b"1", b'{"files": 1}', b"[" * 10000, b'{"files": ["a"]}'):
        refused(lambda: packing.listed(io.BytesIO(wrong), "-"), "it is", "gapless releases --files --json")  # noqa: B023
    assert packing.listed(io.BytesIO(b'{"files": {"\\udcff": "0"}}'), "-") == {os.fsdecode(b"\xff"): "0"}
