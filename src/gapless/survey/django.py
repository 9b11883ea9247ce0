"""A Django project, by its manage.py and its settings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from gapless.survey.findings import APP_DIR, Findings
from gapless.survey.sources import assigned, name_of, text_of

MODULE = re.compile(r"""DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']""")
PLAIN = re.compile("[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")  # a path without anything that has to be quoted
LOCAL = {"localhost", "127.0.0.1", "*", ".localhost"}
LOCAL_SETTINGS, PRODUCTION = {"dev", "development", "local"}, ("production", "prod")
ADMIN = "/admin/login/"  # the one page of a new project


def find(found: Findings, directory: Path) -> bool:
    """Add what a Django project needs; False where `directory` has none."""
    manage = next(
        (one for one in (directory / "manage.py", *sorted(directory.glob("*/manage.py"))) if one.is_file()), None
    )
    said = MODULE.search(manage.read_text("utf-8", "replace")) if manage else None
    if manage is None or said is None:
        return False
    base = manage.parent
    package = said[1].partition(".")[0]
    served = {kind: base / package / f"{kind}.py" for kind in ("wsgi", "asgi")}
    settings = _Settings(directory, base, _production(base, _said_by(*served.values()) or said[1]))
    found.kind = "Django"
    kind = "asgi" if "ASGI_APPLICATION" in settings.values or not served["wsgi"].is_file() else "wsgi"
    if served[kind].is_file():
        found.app = f"{package}.{kind}:application"
    if base != directory:
        found.options += [APP_DIR, base.name]
    run = f"python {manage.relative_to(directory)}"
    found.migrate = f"{run} migrate --noinput"
    if settings.module != said[1]:
        found.env["DJANGO_SETTINGS_MODULE"] = settings.module  # manage.py would take another
    _of_visitors(found, settings)
    _of_files(found, settings, run, "" if base == directory else f"{base.name}/")
    found.page = _page(base, settings)
    return True


class _Settings:
    """The values in a settings module, those of the modules that it imports all of included."""

    def __init__(self, directory: Path, base: Path, module: str) -> None:
        self.directory = directory
        self.module = module
        self.base = base
        self.values: dict[str, ast.expr] = {}
        self._files: dict[str, Path] = {}
        self._read(module, 0)

    def file(self, name: str) -> str:
        """Where a value is written, or could be: below the project's directory."""
        return str(self._files.get(name, self._file(self.module)).relative_to(self.directory))

    def truth(self, name: str) -> bool:
        """Whether it is True, as it stands there."""
        value = self.values.get(name)
        return isinstance(value, ast.Constant) and value.value is True

    def texts(self, name: str) -> list[str] | None:
        """The texts in a list; None where it is made otherwise."""
        value = self.values.get(name)
        if not isinstance(value, ast.List | ast.Tuple) or not all(map(text_of, value.elts)):
            return None
        return [text_of(one) for one in value.elts]

    def below(self, value: ast.expr | None) -> str:
        """The path below the project's directory that an expression makes, as `BASE_DIR / "x"` does; "" for none."""
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div) and text_of(value.right):
            before = "" if name_of(value.left) == "BASE_DIR" else self.below(value.left)
            return f"{before}/{text_of(value.right)}".strip("/") if before or name_of(value.left) == "BASE_DIR" else ""
        if isinstance(value, ast.Call) and name_of(value) in ("join", "str") and value.args:
            first, *parts = value.args
            if name_of(value) == "str":
                return self.below(first)
            return "/".join(map(text_of, parts)) if name_of(first) == "BASE_DIR" and all(map(text_of, parts)) else ""
        return ""

    def _file(self, module: str) -> Path:
        path = self.base.joinpath(*module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    def _read(self, module: str, depth: int) -> None:
        file = self._file(module)
        if depth > 3 or not file.is_file():
            return
        try:
            body = ast.parse(file.read_text("utf-8", "replace")).body
        except (SyntaxError, ValueError):
            return
        for one in body:
            if isinstance(one, ast.ImportFrom) and any(name.name == "*" for name in one.names):
                parent = (
                    module.split(".")[: -one.level] if one.level and file.name != "__init__.py" else module.split(".")
                )
                self._read(".".join([*(parent if one.level else []), *filter(None, [one.module])]), depth + 1)
            found = dict(assigned([one]))
            self.values.update(found)
            self._files.update(dict.fromkeys(found, file))


def _said_by(*files: Path) -> str:
    for one in files:
        if one.is_file() and (said := MODULE.search(one.read_text("utf-8", "replace"))):
            return said[1]
    return ""


def _production(base: Path, module: str) -> str:
    """The settings for visitors, where `module` is for local work and has them beside it."""
    parent, _, name = module.rpartition(".")
    there = (one for one in PRODUCTION if base.joinpath(*parent.split("."), f"{one}.py").is_file())
    return f"{parent}.{next(there, name)}" if parent and name in LOCAL_SETTINGS else module


def _of_visitors(found: Findings, settings: _Settings) -> None:
    """Whom the app answers, and how."""
    at = settings.file
    if settings.truth("DEBUG"):
        found.todo.append(f'{at("DEBUG")}: visitors would see what is inside: `DEBUG = os.environ.get("DEBUG") == "1"`')
    if text_of(settings.values.get("SECRET_KEY")):
        wanted = 'os.environ.get("SECRET_KEY", "for local work")'
        found.todo.append(
            f"{at('SECRET_KEY')}: the key is for nobody to read: `SECRET_KEY = {wanted}`, and an `env_file`"
            " with another"
        )
    elif "SECRET_KEY" not in settings.values:
        found.todo.append(
            f'{at("SECRET_KEY")}: no key is set: `SECRET_KEY = os.environ["SECRET_KEY"]`, and an `env_file` with one'
        )
    hosts = settings.texts("ALLOWED_HOSTS") if "ALLOWED_HOSTS" in settings.values else []
    if hosts == []:
        wanted = 'ALLOWED_HOSTS = ["localhost", "127.0.0.1"]'
        found.todo.append(f"{at('ALLOWED_HOSTS')}: without DEBUG nobody is answered: `{wanted}`, and your domain")
    elif hosts and not LOCAL & set(hosts):
        found.host = hosts[0].lstrip(".")
    found.https = settings.truth("SECURE_SSL_REDIRECT")
    if found.https and "SECURE_PROXY_SSL_HEADER" not in settings.values:
        wanted = 'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")'
        found.todo.append(
            f"{at('SECURE_SSL_REDIRECT')}: behind a proxy each request would be sent away again: `{wanted}`"
        )


def _of_files(found: Findings, settings: _Settings, run: str, prefix: str) -> None:
    """Where style sheets, the database and uploads are."""
    at = settings.file
    if "django.contrib.staticfiles" in (settings.texts("INSTALLED_APPS") or []):
        root = settings.values.get("STATIC_ROOT")
        if root is None or (isinstance(root, ast.Constant) and not root.value):
            found.todo.append(
                f'{at("STATIC_ROOT")}: without DEBUG no style sheets: `STATIC_ROOT = BASE_DIR / "staticfiles"`'
            )
        below = "staticfiles" if root is None else settings.below(root)
        found.build.append(f"{run} collectstatic --noinput")
        url = text_of(settings.values.get("STATIC_URL")).strip("/")
        if below and url and "://" not in url:
            found.assets[f"/{url}"] = f"{prefix}{below}"
    databases = settings.values.get("DATABASES")
    for node in ast.walk(databases) if databases else ():
        for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
            if text_of(key) == "NAME" and (below := settings.below(value)):
                found.env["DATABASE"] = f"$GAPLESS_SHARED/{Path(below).name}"
                wanted = f'"NAME": os.environ.get("DATABASE", {ast.unparse(value)})'
                found.todo.append(
                    f"{at('DATABASES')}: the database is in the release, which nobody can write: `{wanted}`"
                )
    below = settings.below(settings.values.get("MEDIA_ROOT"))
    if PLAIN.fullmatch(below) and f"{prefix}{below}" not in found.assets.values():
        found.shared[f"{prefix}{below}"] = Path(below).name
        if PLAIN.fullmatch(url := text_of(settings.values.get("MEDIA_URL")).strip("/")):
            found.uploads[f"/{url}"] = Path(below).name


def _page(base: Path, settings: _Settings) -> str:
    """A page that everybody may see, by the urls: the first one, or the admin's login."""
    module = text_of(settings.values.get("ROOT_URLCONF"))
    urls = base.joinpath(*module.split(".")).with_suffix(".py") if module else base / "urls.py"
    if not urls.is_file():
        return ""
    text = urls.read_text("utf-8", "replace")
    text = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)  # a new project's says how
    if re.search(r"""\bpath\(\s*["']["']|\bre_path\(\s*r?["']\^\$?["']""", text):
        return "/"
    return ADMIN if re.search(r"""\bpath\(\s*["']admin/["']\s*,\s*admin\.site\.urls""", text) else ""
