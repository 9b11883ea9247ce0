"""gapless.toml as units: nothing in a value becomes a setting of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from gapless import config as configuration
from gapless import environment, programs
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.switch.job import Kind
from gapless.switch.systemd import units
from gapless.switch.systemd.home import SystemdHome
from gapless.switch.systemd.jobs import SystemdJobs
from gapless.switch.systemd.systemctl import Systemctl
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


def _job(config: Config, kind: Kind) -> list[str]:
    return units.job(config, PLACE, "R", kind, ["/bin/true"], 60).splitlines()


def test_limits_are_in_every_unit() -> None:
    """Invariant 10: of server, process, timer, migration and exec the same; a build has its own, and yields."""
    config = _config(
        'processes.w = { command = "x" }\ntimers.t = { command = "x", calendar = "daily" }\n'
        'limits = { memory = "512M", cpu = 1.5 }\nbuild = { memory = "2G" }'
    )
    texts = {name: text.splitlines() for name, text in units.of_release(config, PLACE, "R").items()}
    texts["exec"] = units.execution(config, PLACE, "R", ["x"], ["null"] * 3, "").splitlines()
    texts["migration"] = _job(config, Kind.MIGRATION)
    for name, lines in texts.items():
        if not name.endswith(".timer"):
            assert {"MemoryMax=512M", "CPUQuota=150%"} <= {*lines}, name
    for kind in (Kind.BUILD, Kind.COMPILE):
        lines = _job(config, kind)
        assert {"MemoryMax=2G", "CPUWeight=20", "IOWeight=20", "OOMScoreAdjust=500"} <= {*lines}
        assert "CPUQuota=150%" not in lines
    assert "MemoryMax=75%" in _job(_config(""), Kind.BUILD)
    assert not [line for line in _job(_config(""), Kind.MIGRATION) if line.startswith(("MemoryMax", "CPU"))]


class OutOfMemory(Systemctl):
    """A systemd whose kernel has just killed something."""

    def show(self, properties: Sequence[str], *units: str) -> list[dict[str, str]]:
        known = {"ExecMainStatus": "9", "Result": "oom-kill"}
        return [{name: known[name] for name in properties} for _ in units]


@pytest.mark.parametrize(("kind", "table"), [(Kind.BUILD, "build"), (Kind.MIGRATION, "limits")])
def test_a_kill_for_memory_is_said(kind: Kind, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 8: not only that it was ended by SIGKILL, but why, and which setting is the limit."""
    config = _config('limits = { memory = "1G" }\nbuild = { memory = "1G" }')
    monkeypatch.setattr(SystemdHome, "config", lambda *_: config)
    jobs = SystemdJobs(PLACE)
    jobs.ctl = OutOfMemory()
    problem = jobs._problem(kind, "R", 60, subprocess.CompletedProcess([], 1, "", ""))
    assert problem == f"it was killed: out of memory ([{table}] memory = 1G)"


def test_the_path_of_the_app_comes_after_its_own_programs(tmp_path: Path) -> None:
    """Invariant 10: PATH of [env] and env_file is looked through by systemd, by the server and by a build alike."""
    home = SystemdHome("shop")
    home.root = tmp_path
    (tmp_path / ".env").write_text("PATH=/opt/tools\n")
    config = _config('env_file = ".env"\nbuild.env = { PATH = "/opt/builders" }')
    environment.fix(tmp_path, "R", config, tmp_path)
    own = f"{tmp_path}/releases/R/.venv/bin"
    assert units.search_path(config, home, "R").startswith(f"{own}:/opt/tools:")
    assert environment.read(tmp_path, "R")["PATH"].startswith(f"{own}:/opt/tools:")
    around = programs.Inherited({"PATH": "/of/manager", "A": "1"}, 0o22)
    found = programs.of_program(home, "R", around)
    assert found["PATH"] == environment.read(tmp_path, "R")["PATH"]
    assert found["A"] == "1"
    assert programs.of_program(home, "R", around, builds=True)["PATH"].startswith(f"{own}:/opt/builders:")
    environment.forget(tmp_path, "R")
    assert list((tmp_path / "env").iterdir()) == []
