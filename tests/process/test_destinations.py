"""Commands for a destination, before it is installed anywhere."""

from __future__ import annotations

from tests.process.conftest import Project


def test_a_destination_is_shown_and_not_run_by_the_supervisor(project: Project) -> None:
    """Its settings are shown as they are laid together; a deploy says what installs it, since no supervisor runs it."""
    (project.folder / "gapless.staging.toml").write_text('name = "shop-staging"\nlisten = "127.0.0.1:9"\n')
    shown = project.json("config", "-d", "staging")
    assert (shown["name"], shown["listen"], shown["drain"]["linger"]) == ("shop-staging", "127.0.0.1:9", 1.0)
    said = project.json("deploy", "-d", "staging", status=1)["error"]
    assert said["object"] == "shop-staging"
    assert "sudo gapless up -d staging" in said["hint"]
    said = project.json("deploy", "-d", "stagin", status=2)["error"]
    assert said["object"].endswith("gapless.stagin.toml")
    assert "shop" in project("config")
