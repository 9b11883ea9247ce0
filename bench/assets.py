"""Files of pages over deploys that change all their names: with [assets], and beside it without, as is usual today.

Writes bench/assets.json, and a table into docs/assets.md. The exit status is not 0 when with
[assets] a file was missing, or anything was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import secrets
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.__main__ import HERE, put_between
from gapless.demo.ways import Gapless
from gapless.prove.background import load
from gapless.prove.kinds import Kind, Result
from gapless.prove.verdict import MISSING, bound
from gapless.prove.workload import Workload

DOCS = HERE.parent / "docs" / "assets.md"
BOOT = 1.0  # seconds the app takes to start
GAP = 2.0  # seconds between a deploy and the next
RATE = 10.0  # pages a second, each with as many files as NAMES
WITHIN = 60.0  # seconds after its page in which a file is fetched, most of them soon
PROMPT = 1.0  # seconds after its page in which a browser fetches a file that it needs at once
NAMES = ("app-{}.css", "app-{}.js", "logo-{}.svg")
APP = """
import os, pathlib, time

time.sleep(float(os.environ["DEMO_BOOT"]))
FILES = {f"/static/{one.name}": one.read_bytes() for one in pathlib.Path("static").iterdir()}
TAGS = {".css": '<link rel="stylesheet" href="%s">', ".js": '<script src="%s"></script>', ".svg": '<img src="%s">'}
PAGE = "".join(TAGS[os.path.splitext(name)[1]] % name for name in FILES).encode()

async def app(scope, receive, send):
    body = PAGE if scope["path"] in ("/", "/health") else FILES.get(scope["path"])
    await send({"type": "http.response.start", "status": 404 if body is None else 200, "headers": []})
    await send({"type": "http.response.body", "body": body or b"not found"})
"""


@dataclass(frozen=True)
class Row:
    """One way: its deploys, the pages that it answered, and of their files how many were fetched and missing."""

    way: str
    deploys: int
    pages: int
    prompt: int
    prompt_missing: int
    later: int
    later_missing: int
    lost_otherwise: int


class Shop(Gapless):
    """An app whose files have other names in each release, with what `more` adds to its gapless.toml."""

    def __init__(self, name: str, folder: Path, more: str) -> None:
        super().__init__(name, folder, BOOT)
        (folder / "app.py").write_text(APP)
        with (folder / "gapless.toml").open("a") as file:
            file.write(more)
        self._renew()

    def deploy(self) -> None:
        self._renew()
        super().deploy()

    def _renew(self) -> None:
        static = self.folder / "static"
        static.mkdir(exist_ok=True)
        for old in static.iterdir():
            old.unlink()
        for name in NAMES:
            (static / name.format(secrets.token_hex(6))).write_text(secrets.token_hex(500))


async def measure(way: Shop, deploys: int, within: float) -> Row:
    """Deploy every GAP seconds under a load of pages and their files; ends what it started."""
    workload = Workload(way.url, rate=RATE, kinds={Kind.PAGE: 1}, assets_seconds=within)
    try:
        await asyncio.to_thread(way.start)
        async with load(workload) as running:
            for _ in range(deploys):
                await asyncio.sleep(GAP)
                await asyncio.to_thread(way.deploy)
            await asyncio.sleep(within)  # until the files of most pages are fetched
    finally:
        await asyncio.to_thread(way.stop)
    return row(way.name, deploys, running.result)


def row(name: str, deploys: int, result: Result) -> Row:
    """Count what became of the files."""
    files = [sample for sample in result.samples if sample.kind is Kind.ASSET]
    prompt = [sample for sample in files if sample.waited_seconds < PROMPT]
    missing = [sample for sample in files if sample.status == MISSING]
    soon = sum(sample.waited_seconds < PROMPT for sample in missing)
    lost = sum(sample.failure is not None for sample in result.samples) - len(missing)
    pages = sum(sample.kind is Kind.PAGE for sample in result.samples)
    return Row(
        name, deploys, pages, len(prompt), soon, len(files) - len(prompt), len(missing) - soon, lost
    )  # fmt: skip


def report(rows: Sequence[Row], within: float) -> str:
    """The figures as Markdown."""
    [with_assets, _] = rows
    fetched, missing = with_assets.prompt + with_assets.later, with_assets.prompt_missing + with_assets.later_missing
    lines = [
        "| | deploys | pages | files fetched within 1 s | missing | later | missing | lost otherwise |",
        f"|{' --- |' * 8}",
        *(
            f"| {one.way} | {one.deploys} | {one.pages:,} | {one.prompt:,} | {one.prompt_missing:,} | {one.later:,} "
            f"| {one.later_missing:,} | {one.lost_otherwise} |"
            for one in rows
        ),
        "",
        f"{RATE:g} pages a second, each with {len(NAMES)} files whose names change in each release, fetched up to "
        f"{within:g} s after their page; a deploy every {GAP:g} s, and an app that boots in {BOOT:g} s, so that two "
        "releases answer for some milliseconds of each. With [assets]: "
        f"{bound(fetched, missing)}. `python -m bench.assets` makes this table.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.assets", description=__doc__)
    parser.add_argument("--deploys", type=int, default=0, help="of each way; default: 50, and write the files")
    parser.add_argument("--within", type=float, default=WITHIN, help="seconds after a page to fetch its files in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gapless-bench-") as folder:
        ways = [
            Shop("with [assets]", Path(folder, "with"), '[assets]\n"/static" = "static"\n'),
            Shop("without", Path(folder, "without"), ""),
        ]
        rows = asyncio.run(_both(ways, options.deploys or 50, options.within))
    text = report(rows, options.within)
    print(text)
    if not options.deploys:
        (HERE / "assets.json").write_text(json.dumps([dataclasses.asdict(one) for one in rows], indent=2) + "\n")
        put_between(DOCS, "bench", text)
    ours = rows[0]
    if ours.prompt_missing or ours.later_missing or ours.lost_otherwise or not ours.prompt:
        sys.exit("with [assets] files were missing, or requests lost")


async def _both(ways: Sequence[Shop], deploys: int, within: float) -> list[Row]:
    return await asyncio.gather(*(measure(way, deploys, within) for way in ways))


if __name__ == "__main__":
    main()
