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
