"""Hooks and news of a project under `gapless run`."""

from __future__ import annotations

import json
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.process.conftest import Project
from tests.process.test_json import documented
from tests.support import wait_until

TELL = "env > $GAPLESS_SHARED/env; cat > $GAPLESS_SHARED/facts; echo it is there"
TELLS = f"""
env = {{ GREETING = "hello" }}
hooks = {{ deployed = "{TELL}", before_deploy = "echo first" }}
"""


def test_hooks_news_and_metrics_of_a_local_project(project: Project) -> None:
    """Invariant 10: a hook has what the release has, and nothing of the shell of whoever deploys; JSON stays JSON."""
    told = project.folder.parent / "news"
    notify = f"""notify = {{ command = ["/bin/sh", "-c", "cat > {told}; exit 3"] }}\n"""
    project.configure(TELLS + notify)
    project.supervise()
    wait_until(lambda: told.exists() and not project.json("status")["locked_by"])  # the first deploy is over
    first = json.loads(told.read_text())
    assert (first["event"], first["from"]) == ("deployed", None)
    project.env["MINE"] = "alone"
    done = project("deploy")
    assert "Warning: cannot run [notify] /bin/sh: it exited with status 3" in done
    [pid] = [one["pid"] for one in project.json("status")["instances"] if one["role"] == "live"]
    written = Path(f"/proc/{pid}/fd/1").readlink()
    assert written == project.home / "log" / f"{project.json('status')['current']}.log"  # the server's own, still
    facts = json.loads((project.home / "shared" / "facts").read_text())
    assert facts == json.loads(told.read_text())
    documented("hooks and notify", facts)
    assert (facts["from"], facts["to"], facts["verb"]) == (first["to"], project.json("status")["current"], "deploy")
    env = (project.home / "shared" / "env").read_text().splitlines()
    assert {"GREETING=hello", f"GAPLESS_RELEASE={facts['to']}", "GAPLESS_EVENT=deployed"} <= {*env}
    assert "MINE=alone" not in env
    assert {"first", "it is there"} <= {*project("logs").splitlines()}
    assert project("logs", "--grep", "^it is").splitlines() == ["it is there"]
    families = {one.name: one.samples for one in text_string_to_metric_families(project("status", "--prometheus"))}
    assert [one.value for one in families["gapless_up"]] == [1]
    assert {one.labels["outcome"]: one.value for one in families["gapless_deploys"]} == {"succeeded": 2}
    assert families["gapless_instance_connections"][0].labels["release"]
    assert "leave out --json" in project("status", "--prometheus", "--json", status=2)
