"""docs/guide.md: its commands work, one after the other, on a fresh host."""

from __future__ import annotations

import re
import shlex

from tests.host.host import PROJECT, PROJECTS, Host

GUIDE = (PROJECT / "docs" / "guide.md").read_text()
APP = (PROJECT / "src" / "gapless" / "demo" / "app.py").read_text()


def test_the_guide_leads_from_an_empty_host_to_a_proven_deploy(fresh_host: Host) -> None:
    """Every command in a console block of the guide succeeds, in order; nothing is lost, and in the end all is gone."""
    host = fresh_host
    host.write(PROJECTS / "shop" / "app.py", APP)
    blocks = re.findall(r"^```console\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    said = {}
    for argv in commands:
        assert argv[0] == "gapless"
        if argv[1] == "rollback":  # there is something to go back to, and the port answers
            assert host.get(8000)[0] == 200
        said[" ".join(argv[1:])] = host.gapless(*argv[1:], cwd=PROJECTS / "shop", timeout=120).stdout
    assert "Nothing was lost" in said["deploy --prove --watch 5s"]
    assert "app:app" in said["init"]
    assert host.run("test", "-e", "/srv/shop/releases", check=False).returncode != 0
