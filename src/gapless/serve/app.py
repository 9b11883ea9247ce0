"""Find the application that MODULE:APP names, whichever interface it speaks."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from gapless.errors import GaplessError

ASGIApp = Callable[[Any, Any, Any], Any]


def load(spec: str, app_dir: str = ".") -> ASGIApp:
    """Import `spec` ("module:attribute", `app_dir` first on the path) and return it as an ASGI 3 application.

    WSGI applications are wrapped (a2wsgi), and a callable that takes nothing is a factory: it is called once.
    Raises GaplessError naming the module, the attribute or the line that raised.
    """
    module_name, _, attributes = spec.partition(":")
    if not module_name or not attributes:
        hint = 'for example: gapless serve "shop.web:app"'
        raise GaplessError("load", f"the app {spec!r}", "it is not written as MODULE:APP", hint, status=2)
    found = _import(module_name, os.path.abspath(app_dir))  # noqa: PTH100 -- one use does not need pathlib
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            hint = f"defined there: {', '.join(_callables(found)) or 'nothing callable'}"
            raise GaplessError("load", spec, f"{module_name} has no attribute {attribute!r}", hint) from None
    return _as_asgi(found, spec)


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
    said = traceback.format_exception_only(error)[-1].strip()
    return GaplessError(operation, what, f"it raised {said}", details=tuple(lines[-20:]))


def _callables(module: Any) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")][:8]


def _as_asgi(app: Any, spec: str) -> ASGIApp:
    if not callable(app):
        raise GaplessError("serve", spec, f"it is a {type(app).__name__}, which cannot be called")
    wanted = _required_arguments(app)
    if wanted == 0 and not _is_async(app):
        try:
            app = app()
        except Exception as error:
            raise _raised("serve", spec, error) from error
        wanted = _required_arguments(app)
    if wanted == 3:
        return app  # type: ignore[no-any-return]  # an ASGI app is known by its three arguments
    if wanted == 2 and not _is_async(app):
        from a2wsgi import WSGIMiddleware  # only WSGI apps pay for it

        return WSGIMiddleware(app)
    hint = "ASGI 3 takes (scope, receive, send), WSGI takes (environ, start_response)"
    raise GaplessError("serve", spec, f"it takes {wanted} arguments: neither ASGI 3 nor WSGI", hint)


def _required_arguments(app: Any) -> int:
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return 3
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(1 for one in parameters if one.kind in positional and one.default is one.empty)


def _is_async(app: Any) -> bool:
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004 -- the function itself is asked for
