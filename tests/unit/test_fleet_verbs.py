"""What the verbs over hosts are made of: one token for all, and the gapless that hosts are given."""

from __future__ import annotations

import io
import re
import textwrap
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from gapless.cli.fleet.board import Board
from gapless.cli.output import Output
from gapless.config import parse
from gapless.errors import GaplessError
from gapless.fleet import lease, wheel
from gapless.fleet.commands import Said
from gapless.fleet.hosts import Host, chosen
from gapless.fleet.parts import Fleet, Part

HOSTS = (Host("web1", port="2222"), Host("web2"))
LEAST = 'name = "shop"\ncommand = "gapless serve app:app"\n'


def fleet(*hosts: Host) -> Fleet:
    return Fleet(parse(LEAST, Path("gapless.toml")), hosts)


def test_one_token_has_that_of_each_host() -> None:
    """What all hosts took comes apart again; some of them may go on with it."""
    token = lease.joined([Said(host, {"token": f"t{number}"}) for number, host in enumerate(HOSTS)])
    assert lease.tokens(fleet(*HOSTS), token) == {HOSTS[0]: "t0", HOSTS[1]: "t1"}
    assert lease.tokens(fleet(HOSTS[1]), token) == {HOSTS[1]: "t1"}


@pytest.mark.parametrize("token", ["", "nonsense", "web2=t1"])
def test_a_token_that_is_not_of_these_hosts(token: str) -> None:
    """Invariant 8: whose token is missing is named; that of some hosts is good for these alone, as is advised."""
    with pytest.raises(GaplessError, match="web1:2222") as refused:
        lease.tokens(fleet(*HOSTS), token)
    assert "-H" in refused.value.hint
    assert refused.value.status == 2
    assert lease.tokens(fleet(HOSTS[1]), "web2=t1")


def test_a_terminal_obeys_no_host() -> None:
    """What a host calls its release is shown in the table as it is in a line."""
    part = Part(HOSTS[0], release="r1\x1b]0;mine\x07")
    board, shown = Board(Output()), io.StringIO()
    with board.shown([part]):
        Console(file=shown, force_terminal=True).print(board._table())
    assert r"r1\x1b]0;mine\x07" in shown.getvalue()


def test_the_gapless_that_runs_here_as_a_wheel(tmp_path: Path) -> None:
    """It is the same bytes each time, and has a record of all that is in it; a host installs its commands by it."""
    (tmp_path / "again").mkdir()
    made = wheel.write(tmp_path)
    assert made.read_bytes() == wheel.write(tmp_path / "again").read_bytes()
    with zipfile.ZipFile(made) as opened:
        [record] = (name for name in opened.namelist() if name.endswith("/RECORD"))
        listed = [line.split(",")[0] for line in opened.read(record).decode().splitlines()]
        assert sorted(listed) == sorted(opened.namelist())
        assert b"gapless.__main__:main" in opened.read(record.replace("RECORD", "entry_points.txt"))
    assert "gapless/cli/__init__.py" in listed


def test_a_gapless_that_nothing_is_known_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 8: where it was not installed, as pip does, hosts are not given the half of it."""
    monkeypatch.setattr(metadata.Distribution, "read_text", lambda *_: None)
    monkeypatch.setattr(metadata.PathDistribution, "read_text", lambda *_: None)
    monkeypatch.setattr(metadata, "version", lambda _: "1")
    with pytest.raises(GaplessError, match="METADATA") as refused:
        wheel.write(tmp_path)
    assert "pip" in refused.value.hint
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("page", "hosts"), [("five.md", 5), ("fleets.md", 3)])
def test_the_settings_of_a_page(page: str, hosts: int) -> None:
    """What docs/ show of gapless.toml is valid, and names the hosts that it tells of."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    blocks = re.findall(r"^ *```toml\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    config = parse(LEAST + "\n".join(map(textwrap.dedent, blocks)), Path("gapless.toml"))
    assert len(chosen(config)) == hosts
    assert config.fleet.migrate == "once"
