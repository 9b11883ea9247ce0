"""docs/json.md: every key that a verb prints is documented there."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path

from tests.process.conftest import Project

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def paths(document: object, prefix: str = "") -> Iterator[str]:
    """Every leaf of a document as a dotted path: instances[].status.pid."""
    if isinstance(document, dict) and document:
        for key, value in document.items():
            yield from paths(value, f"{prefix}.{key}" if prefix else key)
    elif isinstance(document, list) and document:
        yield from paths(document[0], f"{prefix}[]")
    else:
        yield prefix


def documented(section: str, document: object) -> None:
    """Fail for a key that the section does not name (with or without its trailing [])."""
    known = re.findall(r"`([^`]+)`", SECTIONS[section])
    empty = [name.partition("[]")[0].removesuffix(".*") for name in known]  # a list or table without an entry
    patterns = [name.replace("[]", "[[][]]") for name in (*known, *empty)]
    for path in paths(document):
        assert any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns), path


def test_every_key_is_documented(project: Project, tmp_path: Path) -> None:
    """--json is a promise: what is printed is on the page, for each verb and for errors."""
    refused = project.json("deploy", status=1)
    documented("Errors", refused)
    assert {f"error.{key}" for key in refused["error"]} == {
        name.removesuffix("[]") for name in re.findall(r"`(error[^`]+)`", SECTIONS["Errors"])
    }
    documented("init", project.json("init"))
    documented("config", project.json("config"))
    documented("config", project.json("config", "--example"))
    documented("config", project.json("config", "--units"))
    project.supervise()
    documented("deploy, rollback", project.json("deploy", "-n"))
    documented("deploy, rollback", project.json("deploy", "--prove"))
    documented("confirm", project.json("confirm"))
    documented("status", project.json("status"))
    documented("doctor", project.json("doctor"))
    documented("releases", project.json("releases"))
    documented("releases", project.json("releases", "--files"))
    documented("pack", project.json("pack", "-n"))
    documented("logs", project.json("logs"))
    documented("lock", project.json("lock", "acquire", "--why", "a reason"))
    documented("lock", project.json("lock", "status"))
    documented("status", project.json("status"))
    documented("lock", project.json("lock", "release"))
    documented("pause, resume", project.json("pause"))
    documented("status", project.json("status"))
    documented("pause, resume", project.json("resume"))
    documented("deploy, rollback", project.json("rollback"))
    documented("audit", project.json("audit"))
    documented("prune", project.json("prune"))
    url = f"http://127.0.0.1:{project.port}"
    documented("probe", project.json("probe", url, "--duration", "1s", "--report", str(tmp_path / "report.html")))
    documented("probe", project.json("probe", "http://127.0.0.1:1", "--duration", "1s", status=1))
    assert (tmp_path / "report.html").exists()
