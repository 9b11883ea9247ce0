"""Find the application that MODULE:APP names, whichever interface it speaks."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from gapless.errors import GaplessError
from gapless.serve.interface import Interface, guess, is_async
from gapless.serve.settings import Settings
from gapless.serve.wsgi import Wsgi

log = logging.getLogger("gapless.serve")

ASGIApp = Callable[[Any, Any, Any], Any]


def load(settings: Settings) -> ASGIApp:
    """Import `settings.app` ("module:attribute", `app_dir` first on the path) and return it as an ASGI 3 application.

    Raises GaplessError naming the module, the attribute or the line that raised.
    """
    spec = settings.app
    module_name, _, attributes = spec.partition(":")
    if not module_name or not attributes:
        hint = 'for example: gapless serve "shop.web:app"'
        raise GaplessError("load", f"the app {spec!r}", "it is not written as MODULE:APP", hint, status=2)
    found = _import(module_name, os.path.abspath(settings.app_dir))  # noqa: PTH100 -- one use does not need pathlib
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            hint = f"defined there: {', '.join(_callables(found)) or 'nothing callable'}"
            raise GaplessError("load", spec, f"{module_name} has no attribute {attribute!r}", hint) from None
    return _as_asgi(found, settings)


def _import(name: str, app_dir: str) -> Any:
    if app_dir not in sys.path:
        sys.path.insert(0, app_dir)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _raised("load", name, error) from error  # a module that the app itself imports
        hint = f"looked in {app_dir} first; use --app-dir, or install the app into this environment"
        raise GaplessError("load", f"the module {name!r}", "there is no such module", hint) from None
    except (Exception, SystemExit) as error:
        raise _raised("load", name, error) from error


def _raised(operation: str, what: str, error: BaseException) -> GaplessError:
    frames = error.__traceback__
    while frames is not None and (
        "importlib" in frames.tb_frame.f_code.co_filename or frames.tb_frame.f_globals is globals()
    ):
        frames = frames.tb_next  # how we came to import it helps nobody
    lines = "".join(traceback.format_exception(type(error), error, frames)).rstrip().splitlines()
    return GaplessError(operation, what, f"it raised {first_line(error)}", details=tuple(lines[-20:]))


def first_line(error: BaseException) -> str:
    """Name an error and what it says first: what follows explains, or links to who does."""
    lines = "".join(traceback.format_exception_only(error)).splitlines()
    return next(
        (line for line in lines if line[:1].strip()), type(error).__name__
    )  # a SyntaxError begins with its file


def _callables(module: Any) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")][:8]


def _as_asgi(app: Any, settings: Settings) -> ASGIApp:
    app, interface = _made(app, settings)
    if interface is Interface.ASGI:
        return app  # type: ignore[no-any-return]  # that is what it was taken for
    if is_async(app):
        raise GaplessError("serve", settings.app, "it is async, which WSGI is not", "use --interface asgi", status=2)
    return Wsgi(app, settings.threads, multiprocess=settings.workers > 1)


def _made(app: Any, settings: Settings) -> tuple[Any, Interface]:
    """The app, made by its factory if it is one, and its interface, asked for or guessed."""
    spec, asked = settings.app, settings.interface
    factory = settings.factory
    if not callable(app):
        raise GaplessError("serve", spec, f"it is a {type(app).__name__}, which cannot be called")
    if not factory and asked == "auto":
        guessed = guess(app)
        factory = guessed is not None and guessed.interface is Interface.FACTORY
        if guessed is not None and factory:
            log.info("%s is called as a factory, a guess (%s): --factory makes it sure", spec, guessed.why)
    if factory:
        try:
            app = app()
        except Exception as error:
            raise _raised("serve", spec, error) from error
        if not callable(app):
            raise GaplessError("serve", spec, f"called without arguments it returned a {type(app).__name__}, no app")
    if asked != "auto":
        return app, Interface(asked)
    guessed = guess(app)
    if guessed is None or guessed.interface is Interface.FACTORY:
        cause = "whether it is ASGI 3, called with (scope, receive, send), or WSGI, with (environ, start_response)"
        hint = "say it: --interface asgi, or --interface wsgi; for one that makes the app, --factory"
        raise GaplessError("guess", cause, f"{spec} {_said(app)}", hint, status=2)
    log.info("%s is taken for %s, a guess (%s): --interface makes it sure", spec, guessed.interface, guessed.why)
    return app, guessed.interface


def _said(app: Any) -> str:
    try:
        return f"takes {inspect.signature(app)}"
    except (TypeError, ValueError):
        return "does not say what it takes"
