"""What gapless.toml is advised to say instead, said: then it is accepted. And the list of all that is advised."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from gapless import assignments, config
from gapless.address import Address
from gapless.errors import GaplessError
from tests.unit.hints import hints

TESTS = Path(__file__).parents[1]
HERE = Path("gapless.toml")
LEAST = 'name = "shop"\ncommand = "gapless serve shop:app"\n'
EXAMPLE = re.compile(r"for example: (.*?)(?:;|$)")
# What is wrong, and the text that its advice leads to; "" is that the advice has the line itself.
ADVICE = {
    'listen = ""': "",
    "listen = []": "",
    'listen = ["127.0.0.1:1", "127.0.0.1:1"]': 'listen = ["127.0.0.1:1"]',
    "command = ''": "",
    "command = 'gapless serve MODULE:APP'": "",
    "check = { host = 'a b' }": "",
    "check = { path = 'a b' }": "check = { path = '/a%20b' }",
    "timers = { tick = { command = 'a', calendar = ' ' } }": "",
    "secrets = { 'a b' = 'x' }": "",
    "sandbox = { writable = ['data'] }": "sandbox = { writable = ['/data'] }",
    "build = { run = ['a', \"b'\"] , timeot = 1 }": "build = { run = ['a'], timeout = 1 }",
    "env = { 'A=B' = 'x' }": "env = { A = 'x' }",
    "processes = { rehearsal = { command = 'a' } }": "processes = { rehearse = { command = 'a' } }",
    "processes = { a = { command = 'a' } }\ntimers = { a = { command = 'a', calendar = 'daily' } }": (
        "processes = { a = { command = 'a' } }\ntimers = { b = { command = 'a', calendar = 'daily' } }"
    ),
    "proxy = { domains = ['a_b'] }": "",
    "fleet = { url = 'http://web1/' }": "",
    "proxy = { headers = { A = '{x}' } }": "proxy = { extra = 'header A {x}' }",
    "listen = 'unix:/run/a/b'\nproxy = { domains = ['a.example'] }": "",
    "drain = { linger = 'soon' }": "drain = { linger = '35s' }",
    'env_file = "a\\nb"': 'env_file = "a"',
    'processes = { a = { command = "it\'s" } }': "processes = { a = { command = \"it's'\" } }",
    "processes = { a = { command = '-x' } }": "processes = { a = { command = 'x' } }",
    "sandbox = { writable = ['/a\"b'] }": "sandbox = { writable = ['/ab'] }",
    "assets = { '/a b' = 'a' }": "",
    "assets = { '/a' = 'a', '/a/b' = 'b' }": "assets = { '/a' = 'a', '/b' = 'b' }",
    "shared = { '../a' = 'a' }": "",
    "shared = { media = '/srv/a' }": "",
    "shared = { a = 'a', 'a/b' = 'b' }": "shared = { a = 'a', b = 'b' }",
    "shared = { a = 'a' }\nassets = { '/a' = 'a' }": "shared = { a = 'a' }\nuploads = { '/a' = 'a' }",
    "uploads = { '/a b' = 'a' }": "",
    "uploads = { '/a' = '../a' }": "",
    "uploads = { '/a' = 'a', '/a/b' = 'b' }": "uploads = { '/a' = 'a', '/b' = 'b' }",
    "uploads = { '/a/b' = 'b' }\nassets = { '/a' = 'a' }": "uploads = { '/b' = 'b' }\nassets = { '/a' = 'a' }",
    "uploads = { '/a' = 'a' }\ndatabase = { path = 'a/b.db', replica = 's3://bucket/shop' }": (
        "uploads = { '/a' = 'a' }\ndatabase = { path = 'b.db', replica = 's3://bucket/shop' }"
    ),
    "proxy = { domains = ['a.example'], tls = { cert = 'a', key = 'b' } }": (
        "proxy = { domains = ['a.example'], tls = { cert = '/a', key = '/b' } }"
    ),
    "database = { replica = 's3://bucket/shop' }": "database = { replica = 's3://bucket/shop', path = 'shop.db' }",
    "database = { path = '../shop.db', replica = 's3://bucket/shop' }": (
        "database = { path = 'shop.db', replica = 's3://bucket/shop' }"
    ),
    "database = { path = 'shop.db', replica = 'disk' }": (
        "database = { path = 'shop.db', replica = 'file:///mnt/backup/shop' }"
    ),
    "database = { path = 'shop.db', replica = 's3://bucket/shop', endpoint = 'x' }": (
        "database = { path = 'shop.db', replica = 's3://bucket/shop', endpoint = 'https://s3.example.com' }"
    ),
    "database = { path = 'shop.db', replica = 's3://bucket/shop', retention = '1h' }": (
        "database = { path = 'shop.db', replica = 's3://bucket/shop', retention = '168h' }"
    ),
    "check = { headers = { A = 'ä' } }": "",
    "check = { headers = { Host = 'shop.example' } }": "check = { host = 'shop.example' }",
    "serve = { head_timeout = '0s' }": "",
    "serve = { body_timeout = '0s' }": "",
    "limits = { cpu = 0.001 }": "",
    "limits = { memory = 'much' }": "",
    "build = { memory = '2 G' }": "build = { memory = '2G' }",
    "notify = { command = 'tell' }": "notify = { command = '/usr/local/lib/shop/tell-chat' }",
    "notify = { timeout = 0 }": "notify = { timeout = '30s' }",
    "hooks = { timeout = 0 }": "hooks = { timeout = '30s' }",
    "hosts = { web = ['a b'] }": "",
    "hosts = { web = ['one', 'root@one'] }": "hosts = { web = ['one', 'one'] }",
    "hosts = { web = ['one', 'web'] }": "hosts = { all = ['one', 'web'] }",
    "hosts = { waves = ['half'] }": "",
    "release = { migrate = 'a' }\nhosts = { web = ['one', 'two'] }": (
        "release = { migrate = 'a' }\nhosts = { web = ['one', 'two'] }\nfleet = { migrate = 'once' }"
    ),
    "fleet = { directory = 'shop' }": "",
    "fleet = { confirm = 0 }": "",
    "zzz = 1": "listen = '127.0.0.1:1'",
}
TABLES = {
    "calendar": "timers.tick",
    "host": "check",
    "headers": "check",
    "head_timeout": "serve",
    "body_timeout": "serve",
    "cpu": "limits",
    "memory": "limits",
    "domains": "proxy",
    "database-password": "secrets",
    '"/static"': "assets",
    '"/media"': "uploads",
    "media": "shared",
    "web": "hosts",
    "waves": "hosts",
    "directory": "fleet",
    "confirm": "fleet",
    "url": "fleet",
}


@pytest.mark.parametrize("wrong", ADVICE)
def test_gapless_toml_as_it_is_advised(wrong: str) -> None:
    """Invariant 8: the advice, an example most often, is what is accepted."""
    least = LEAST.partition("\n")[0] + "\n" if wrong.startswith("command") else LEAST
    with pytest.raises(GaplessError) as refused:
        config.parse(least + wrong, HERE)
    assert refused.value.hint
    better = ADVICE[wrong]
    if not better:
        found = EXAMPLE.search(refused.value.hint)
        assert found, refused.value.hint
        better = found[1]
        if table := TABLES.get(better.partition(" ")[0]):
            better = f"[{table}]\n{better}" + ("\ncommand = 'a'" if table.startswith("timers") else "")
    config.parse(least + better, HERE)


@pytest.mark.parametrize("written", ["8000:", "shop:80", "unix:run/app.sock", "127.0.0.1:0"])
def test_an_address_as_it_is_advised(written: str) -> None:
    """Each form that the advice shows can be listened on."""
    with pytest.raises(GaplessError) as refused:
        Address.parse(written)
    examples = re.findall('"(.*?)"', refused.value.hint)
    assert len(examples) == 3
    for one in examples:
        Address.parse(one)


def test_a_line_of_variables_as_it_is_advised() -> None:
    """The example of a variable is one."""
    with pytest.raises(GaplessError) as refused:
        assignments.parse(b"GREETING several words\n", HERE)
    found = EXAMPLE.search(refused.value.hint)
    assert found
    assert assignments.parse(found[1].encode(), HERE) == {"GREETING": "several words"}


def test_every_hint_has_a_test_that_follows_it() -> None:
    """A new hint, or a changed one, is to be followed by a test, which tests/advice.toml names."""
    listed = tomllib.loads((TESTS / "advice.toml").read_text("utf-8"))
    not_run = listed.pop("not_run")
    followed = {hint for some in listed.values() for hint in some}
    assert followed | {*not_run} == {*hints()}
    assert not followed & {*not_run}
    for named in listed:
        file, _, test = named.partition("::")
        functions = {
            node.name for node in ast.walk(ast.parse((TESTS / file).read_text("utf-8"))) if hasattr(node, "name")
        }
        assert test in functions, named
