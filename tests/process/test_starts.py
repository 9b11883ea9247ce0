"""What a start of a release costs: everything was compiled when it was sealed."""

from __future__ import annotations

import pytest

from tests.process.conftest import Project
from tests.starts import compare, own_modules
from tests.support import wait_until


@pytest.mark.parametrize("optimize", ["", "1"])
def test_no_start_compiles_anything(project: Project, optimize: str) -> None:
    """Neither the first start of a release nor its second one compiles any of its 300 modules, optimized or not."""
    if optimize:
        toml = project.folder / "gapless.toml"
        toml.write_text(f'{toml.read_text()}\n[env]\nPYTHONOPTIMIZE = "{optimize}"\n')
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
