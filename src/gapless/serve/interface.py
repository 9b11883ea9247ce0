"""Guess which interface an application speaks, from what it can be called with."""

from __future__ import annotations

import enum
import functools
import inspect
from dataclasses import dataclass
from typing import Any

DEPTH = 8  # wrappers in one another

NAMES = {"scope": "asgi", "receive": "asgi", "environ": "wsgi", "start_response": "wsgi"}


class Interface(enum.StrEnum):
    """What an application can be."""

    ASGI = "asgi"
    WSGI = "wsgi"
    FACTORY = "factory"  # called without arguments it returns one of the others


@dataclass(frozen=True)
class Guess:
    """An interface, and what speaks for it."""

    interface: Interface
    why: str


def guess(app: Any, depth: int = DEPTH) -> Guess | None:
    """What `app` seems to be; None where nothing speaks for anything."""
    if is_async(app):
        return Guess(Interface.ASGI, "it is async")
    try:
        parameters = list(inspect.signature(app).parameters.values())
    except (TypeError, ValueError):  # a builtin, or compiled
        return None
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = sum(1 for one in positional if one.default is one.empty)
    for one in positional[:2]:
        if one.name in NAMES:
            return Guess(Interface(NAMES[one.name]), f"it takes {one.name!r}")
    if any(one.kind is one.VAR_POSITIONAL for one in parameters) and required < 2:
        return _of_what_is_wrapped(app, depth)
    if required in (2, 3):
        return Guess(Interface.WSGI if required == 2 else Interface.ASGI, f"it takes {required} arguments")
    if required == 0:
        return Guess(Interface.FACTORY, "it can be called without arguments")
    return None


def is_async(app: Any) -> bool:
    """Whether calling `app` makes a coroutine."""
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004 -- the function itself is asked for


def _of_what_is_wrapped(app: Any, depth: int) -> Guess | None:
    """The guess for what a wrapper that takes `*args` holds: a decorator's closure, or an attribute of a middleware."""
    if depth == 0:
        return None
    cells = getattr(inspect.unwrap(app), "__closure__", None) or ()
    held = [cell.cell_contents for cell in cells if _is_filled(cell)]
    if isinstance(app, functools.partial):
        held.append(app.func)
    elif not inspect.isroutine(app) and not inspect.isclass(app):
        held += list(getattr(app, "__dict__", {}).values())
    found = [one for one in (guess(inner, depth - 1) for inner in held if callable(inner)) if one]
    speaking = [one for one in found if one.interface is not Interface.FACTORY]
    return Guess(speaking[0].interface, f"of what it wraps: {speaking[0].why}") if speaking else None


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
