"""Files of NAME=value lines, in the syntax of systemd's EnvironmentFile= (systemd.exec(5)): read and written."""

from __future__ import annotations

import re
from pathlib import Path

from gapless.config.problems import VARIABLE
from gapless.errors import GaplessError

BLANK = re.compile(r"[ \t\r]*(?:#[^\n]*)?(?:\n|\Z)")
ASSIGNMENT = re.compile(
    rf"[ \t]*(?:export[ \t]+)?(?P<name>{VARIABLE.pattern})[ \t]*=(?:"
    r"""[ \t]*"(?P<double>[^"\\]*(?:\\.[^"\\]*)*)"|"""
    r"""[ \t]*'(?P<single>[^']*)'|"""
    r"""(?P<bare>(?![ \t]*["'])[^\n]*?)"""
    r")(?:[ \t]+#[^\n]*)?[ \t\r]*(?:\n|\Z)",
    re.DOTALL,
)


def parse(content: bytes, path: Path) -> dict[str, str]:
    """The variables in NAME=value lines; quotes mean what they mean to a shell, and nothing is expanded.

    `path` is for messages. Raises GaplessError that names the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise GaplessError("read", str(path), f"line {line} is not UTF-8") from None  # it has the whole content
    variables, position = {}, 0
    while position < len(text):
        found = BLANK.match(text, position)
        if found is None:
            found = ASSIGNMENT.match(text, position)
            if found is None or "\0" in found[0]:
                line = text.count("\n", 0, position) + 1
                cause = f"line {line} is not NAME=value, or its quotes are not closed, or it has a NUL byte"
                hint = 'for example: GREETING="several words"; a name consists of letters, digits and _'
                raise GaplessError("read", str(path), cause, hint)
            variables[found["name"]] = _value(found)
        position = found.end()
    return variables


def _value(found: re.Match[str]) -> str:
    if found["double"] is not None:
        return re.sub(r'\\(["\\$`]|\n)', lambda escaped: escaped[1].strip("\n"), found["double"])
    return found["single"] if found["single"] is not None else found["bare"].strip(" \t\r")


def assignment(name: str, value: str, release: str) -> str:
    if "\0" in value or value.encode(errors="ignore").decode() != value:
        raise GaplessError("fix", f"`{name}` of {release}", "its value has a NUL byte or is not text")
    escaped = re.sub(r'(["\\$`])', r"\\\1", value)
    return f'{name}="{escaped}"\n'
