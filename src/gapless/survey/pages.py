"""The page of an application that a check can ask for: one that it declares, the likeliest to need no login."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gapless.survey.sources import name_of, text_of

PAGES = ("/health", "/healthz", "/health/", "/livez", "/ready", "/readyz", "/ping", "/status", "/up", "/")
ROUTES = {"get", "route", "api_route", "custom_route"}  # decorators
CALLS = {"Route", "add_url_rule", "add_api_route"}
DECLARING = {"FastAPI", "Flask", "Quart", "Starlette", "Litestar"}  # whose pages stand there
SCHEMA = {"FastAPI": "/openapi.json", "Litestar": "/schema/openapi.json"}  # which they answer by themselves
CLOSED = {"openapi_url", "root_path", "openapi_config", "path"}  # arguments that have it elsewhere, or nowhere
MCP = {"streamable_http_app", "sse_app", "http_app"}
LOGIN = ("login", "auth", "permission", "jwt", "token", "roles")  # in the names of decorators


def find(made: ast.expr | None, body: list[ast.stmt]) -> str:
    """A page without parameters that a GET gets; "" for none, "/" where `made` declares none that we could read."""
    kind = name_of(made)
    declared = set(_pages(body))
    for page in PAGES:
        if page in declared:
            return page
    if kind not in DECLARING | MCP:
        return "/"
    closed = CLOSED & {one.arg for one in made.keywords} if isinstance(made, ast.Call) else set()
    return "" if closed else SCHEMA.get(kind, "")


def others(body: list[ast.stmt]) -> list[str]:
    """The pages without parameters that are declared."""
    return sorted({page for page in _pages(body) if page.startswith("/") and not set(page) & set("{<:*")})


def _pages(body: list[ast.stmt]) -> Iterator[str]:
    for one in body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            routes = [each for each in one.decorator_list if name_of(each) in ROUTES]
            others = [ast.unparse(each).lower() for each in one.decorator_list if each not in routes]
            if not any(word in each for each in others for word in LOGIN):
                yield from filter(None, map(_page, routes))
            continue
        for each in ast.walk(one):
            if isinstance(each, ast.Call) and name_of(each) in CALLS and each.args:
                yield _page(each)


def _page(call: ast.expr) -> str:
    if not isinstance(call, ast.Call):
        return ""
    methods = next((word.value for word in call.keywords if word.arg == "methods"), None)
    taken = [text_of(word) for word in getattr(methods, "elts", [])]
    if name_of(call) == "add_url_rule" and len(call.args) < 3 and all(one.arg != "view_func" for one in call.keywords):
        return ""  # another name for a page that is declared elsewhere
    guarded = any(word.arg == "dependencies" for word in call.keywords)
    if guarded or (methods and "GET" not in taken):
        return ""
    return text_of(call.args[0]) if call.args else "/" if name_of(call) == "get" else ""
