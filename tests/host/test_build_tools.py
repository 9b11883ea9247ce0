"""Builds as users write them, with the tools themselves, on a real host; and what a start of their releases costs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import generated
from tests.host import packages, tools
from tests.host.host import PROJECT, Host
from tests.host.life import Shop
from tests.host.registry import Registry
from tests.host.tools import RECIPES, TOOLS, UV, Tool
from tests.starts import DJANGO, STARTS, compare, own_modules
from tests.support import figure

# For all users, as the guide says.
INSTALL = f"""
rm -rf /etc/xdg/pip
{packages.PYTHON} -m venv /opt/tools
/opt/tools/bin/pip install -q uv
/opt/tools/bin/uv pip install -q --python /opt/tools/bin/python --default-index "$0/simple" poetry
ln -s /opt/tools/bin/uv /opt/tools/bin/poetry /usr/local/bin/
"""
PLAIN = 'name = "shop"\ncommand = "gapless serve app:app"\nbuild = {{ run = "{}" }}\n'
PORT = """
const app = require("node:http").createServer((_, response) => response.end("hello"))
require("is-number")("/")
app.listen(3000)
"""


@pytest.fixture(scope="module", autouse=True)
def _packages(_bootable: None) -> None:
    """Their programs and packages, on this machine."""
    subprocess.run([str(Path(__file__).with_name("requirements.sh")), "builds"], check=True, timeout=300)
    packages.download()


@pytest.fixture(scope="module")
def packed(host: Host) -> Iterator[Registry]:
    """The registry that the host's administrator has set up, and the tools from there."""
    with Registry(packages.FOLDER, host) as one:
        host.write("/etc/pip.conf", f"[global]\nindex-url = {one.url}/simple\ntrusted-host = {host.address}\n")
        host.run("sh", "-ec", INSTALL, one.url)
        yield one


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    """An app that is not up yet, and has no project."""
    one = Shop(host, "shop", 8000)
    yield one
    one.remove()
    host.run("rm", "-r", one.project)
    assert one.left() == ""


def write(shop: Shop, tool: Tool, url: str = "") -> None:
    """A project that is built with `tool`, and locked."""
    files = {name: text.replace("@REGISTRY@", url) for name, text in tool.files.items()}
    files["gapless.toml"] = tool.config
    shop.host.write_all(shop.project, files)
    if tool.lock:
        shop.host.run(*tool.lock.replace("@REGISTRY@", url).split(), cwd=shop.project)


def deploy_twice(shop: Shop, packed: Registry, what: str) -> dict[str, str]:
    """Deploy twice; what the second release says. It installed from the cache of the first one's build alone."""
    packed.served.clear()
    shop("up")
    first = shop.current()
    assert packed.served
    packed.served.clear()
    second = shop.deploy()
    assert packed.served == []
    shop.settled()
    said: dict[str, str] = json.loads(shop.get())
    assert said["release"] == second
    assert said["package"].startswith(f"/srv/shop/releases/{second}/")
    assert "warning" not in shop.host.read(f"/srv/shop/log/{second}.log").lower()
    one, two = shop.phases(first), shop.phases(second)
    took = f"{one['build']:.2f} s with an empty cache, {two['build']:.2f} s with the first one's"
    figure(f"build with {what}: {took}: second / first = {two['build'] / one['build']:.2f}")
    return said


@pytest.mark.parametrize("name", TOOLS)
def test_a_tools_build_uses_the_cache_of_the_one_before(shop: Shop, packed: Registry, name: str) -> None:
    """Each recipe works inside the sandbox, no package is downloaded twice, and what was compiled is kept."""
    write(shop, TOOLS[name], packed.url)
    said = deploy_twice(shop, packed, name)
    assert not said.get("python", "").startswith("/srv")
    tree = f"/srv/shop/releases/{said['release']}"
    compiled = shop.host.run("find", tree, "-name", "*.pyc", "-path", "*/site-packages/*", "-printf", "%T@\\n").stdout
    if name in ("uv", "pip"):  # these compile what they install
        assert max(map(float, compiled.split())) < sealed_since(shop, said["release"])
    sources = shop.host.run("sh", "-c", f"cd {tree} && find . -name '*.py' | wc -l").stdout
    kept = shop.host.run("sh", "-c", f"cd {tree} && find . -name '*.pyc' | wc -l").stdout
    assert int(kept) >= 0.9 * int(sources)  # packages ship files that no Python can read


def sealed_since(shop: Shop, release: str) -> float:
    """When the release's build had ended and its seal began (Unix time)."""
    deploys = json.loads(shop("audit", "--json").stdout)["deploys"]
    phases = next(one["phases"] for one in deploys if one["to"] == release)
    return float(next(one["started"] for one in phases if one["name"] == "seal"))


def test_each_recipe_of_a_build_is_tried() -> None:
    """docs/recipes.md has no other."""
    assert TOOLS.keys() == RECIPES.keys()


def test_an_interpreter_of_uvs_own_is_a_part_of_the_release(shop: Shop, packed: Registry) -> None:
    """Invariant 9: it is root's like all of the release, and not downloaded twice either."""
    version = packages.version()
    listed = f"{shop.project}/downloads.json"
    more = f'env = {{ UV_PYTHON_DOWNLOADS_JSON_URL = "{listed}" }}'
    settings = f"{PLAIN.format('uv sync --frozen --no-dev --managed-python')}{more}"
    tool = replace(TOOLS["uv"], settings=settings)
    write(shop, tool, packed.url)
    major, minor, patch = map(int, version.split("."))
    about = {"name": "cpython", "major": major, "minor": minor, "patch": patch, "prerelease": "", "variant": None}
    about |= {"arch": {"family": "x86_64", "variant": None}, "os": "linux", "libc": "gnu", "build": "20260101"}
    about |= {"url": f"{packed.url}/files/{packages.INTERPRETER}", "sha256": None}
    shop.host.write(listed, json.dumps({f"cpython-{version}-linux-x86_64-gnu": about}))
    shop.host.write(f"{shop.project}/.python-version", version)
    said = deploy_twice(shop, packed, "uv and an interpreter of its own")
    tree = f"/srv/shop/releases/{said['release']}"
    assert said["python"].startswith(f"{tree}/.python/")
    assert shop.host.run("find", tree, "!", "-user", "root").stdout == ""


def test_a_generated_project_comes_up_as_init_builds_it(shop: Shop, packed: Registry, tmp_path: Path) -> None:
    """Django's own, with what is to do first done; gapless comes from the project: a build cannot read root's clone."""
    assert packed
    generated.django(tmp_path)
    files = {str(one.relative_to(tmp_path)): one.read_text() for one in tmp_path.rglob("*.py")}
    shop.host.write_all(shop.project, files | {"requirements.txt": "django"})
    todo = json.loads(shop("init", "--json").stdout)["todo"]
    settings = f"{shop.project}/{generated.SETTINGS}"
    shop.host.write(settings, generated.as_advised(shop.host.read(settings), todo))
    shop("up")
    assert json.loads(shop("deploy", "--prove", "--watch", "1s", "--json").stdout)["outcome"] == "switched"
    assert shop.host.get(8000, "/admin/login/")[0] == 200
    assert shop.host.get(8000, "/static/admin/css/base.css")[0] == 200
    assert shop.host.run("ls", "/srv/shop/shared").stdout.split() == ["db.sqlite3"]


def test_a_node_project_comes_up_as_init_and_its_refusal_advise(shop: Shop, packed: Registry) -> None:
    """One that listens on a port of its own is refused with what to write instead; the example has that."""
    files = {
        "package.json": tools.PACKAGE,
        "build.js": tools.BUILD,
        "index.js": PORT,
        ".npmrc": f"registry={packed.url}/npm/\n",
    }
    shop.host.write_all(shop.project, files)
    shop.host.run("npm", "install", "--silent", "--package-lock-only", cwd=shop.project)
    said = json.loads(shop("init", "--json").stdout)
    assert said["command"] == "node index.js"
    assert ["descriptor 3" in one for one in said["todo"]] == [True]
    settings = said["text"].replace("[check]\n", '[check]\ntimeout = "3s"\n') + '[drain]\nlinger = "1s"\n'
    shop.host.write(f"{shop.project}/gapless.toml", settings)
    refused = shop("up", check=False)
    assert "systemd-notify --ready" in refused.stdout + refused.stderr
    taking = (PROJECT / "examples/node/server.js").read_text()
    shop.host.write(f"{shop.project}/index.js", taking)
    shop.host.write(f"{shop.project}/gapless.toml", settings.replace('"3s"', '"30s"'))
    shop("up")
    assert json.loads(shop("deploy", "--prove", "--watch", "1s", "--json").stdout)["outcome"] == "switched"


@pytest.mark.parametrize("what", ["300 modules of its own", "Django from a uv venv"])
def test_no_start_compiles_anything(shop: Shop, packed: Registry, what: str) -> None:
    """Neither the first start of a release nor its second one compiles a module of it."""
    if what.startswith("Django"):
        files = {"app.py": STARTS, "whole.py": DJANGO, "pyproject.toml": UV.replace("msgspec", "django")}
        tool = replace(TOOLS["uv"], files=files)
    else:
        tool = Tool(PLAIN.format("true"), own_modules())
    write(shop, tool, packed.url)
    shop("up")
    release = shop.deploy()  # the second one: files that did not change got the time stamps of the first
    shop.settled()
    first = shop.get()
    shop.host.run("systemctl", "restart", f"shop@{release}.service")
    compare(what, first, shop.get())
    figure(f"seal of {what}: {shop.phases(release)['seal']:.2f} s")


def test_a_small_release_is_sealed_at_once(shop: Shop) -> None:
    """Fifty small files and no build: how long it takes is printed."""
    shop.write()
    shop.host.run("sh", "-c", "for one in $(seq 50); do echo 'NUMBER = 1' > part$one.py; done", cwd=shop.project)
    shop("up")
    figure(f"seal of 50 small files: {shop.phases(shop.current())['seal']:.3f} s")
