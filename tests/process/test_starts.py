"""What a start of a release costs: everything was compiled when it was sealed."""

from __future__ import annotations

from tests.process.conftest import Project
from tests.starts import compare, own_modules
from tests.support import wait_until


def test_no_start_compiles_anything(project: Project) -> None:
    """Neither the first start of a release nor its second one compiles any of its 300 modules."""
    (project.folder / "shop").mkdir()
    for name, text in own_modules().items():
        (project.folder / name).write_text(text)
    supervisor = project.supervise()
    wait_until(lambda: project.json("status")["current"])
    first = project.answers()
    supervisor.kill()
    supervisor.status()
    project.supervise()
    compare("300 modules of its own, embedded", first, project.answers())
