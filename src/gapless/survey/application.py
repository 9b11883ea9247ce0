"""The application among a project's modules: an object, or a factory that makes it, and a page that it answers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gapless.survey.findings import APP_DIR, FACTORY, Findings
from gapless.survey.sources import Source, assigned, name_of, text_of

OBJECTS = ("app", "application", "api", "asgi", "wsgi", "asgi_app", "wsgi_app", "server")
PLAIN = ("app", "application", "api")  # what has these names is taken for an app, whatever made it
FACTORIES = ("create_app", "make_app", "build_app", "app_factory", "create_application", "get_app")
FRAMEWORKS = ("FastAPI", "Starlette", "Litestar", "Quart", "Flask", "Sanic", "Falcon", "BlackSheep", "Dash")
PAGES = ("/health", "/healthz", "/health/", "/livez", "/ready", "/readyz", "/ping", "/status", "/up", "/")
ROUTES = {"get", "route", "api_route"}
ROUTED = {"FastAPI", "Flask", "Quart"}  # whose pages stand in decorators of the app
SCHEMA = "/openapi.json"  # which FastAPI answers by itself


def find(found: Findings, modules: list[Source]) -> None:
    """Add the app to what was found, and what speaks for a page to check."""
    source, body, name = _object(modules) or _factory(found, modules) or (None, [], "")
    if source is None:
        return
    made = dict(assigned(body))
    found.app = f"{source.module}:{name}"
    if source.root:
        found.options += [APP_DIR, source.root]
    values = [value for value in made.values() if name_of(value) in FRAMEWORKS]
    found.kind = name_of(values[0]) if values else ""
    if found.kind in ROUTED:
        found.page = _page(found.kind, values[0], body)


def _object(modules: list[Source]) -> tuple[Source, list[ast.stmt], str] | None:
    weak = None
    for source in modules:
        made = dict(assigned(source.tree.body))
        for name, value in made.items():
            if name_of(value) == "Dash" and name_of(made.get("server")) == "server":
                return source, source.tree.body, "server"
            if isinstance(value, ast.Call) and name_of(value) in FRAMEWORKS and name in OBJECTS:
                return source, source.tree.body, name
        functions = [one.name for one in source.tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        for name in PLAIN:
            if weak is None and (name in made or (name in functions and name != "api")):
                weak = source, source.tree.body, name
    return weak


def _factory(found: Findings, modules: list[Source]) -> tuple[Source, list[ast.stmt], str] | None:
    for source in modules:
        for one in source.tree.body:
            if not isinstance(one, ast.FunctionDef) or one.name not in FACTORIES:
                continue
            needed = len(one.args.args) - len(one.args.defaults)
            needed += sum(default is None for default in one.args.kw_defaults)
            if needed:
                found.todo.append(
                    f"{source.path}: {one.name} needs {needed} argument{'s' * (needed > 1)}, and a factory is called"
                    f" without any: write a module with `app = {one.name}(…)`, and name it in `command`"
                )
                continue
            found.options.append(FACTORY)
            return source, one.body, one.name
    return None


def _page(kind: str, made: ast.expr, body: list[ast.stmt]) -> str:
    """A page of the app's own without parameters that a GET gets, the likeliest to need no login; "" for none."""
    pages = set(_pages(body))
    for page in PAGES:
        if page in pages:
            return page
    keywords = {one.arg: one.value for one in made.keywords} if isinstance(made, ast.Call) else {}
    closed = "openapi_url" in keywords or "root_path" in keywords
    return SCHEMA if kind == "FastAPI" and not closed else ""


def _pages(body: list[ast.stmt]) -> Iterator[str]:
    for one in body:
        for decorator in one.decorator_list if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) else ():
            if not isinstance(decorator, ast.Call) or name_of(decorator) not in ROUTES or not decorator.args:
                continue
            methods = next((word.value for word in decorator.keywords if word.arg == "methods"), None)
            taken = [text_of(word) for word in getattr(methods, "elts", [])]
            if not methods or "GET" in taken:
                yield text_of(decorator.args[0])
