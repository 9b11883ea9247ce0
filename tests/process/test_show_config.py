"""gapless config: the settings in force."""

from __future__ import annotations

from tests.process.conftest import Project


def test_the_settings_in_force_are_shown(project: Project) -> None:
    """Invariant 8: what is set and what is default, in seconds, in words and as JSON; nothing needs to run."""
    text = project("config")
    assert "timeout = 4.0" in text
    assert "linger = 1.0" in text
    document = project.json("config")
    assert (document["name"], document["check"]["timeout"]) == ("shop", 4.0)


def test_the_units_of_a_release_are_shown(project: Project) -> None:
    """Every unit that a deploy would write for a release named RELEASE, by its path; nothing needs to be installed."""
    project.configure(
        'processes = { worker = { command = "work" } }\ntimers = { tick = { command = "tock", calendar = "daily" } }\n'
        'database = { path = "shop.db", replica = "file:///mnt/backup/shop" }'
    )
    units = project.json("config", "--units")["units"]
    assert list(units) == [
        "shop.socket",
        "shop@RELEASE.service",
        "shop.worker@RELEASE.service",
        "shop.tick@RELEASE.service",
        "shop.tick@RELEASE.timer",
        "shop.socket.d/current.conf",
        "shop.litestream.service",
    ]
    text = project("config", "--units")
    for name, unit in units.items():
        assert f"# /etc/systemd/system/{name}\n{unit}" in text
