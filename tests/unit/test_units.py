"""gapless.toml as units: nothing in a value becomes a setting of its own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gapless import config as configuration
from gapless.config import Config
from gapless.errors import GaplessError
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome
from gapless.version import maker

PLACE = SystemdHome("shop")


def _config(more: str, name: str = "shop") -> Config:
    return configuration.parse(f'name = "{name}"\ncommand = "/bin/server"\n{more}', Path("gapless.toml"))


@pytest.mark.parametrize("end", [r"\r", r"\n"])
def test_a_line_end_in_a_word_stays_in_its_word(end: str) -> None:
    """systemd ends a line at a carriage return, too: what follows would be a setting, such as another User=."""
    config = _config(f'processes.w = {{ command = ["/bin/sleep", "9{end}User=root"] }}')
    text = units.of_release(config, PLACE, "R")["shop.w@R.service"]
    assert f'ExecStart="/bin/sleep" "9{end}User=root"\n' in text


@pytest.mark.parametrize("end", [r"\r", r"\n"])
def test_a_line_end_in_a_value_is_refused(end: str) -> None:
    """A calendar cannot be quoted, so a second line in it is an error (invariant 8)."""
    with pytest.raises(GaplessError, match="line break"):
        units.of_release(
            _config(f'timers.t = {{ command = "x", calendar = "daily{end}Unit=poweroff.target" }}'), PLACE, "R"
        )


def test_a_line_end_in_an_address_is_refused() -> None:
    """Nor can the path of a Unix socket be quoted."""
    with pytest.raises(GaplessError, match="line break"):
        units.socket(_config(r'listen = "unix:/run/shop\rExecStartPre=/bin/true"'), PLACE)


def test_a_release_that_calls_itself_otherwise_stays_in_its_place() -> None:
    """A release of another project would have systemd give that one's runtime directory to this app's user."""
    texts = units.of_release(_config("", name="other"), PLACE, "R")
    assert "RuntimeDirectory=gapless/shop\n" in texts["shop@R.service"]
    assert "other" not in "".join(texts.values()) + units.rehearsal(PLACE, Path("/run/r.sock"))


def test_no_time_to_drain_is_not_for_ever() -> None:
    """TimeoutStopSec=0 would be no limit at all, systemd.service(5)."""
    text = units.of_release(_config('processes.w = { command = "/bin/sleep 9", drain = 0 }'), PLACE, "R")[
        "shop.w@R.service"
    ]
    assert "TimeoutStopSec=0.001\n" in text


@pytest.mark.parametrize("name", ["shop-", "-shop", "shop\n", "a" * 33, "shop.web"])
def test_a_name_that_systemd_could_take_for_more_is_refused(name: str) -> None:
    """What is in shop-.socket.d would apply to shop-web.socket; and a name is one word."""
    with pytest.raises(GaplessError, match="name"):
        _config("", name=name.replace("\n", "\\n"))


def test_no_process_takes_the_name_of_the_rehearsal() -> None:
    """Its unit in /etc would be started instead of the rehearsal's in /run."""
    with pytest.raises(GaplessError, match="rehearsal"):
        _config('processes.rehearsal = { command = "/bin/sleep 9" }')


@pytest.mark.parametrize("word", ["/opt/gapless/bin/gapless", '/opt/a "b" $c %d \\e/gapless'])
def test_units_tell_who_made_them_and_what_they_start(word: str) -> None:
    """Each unit of a release names this gapless and its interpreter; what it starts is read as it was written."""
    config = _config('processes.w = { command = "x" }\ntimers.t = { command = "x", calendar = "daily" }')
    config = msgspec.structs.replace(config, command=[word])
    texts = units.of_release(config, PLACE, "R") | {"shop.socket": units.socket(config, PLACE)}
    assert {units.made_by(text) for text in texts.values()} == {maker()}
    assert units.started(texts["shop@R.service"]) == Path(word)
    assert units.made_by("# Made by gapless for release R; the next start of it writes it again.") == "an older gapless"
