"""The documentation says what the code does."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]  # it comes with Ansible

from gapless import config
from gapless.config import settings
from gapless.version import VERSION

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("script", "page"), [("commands.py", "commands.md"), ("man.py", "gapless.1")])
def test_every_command_is_documented_as_it_is(script: str, page: str) -> None:
    """docs/commands.md and the manual page are the help of every verb; `make docs` renews them."""
    render = runpy.run_path(str(ROOT / "docs" / script))["render"]
    assert (ROOT / "docs" / page).read_text() == render()


def test_the_page_of_the_battery_has_every_case() -> None:
    """docs/conform.md lists the cases as they are; `make docs` renews it."""
    cases = runpy.run_path(str(ROOT / "docs" / "cases.py"))
    assert cases["BEGIN"] + cases["table"]() + cases["END"] in (ROOT / "docs" / "conform.md").read_text()


def test_the_guide_installs_this_version() -> None:
    """docs/guide.md names the directory of the version that it belongs to."""
    assert set(re.findall(r"/opt/gapless/([\d.]+)/", (ROOT / "docs" / "guide.md").read_text())) == {VERSION}


def test_the_example_configuration_has_every_setting_at_its_default() -> None:
    """gapless.toml's commented example is valid, names every key, and says its true default."""
    text = (ROOT / "src" / "gapless" / "templates" / "gapless.toml").read_text()
    example = config.parse(text, Path("gapless.toml"))
    least = config.parse('name = "shop"\ncommand = "gapless serve shop.web:app"', Path("gapless.toml"))
    assert example == least
    in_rows = {
        settings.Process,
        settings.Timer,
        settings.Certificate,
        settings.Assets,
        settings.Hosts,
    }  # their keys are in comments
    tables = [one for one in vars(settings).values() if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    for table in [one for one in tables if one not in in_rows]:
        for field in table.__struct_fields__:
            assert re.search(rf"^(\[(build\.)?{field}\]|{field} = )", text, re.MULTILINE), field


def test_the_readme_has_the_table_that_the_bench_wrote() -> None:
    """Figures in the README come from `make bench` alone."""
    readme, figures = (ROOT / "README.md").read_text(), (ROOT / "bench" / "results.md").read_text()
    assert f"<!-- bench: begin -->\n{figures}<!-- bench: end -->" in readme


@pytest.mark.parametrize("page", ["examples/wppackages/README.md", "docs/why.md"])
def test_pages_have_the_table_that_make_wppackages_wrote(page: str) -> None:
    """Figures of the example come from `make wppackages` alone."""
    figures = (ROOT / "bench" / "wppackages.md").read_text()
    assert f"<!-- wppackages: begin -->\n{figures}<!-- wppackages: end -->" in (ROOT / page).read_text()


def test_the_page_of_servers_has_the_commands_that_are_tested() -> None:
    """Each command line of another server's example is there as it is deployed in the tests, and no other."""
    text = (ROOT / "docs" / "servers.md").read_text()
    examples = [config.load(path.parent) for path in sorted((ROOT / "examples").glob("*/gapless.toml"))]
    assert sorted(re.findall(r'^    command = "(.+)"$', text, re.MULTILINE)) == sorted(
        [
            *(str(one.command) for one in examples if not str(one.command).startswith("gapless serve ")),
            *("python worker.py", "python tidy.py"),
        ]
    )


def test_the_page_of_security_has_what_systemd_says_of_each_unit() -> None:
    """How exposed each kind of unit is, `make docs` asks systemd; none is worse than 1.5."""
    exposure = runpy.run_path(str(ROOT / "docs" / "exposure.py"))
    table = (ROOT / "docs" / "security.md").read_text().split(exposure["BEGIN"])[1].split(exposure["END"])[0]
    said = {kind: float(level) for kind, level in re.findall(r"^\| (\w+) \| ([0-9.]+) \|$", table, re.MULTILINE)}
    assert said.keys() == exposure["texts"]().keys()
    assert max(said.values()) <= 1.5
    if exposure["version"]() in table:  # another version counts otherwise
        assert table == exposure["table"]()
        assert "no unit more exposed than 1.5 with all of them" in (ROOT / "docs" / "sandbox.md").read_text()
        assert max(exposure["levels"]("sandbox = { jit = true, priority = true }").values()) <= 1.5


@pytest.mark.parametrize("page", ["servers.md", "sandbox.md", "proxy.md"])
def test_a_page_of_settings_has_the_true_defaults(page: str) -> None:
    """A row of its table is a setting with its default."""
    text = (ROOT / "docs" / page).read_text()
    parsed = config.parse('name = "shop"\ncommand = "x"\nprocesses = { a = { command = "x" } }', Path("gapless.toml"))
    rows = re.findall(r"^\| `([a-z.*_]+)` \| `(.+?)` \|", text, re.MULTILINE)
    assert rows
    for key, default in rows:
        value: object = parsed
        for step in key.split("."):
            value = parsed.processes["a"] if step == "*" else getattr(value, step)
        assert value == json.loads(default), key


def test_the_page_of_ansible_names_every_variable() -> None:
    """docs/ansible.md has each option of the collection's roles, and no other; its example sets true ones."""
    text = (ROOT / "docs" / "ansible.md").read_text()
    options = {"gapless_hosts"}
    for file in (ROOT / "ansible" / "roles").glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(file.read_text())["argument_specs"].values():
            options |= entry["options"].keys()
    table = text.partition("## Every variable")[2]
    assert {*re.findall(r"`((?:host|caddy|litestream|app|gapless)_\w+)`", table)} == options
    [example] = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert yaml.safe_load(example).keys() <= options
    for file in (ROOT / "ansible" / "roles").glob("*/defaults/main.yml"):
        assert yaml.safe_load(file.read_text()).keys() <= options


def test_the_page_of_the_layout_names_files_that_are_there() -> None:
    """docs/architecture.md and CONTRIBUTING.md lead a newcomer to files by their paths."""
    named = re.findall(r"`(src/gapless/[\w/.]+|tests/[\w/.]+)`", (ROOT / "docs" / "architecture.md").read_text())
    table = re.search(r"\| layer .*?\n\n", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert table
    rows = [row.split("|")[2] for row in table[0].splitlines()[2:] if row]
    for row in rows:
        folder = ""
        for path in re.findall(r"`([\w/.]+)`", row):
            folder = path.rpartition("/")[0] if "/" in path else folder
            named.append(f"src/gapless/{path if '/' in path or not folder else f'{folder}/{path}'}")
    assert len(named) > 40
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_page_of_security_names_tests_that_are_there() -> None:
    """Each claim of docs/security.md stands beside the test that tries it."""
    text = (ROOT / "docs" / "security.md").read_text()
    held = text.partition("## What holds")[2].partition("\n## ")[0]
    claims = [line for line in held.splitlines() if line.startswith("- ")]
    assert len(claims) > 10
    sources = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    for claim in re.split(r"^- ", held, flags=re.MULTILINE)[1:]:
        found = re.findall(r"`(test_\w+\.py)`", claim)
        assert found, claim
        assert [name for name in found if name not in sources] == []
        for name in re.findall(r"`(test_\w+)`", claim):
            assert any(f"def {name}(" in sources[one] for one in found), name


def test_links_between_documents_lead_somewhere() -> None:
    """Every relative link in the README and the docs names a file that exists."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
