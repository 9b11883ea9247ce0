"""gapless.toml: typed, every default, and messages that name the key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gapless import GaplessError, config

HERE = Path("gapless.toml")
LEAST = 'name = "shop"\ncommand = "gapless serve shop:app"\n'


def test_the_least_that_works_has_every_default() -> None:
    """Two lines are a configuration; the defaults are those of the documentation, in seconds."""
    least = config.parse(LEAST, HERE)
    assert least.argv == ["gapless", "serve", "shop:app"]
    assert least.addresses == ["127.0.0.1:8000"]
    assert (least.drain.linger, least.drain.requests, least.drain.streams) == (35.0, 30.0, 300.0)
    assert (least.serve.head_timeout, least.serve.head_size, least.serve.body_timeout) == (30.0, 65536, 300.0)
    assert (least.check.path, least.check.timeout, least.release.keep) == ("", 60.0, 5)
    assert least.longest_drain == 500


@pytest.mark.parametrize("wrong", ["head_timeout = 0", "body_timeout = 0", "head_size = 100", "head_size = 1000000000"])
def test_a_limit_that_nobody_keeps_is_refused(wrong: str) -> None:
    """Invariant 8: no visitor could send a head of 0 s or of 100 bytes, and one of 1 GB is no limit."""
    with pytest.raises(GaplessError, match="serve"):
        config.parse(f"{LEAST}[serve]\n{wrong}\n", HERE)


def test_everything_can_be_set() -> None:
    """Lists, spans of time with units, tables, and x- keys that are the user's own."""
    text = """
    name = "shop"
    listen = ["127.0.0.1:8000", "unix:/run/shop.sock"]
    command = ["gapless", "serve", "shop:app"]
    x-team = "payments"
    env = { DATABASE = "/srv/shop.db" }
    build = { run = "make", timeout = "20m" }
    release = { migrate = ["python", "migrate.py"], keep = 3 }
    check = { path = "/health", host = "shop.example", timeout = "250ms", x-why = "fast" }
    drain = { linger = 5, requests = "1.5s", streams = "1h" }
    """
    everything = config.parse(text, HERE)
    assert everything.addresses == ["127.0.0.1:8000", "unix:/run/shop.sock"]
    assert (everything.check.timeout, everything.drain.requests, everything.drain.streams) == (0.25, 1.5, 3600.0)
    assert everything.env == {"DATABASE": "/srv/shop.db"}
    assert everything.longest_drain == 3627.5


@pytest.mark.parametrize(
    ("text", "cause", "hint"),
    [
        ("name = ", "it is not valid TOML", ""),
        (LEAST + "lisen = '127.0.0.1:80'", "unknown key `lisen`", "did you mean `listen`?"),
        (LEAST + "[check]\npth = '/'", "unknown key `check.pth`", "did you mean `check.path`?"),
        (LEAST + "[qqq]\na = 1", "unknown key `qqq`", "known here: name, command"),
        ('name = "shop"', "missing required field `command`", "--example"),
        ('name = "Shop!"\ncommand = "x"', "$.name", "--example"),
        (LEAST.replace('"gapless serve shop:app"', '""'), "`command` is empty", "gapless serve"),
        (LEAST.replace('"gapless serve shop:app"', "'a \"b'"), "No closing quotation", "quotes"),
        (LEAST + "[drain]\nlinger = 'soon'", "'soon' is not a span of time", "--example"),
        (LEAST + "[drain]\nlinger = -1", "-1 is not a span of time", "--example"),
        (LEAST + "[release]\nkeep = 1", "$.release.keep", "--example"),
        (LEAST + "env = { A = 1 }", "$.env", "--example"),
        (LEAST + "env = { 'A=B' = 'x' }", "`env.A=B` cannot be an environment variable", "has no ="),
        (LEAST + 'env = { A = "\\u0000" }', "`env.A` has a line break or another control character", "without"),
        (LEAST + "listen = []", "`listen` is empty", "127.0.0.1:8000"),
        (LEAST + "check = 3", "$.check", "--example"),
    ],
)
def test_what_is_wrong_is_named(text: str, cause: str, hint: str) -> None:
    """Invariant 8: the file, the key and the nearest known one; exit status 2."""
    with pytest.raises(GaplessError, match=r"gapless\.toml") as caught:
        config.parse(text, HERE)
    assert cause in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.status == 2


@pytest.mark.parametrize("sign", ["@", "-", ":", "+", "!", "!!", "|", "-+", " +", "\t", "~", "$"])
@pytest.mark.parametrize(
    "place",
    ["command", "build.run", "release.migrate", "processes.one.command", "timers.one.command"],
)
def test_a_first_word_that_is_an_order_is_refused(place: str, sign: str) -> None:
    """Invariant 9: systemd.service(5) takes some leading signs for orders, "as root" among them."""
    command = f'command = ["{sign.encode("unicode_escape").decode()}sh", "-c", "id"]'
    table, _, key = place.rpartition(".")
    text = 'name = "shop"\n'
    text += command if not table else f'command = "x"\n[{table}]\n{command.replace("command", key, 1)}'
    text += '\ncalendar = "daily"' if table.startswith("timers") else ""
    with pytest.raises(GaplessError, match="is not the name or path of a program") as caught:
        config.parse(text, HERE)
    assert f"`{place}`" in str(caught.value)
    assert caught.value.status == 2


def set_to(place: str, written: str) -> str:
    """The least configuration, with the setting at `place` as written."""
    table, _, key = place.rpartition(".")
    top = "".join(line for line in LEAST.splitlines(keepends=True) if not line.startswith(f"{place} "))
    extra = {"timers.one": {"command": '"x"', "calendar": '"daily"'}, "processes.one": {"command": '"x"'}}.get(
        table, {}
    )
    lines = {**extra, key: written}
    if not table:
        return f"{place} = {written}\n{top}"
    return f"{top}[{table}]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())


def test_the_check_asks_as_it_is_told() -> None:
    """A visitor's host, scheme and headers."""
    said = LEAST + 'check = { host = "shop.example", scheme = "https", headers = { accept = "text/html" } }'
    visitor = config.parse(said, HERE).check.visitor
    assert (visitor.host, visitor.scheme, visitor.headers) == ("shop.example", "https", {"accept": "text/html"})


ONE_LINE = (
    *("listen", "env_file", "secrets.one", "check.path", "check.host", "timers.one.calendar"),
    "sandbox.writable",
)
SEVERAL = ("command", "build.run", "release.migrate", "processes.one.command", "timers.one.command", "env.ONE")


@pytest.mark.parametrize("sign", [r"\n", r"\r", r"\u0000", r"\u001b", r"\u007f"])
@pytest.mark.parametrize("place", [*ONE_LINE, *SEVERAL])
def test_what_ends_a_line_stands_where_there_may_be_several(place: str, sign: str) -> None:
    """Invariants 8 and 9: in a unit, a request or a path nothing begins a line of its own; the key is named."""
    written = f'["/srv{sign}x"]' if place == "sandbox.writable" else f'"/srv{sign}x"'
    written = written.replace("/srv", "x /srv") if "command" in place else written
    if place in SEVERAL and sign != r"\u0000":
        config.parse(set_to(place, written), HERE)
        return
    with pytest.raises(GaplessError, match=f"`{place}` has a line break or another control character") as caught:
        config.parse(set_to(place, written), HERE)
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("place", "written"),
    [
        ("check.host", ""),
        ("check.host", "two words"),
        ("check.host", "köln.example"),
        ("check.headers.host", "shop.example"),
        ("check.headers.x-from", "köln"),
        ("check.path", "health"),
        ("check.path", "/two words"),
        ("check.path", "/köln"),
        ("timers.one.calendar", ""),
        ("timers.one.calendar", " "),
        ("listen", ""),
        ("sandbox.writable", "srv"),
        ("sandbox.writable", "/srv/it's"),
        ("sandbox.writable", r"/srv/a\\b"),
        ("sandbox.writable", r"/srv/\"x\""),
    ],
)
def test_what_no_unit_and_no_request_can_hold_is_refused(place: str, written: str) -> None:
    """Invariant 8: the key is named when gapless.toml is read, before anything is done with it."""
    value = f'["{written}"]' if place == "sandbox.writable" else f'"{written}"'
    with pytest.raises(GaplessError, match=f"`{place}`") as caught:
        config.parse(set_to(place, value), HERE)
    assert caught.value.status == 2
    assert caught.value.hint


@pytest.mark.parametrize(
    "more",
    [
        'domains = ["shop.example {"]',
        'domains = ["shop.example, other.example"]',
        'domains = ["{$HOME}.example"]',
        'domains = ["shop.example\\n}"]',
        'domains = ["http://shop.example"]',
        'domains = [""]',
        "headers = { 'X-A {' = 'b' }",
        "headers = { '-Server' = '' }",
        "headers = { X-A = '{http.request.header.Cookie}' }",
        "headers = { X-A = 'a\"b' }",
        'headers = { X-A = "a\\nb" }',
        'headers = { X-A = "a`b" }',
        "headers = { X-A = 'a\\' }",
        'tls = { cert = "relative.pem", key = "/key.pem" }',
        'tls = { cert = "/cert.pem\\"", key = "/key.pem" }',
        'tls = "of"',
        'tls = { cert = "/cert.pem" }',
    ],
)
def test_what_is_more_than_a_word_to_caddy_is_refused(more: str) -> None:
    """Invariant 9: root writes it into Caddy's configuration; the key is named, and what to write."""
    with pytest.raises(GaplessError, match="proxy") as caught:
        config.parse(f"{LEAST}[proxy]\n{more}", HERE)
    assert caught.value.hint
    assert caught.value.status == 2


@pytest.mark.parametrize("path", ["/srv/shop/shared/a.sock", "/var/a.sock", "/run/shop/a.sock", "/run/..", "/run/a b"])
def test_caddy_follows_no_path_of_the_apps(path: str) -> None:
    """Invariant 9: behind Caddy a Unix socket is a plain name in /run; elsewhere somebody could put another."""
    text = f'{LEAST}listen = "unix:{path}"\n'
    assert config.parse(text, HERE).addresses == [f"unix:{path}"]
    with pytest.raises(GaplessError, match="is not a plain name in /run"):
        config.parse(f'{text}[proxy]\ndomains = ["shop.example"]', HERE)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    """Invariant 8: outside a project, the message leads to `gapless init`."""
    with pytest.raises(GaplessError, match="there is no such file") as caught:
        config.load(tmp_path)
    assert "gapless init" in caught.value.hint


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """A pipe is not waited for, and what has no end is not read to it."""
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.write_bytes(b"#" * (2 << 20))):
        path = tmp_path / "gapless.toml"
        path.unlink(missing_ok=True)
        make(path)
        with pytest.raises(GaplessError, match=r"it is no regular file|it has more than 256 KiB"):
            config.load(tmp_path)


@pytest.mark.parametrize("text", [f"{'a.' * 5000}a = 1", f"x = {'[' * 50_000}", "name = '\ud800'"])
def test_a_file_made_to_keep_its_reader_busy_is_refused(text: str) -> None:
    """Invariant 9: a key of many parts would take root's reader hours; what tomllib cannot read ends in words."""
    with pytest.raises(GaplessError, match=r"dots|not valid TOML|use"):
        config.parse(text, HERE)
