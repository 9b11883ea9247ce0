"""Run the battery of `gapless conform` on the field, each server as installed today, and keep the table in docs/.

Then deploy under load with managers that hold a socket themselves. Prints what is no longer as in the kept table.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from bench.scorecard import managers
from bench.scorecard.book import Book, Row, judge, kept
from bench.scorecard.page import counts
from bench.scorecard.servers import ELSEWHERE, ROOT, SERVERS, Server, install


def row(server: Server, cases: list[str]) -> Row:
    """What is kept of a server."""
    found = judge(server.argv, cases)
    about = {"name": server.name, "version": server.version, "command": server.command, "about": server.about}
    one = {**about, **kept(found)}
    if server.cannot and one["error"]:
        said = [re.sub(r"unix:/\S*/", "unix:/…/", line) for line in found["error"]["details"] if "Listening" in line]
        one["error"] = "; ".join([server.cannot, *said])
    print(f"{server.name} {one['version']}: {counts(one)}", flush=True)
    return one


def main() -> int:
    """Judge the field, write the page, tell what changed."""
    parser = argparse.ArgumentParser(prog="bench.scorecard", description=__doc__)
    parser.add_argument("--server", action="append", help="those whose name begins so; the others' rows stay")
    parser.add_argument("--case", action="append", default=[], help="as --only of gapless conform")
    parser.add_argument("--manager", action="append", help="those whose name begins so; the others' rows stay")
    parser.add_argument("--deploys", type=int, default=managers.DEPLOYS, help="of each manager")
    parser.add_argument("--into", type=Path, default=ROOT / "docs", help="the directory of the page")
    chosen = parser.parse_args()
    everything = not chosen.server and not chosen.manager
    servers = [one for one in SERVERS if everything or one.name.startswith(tuple(chosen.server or ()))]
    others = [one for one in managers.CANDIDATES if everything or one.name.startswith(tuple(chosen.manager or ()))]
    packages = {one.package for one in servers} | {package for one in others for package in one.packages}
    if packages - set(ELSEWHERE):
        install()
    field, deploying = Book(chosen.into, "servers"), Book(chosen.into, "managers")
    for server in servers:
        field.put(row(server, chosen.case), [one.name for one in SERVERS], only_some=bool(chosen.case))
    for one in others:
        if "start_server" in one.packages and shutil.which("start_server") is None:
            print(f"{one.name}: not tried: there is no start_server (Debian: libserver-starter-perl)")
            continue
        deploying.put(managers.row(one, chosen.deploys), [each.name for each in managers.CANDIDATES])
    for line in field.changes() + deploying.changes():
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
