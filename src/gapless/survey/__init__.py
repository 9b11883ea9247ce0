"""What a project is made with, read from its files: for `gapless init`. Nothing of the project is run."""

from __future__ import annotations

from pathlib import Path

from gapless.survey import application, data, django, needs, procfile, programs
from gapless.survey.findings import Findings
from gapless.survey.sources import sources

__all__ = ["Findings", "of"]


def of(directory: Path) -> Findings:
    """Find out what the project in `directory` is made with, and what its author has to do."""
    found, modules = Findings(), sources(directory)
    if not django.find(found, directory):
        application.find(found, modules, procfile.served(directory, modules))
        if not found.app and programs.find(found, directory):
            return _checked(found)
        data.find(found, directory, modules)
    procfile.find(found, directory)
    found.installs = needs.find(found, directory)
    if not found.app:
        found.todo.append(
            "no app was found: put yours in place of MODULE:APP, a package's too (`httpbin:app`), or another command"
            " that takes a socket"
        )
    if any("os.environ" in one for one in found.todo):
        found.todo.append("where a file does not have it yet: `import os`")
    return _checked(found)


def _checked(found: Findings) -> Findings:
    """What was found; where that has no page to check, this is the author's to name."""
    if (found.app or found.command) and not found.page:
        perhaps = f", {' or '.join(found.pages[:3])} perhaps" if found.pages else ""
        found.todo.append(f"no page was found that everybody may see: `[check] path` names one{perhaps}")
    return found
