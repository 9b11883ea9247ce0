"""Apps whose starts say whether anything was compiled, for tests under both managers."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import APPS, figure

STARTS = Path(APPS, "starts.py").read_text()
MODULES = 300
FUNCTIONS = "".join(f"def f{number}(a, b=None):\n    return [a, b, {{'n': {number}}}]\n\n\n" for number in range(60))
DJANGO = """
import django
from django.conf import settings

APPS = ["admin", "auth", "contenttypes", "sessions", "messages", "staticfiles"]
settings.configure(INSTALLED_APPS=[f"django.contrib.{one}" for one in APPS], ROOT_URLCONF="whole", SECRET_KEY="-")
django.setup()

from django.contrib import admin
from django.core.asgi import get_asgi_application
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
application = get_asgi_application()
"""


def own_modules() -> dict[str, str]:
    """The files of an app of MODULES modules of its own."""
    names = [f"m{number}" for number in range(MODULES)]
    files = {f"shop/{name}.py": FUNCTIONS for name in names}
    return files | {"whole.py": "".join(f"import shop.{name}\n" for name in names), "app.py": STARTS}


def compare(what: str, first: str, second: str) -> None:
    """Fail the test unless both starts, by their answers, compiled nothing; print how long their imports took."""
    one, two = json.loads(first), json.loads(second)
    assert one["pid"] != two["pid"]
    assert one["release"] == two["release"]
    for said in (one, two):
        assert said["modules"] > MODULES
        assert said["compiled"] == [], said
        assert said["stale"] == [], said
    for clock, at_first in one["seconds"].items():
        again = two["seconds"][clock]
        took = f"{at_first:.3f} s at the first start, {again:.3f} s at the second"
        figure(f"{what}: {one['modules']} modules, {clock} {took}: second / first = {again / at_first:.2f}")
