"""The application among a project's modules: an object, or a factory that makes it."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from gapless.survey import pages
from gapless.survey.findings import AGAIN, APP_DIR, FACTORY, Findings
from gapless.survey.sources import Source, assigned, name_of

OBJECTS = ("app", "application", "api", "asgi", "wsgi", "asgi_app", "wsgi_app", "server")
PLAIN = ("app", "application", "api")  # what has these names is taken for an app, whatever made it
FACTORIES = ("create_app", "make_app", "build_app", "app_factory", "create_application", "get_app")
FRAMEWORKS = ("FastAPI", "Starlette", "Litestar", "Quart", "Flask", "Sanic", "Falcon", "BlackSheep", "Dash")
WRAPPERS = ("ASGIApp", "WSGIApp", "Middleware", "ProxyFix")  # how the names of what wraps an app end
# What is called `app` and serves no requests, by the package that it comes from.
OTHERS = {
    "aiohttp",
    "tornado",
    "typer",
    "click",
    "cyclopts",
    "celery",
    "dramatiq",
    "huey",
    "rq",
    "textual",
    "tkinter",
    "discord",
    "firebase_admin",
}
# Whoever brings a server of his own, and what to do about it.
OWN_SERVER = {
    "aiohttp": 'docs/recipes.md has the server.py for it: `command = "python server.py"`',
    "tornado": "`server.add_sockets(gapless.listen())`, then `gapless.notify.ready()`: docs/recipes.md has the like",
    "bottle": "a module with `app = bottle.default_app()`, after its routes",
    "nicegui": "`ui.run_with(app)` with `app = FastAPI()`, in the place of ui.run()",
    "gradio": '`app = gr.mount_gradio_app(FastAPI(), demo, path="/")`, in the place of demo.launch()',
    "streamlit": "it cannot be handed a socket, nor let go of one",
}
MCP = {"mcp": "streamable_http_app", "fastmcp": "http_app"}  # what makes an app of a FastMCP, by its package
HEALTH = 'its own page takes no plain GET: for the check, `@mcp.custom_route("/health", methods=["GET"])`'


@dataclass
class _Found:
    source: Source
    body: list[ast.stmt]
    name: str
    made: ast.expr | None = None  # the call of a framework; None: it is one by its name alone
    usual: bool = True  # whether it has a name that apps have


def find(found: Findings, modules: list[Source], served: tuple[Source, str, bool] | None = None) -> None:
    """Add the app to what was found, and a page to check; where there is none, say what is there in its place.

    `served` is what the project itself says that is served: a module, its object, whether that is a factory.
    """
    one = _said(found, *served) if served else _object(found, modules) or _factory(found, modules)
    if one is None:
        _say_why_none(found, modules)
        return
    found.app = f"{one.source.module}:{one.name}"
    if one.source.root:
        found.options += [APP_DIR, one.source.root]
    found.kind = name_of(one.made) if name_of(one.made) in FRAMEWORKS else ""
    found.page, found.pages = pages.find(one.made, one.body), pages.others(one.body)
    if not found.page and name_of(one.made) in pages.MCP:
        found.todo.append(f"{one.source.path}: {HEALTH}")


def _said(found: Findings, source: Source, name: str, factory: bool) -> _Found:
    body = source.tree.body
    if factory:
        found.options.append(FACTORY)
        body = next((one.body for one in body if isinstance(one, ast.FunctionDef) and one.name == name), body)
    known = _made(source)
    values = [value for _, value in assigned(body) if name_of(value) in FRAMEWORKS]
    return _Found(source, body, name, (known.made if known else None) or next(iter(values), None))


def _object(found: Findings, modules: list[Source]) -> _Found | None:
    made = [one for source in modules if (one := _made(source))]
    strong = [one for one in made if one.usual]
    named = next((one for source in modules if (one := _named(source, modules))), None)
    if not strong:  # what comes first of what nothing else speaks for
        return min([*made, *([named] if named else [])], key=lambda one: modules.index(one.source), default=None)
    first, depth = strong[0], len(strong[0].source.path.parts)
    others = [f"{one.source.module}:{one.name}" for one in strong[1:] if len(one.source.path.parts) == depth]
    if others:
        found.todo.append(
            f"{first.source.module}:{first.name} was taken for the app; if another one is to be served, `command`"
            f" names it: {', '.join(others[:4])}"
        )
    return first


def _made(source: Source) -> _Found | None:
    """What a framework made in a module, under whatever name, or what is wrapped around it there."""
    made = dict(assigned(source.tree.body))
    ours = [name for name, value in made.items() if isinstance(value, ast.Call) and name_of(value) in FRAMEWORKS]
    if not ours:
        return None
    ours.sort(key=lambda name: OBJECTS.index(name) if name in OBJECTS else len(OBJECTS))
    name, app, usual = ours[0], made[ours[0]], ours[0] in OBJECTS
    if name_of(app) == "Dash":
        server = next((key for key, value in made.items() if ast.unparse(value) == f"{name}.server"), "")
        return _Found(source, source.tree.body, server or f"{name}.server", app, usual)
    for key, value in made.items():
        wraps = isinstance(value, ast.Call) and any(name_of(one) == name for one in _arguments(value))
        if key != name and wraps and (key in PLAIN or name_of(value).endswith(WRAPPERS)):
            name = key
    return _Found(source, source.tree.body, name, app, usual)


def _arguments(call: ast.expr) -> list[ast.expr]:
    return [*call.args, *(one.value for one in call.keywords)] if isinstance(call, ast.Call) else []


def _named(source: Source, modules: list[Source]) -> _Found | None:
    """What has an app's name, and is not known to be something else; of a factory's, what that makes."""
    made = dict(assigned(source.tree.body))
    functions = [one.name for one in source.tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    for name in PLAIN:
        value = made.get(name)
        taken = value is not None and source.package(value) not in OTHERS
        if taken or (name in functions and name != "api"):
            body = _of_factory(source, value, modules) or source.tree.body
            values = [each for _, each in assigned(body) if name_of(each) in FRAMEWORKS]
            return _Found(source, body, name, next(iter(values), value))
        package = source.imports.get(name, "") if value is None and name != "api" else ""
        if package and package not in OTHERS | OWN_SERVER.keys() | {one.module.partition(".")[0] for one in modules}:
            return _Found(source, source.tree.body, name)
    return None


def _of_factory(source: Source, call: ast.expr | None, modules: list[Source]) -> list[ast.stmt]:
    """The body of the project's own function that is called; nothing where there is none."""
    if not isinstance(call, ast.Call):
        return []
    near = [one for one in modules if one.module.partition(".")[0] == source.package(call)]
    for one in (source, *near):
        for each in one.tree.body:
            if isinstance(each, ast.FunctionDef) and each.name == name_of(call):
                return each.body
    return []


def _factory(found: Findings, modules: list[Source]) -> _Found | None:
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
            values = [value for _, value in assigned(one.body) if name_of(value) in FRAMEWORKS]
            return _Found(source, one.body, one.name, values[0] if values else None)
    return None


def _say_why_none(found: Findings, modules: list[Source]) -> None:
    """Name what is the nearest to an app, and what makes it one."""
    for source in modules:
        for name, value in assigned(source.tree.body):
            if name_of(value) in ("FastMCP", "MCPServer"):
                wanted = f"{name}.{MCP.get(source.package(value), 'http_app')}()"
                found.todo.append(
                    f"{source.path}: over HTTP an MCP server is an app: `app = {wanted}`; {HEALTH}; {AGAIN}"
                )
                return
        inside = next(
            (one for one in ast.walk(source.tree) if isinstance(one, ast.Call) and name_of(one) in FRAMEWORKS), None
        )
        if inside and not found.todo:
            found.todo.append(
                f"{source.path}, line {inside.lineno}: no server can import this {name_of(inside)}: let it be"
                f" `app = …` of the module, or what `def create_app()` returns; {AGAIN}"
            )
            return
    for source in modules:
        for package in source.imports.values():
            if package in OWN_SERVER:
                found.todo.append(f"{source.path}: {package} runs a server of its own: {OWN_SERVER[package]}")
                return
