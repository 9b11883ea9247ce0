"""Run the battery of `gapless conform` on the field, each server as installed today, and keep the table in docs/.

Prints what is no longer as in the kept table.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gapless.conform.battery import CASES
from gapless.conform.case import Outcome

ROOT = Path(__file__).parents[1]
PLACE = ROOT / ".scorecard"  # the field's own environment
BIN = PLACE / "bin"
ELSEWHERE = ("gapless", "node", "puma")  # what is not from there
PACKAGES = ("uvicorn[standard]", "uvicorn-worker", "hypercorn", "gunicorn", "waitress", "daphne")

WAITRESS = "import socket, sys, waitress; sys.path[:0] = ['']; from app import wsgi; "
WAITRESS += "waitress.serve(wsgi, sockets=[socket.socket(fileno=3)])"


@dataclass(frozen=True)
class Server:
    """A row: its name, the package or program that has its version, and its command as one would write it."""

    name: str
    package: str
    command: str
    about: str = ""  # what one has to know about the command

    @property
    def version(self) -> str:
        if self.package == "gapless":
            return importlib.metadata.version("gapless")
        if self.package in ("node", "puma"):
            said = subprocess.run([self.package, "--version"], capture_output=True, text=True, check=True).stdout
            return said.strip().removeprefix("v").removeprefix("puma version ")
        code = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        return subprocess.run([BIN / "python", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


ENDS = "--graceful-timeout 6"
GUNICORN = f"{ENDS} --control-socket gunicorn.ctl"  # else it is in our home, and the releases share it
SERVERS = (
    Server("gapless serve, ASGI", "gapless", "gapless serve app:app"),
    Server("gapless serve, ASGI, 4 workers", "gapless", "gapless serve --workers 4 app:app"),
    Server("gapless serve, WSGI", "gapless", "gapless serve app:wsgi"),
    Server("gapless serve, WSGI, 4 workers", "gapless", "gapless serve --workers 4 app:wsgi"),
    Server("uvicorn", "uvicorn", "uvicorn app:app --fd 3 --timeout-graceful-shutdown 6"),
    Server("hypercorn", "hypercorn", f"hypercorn app:app --bind fd://3 {ENDS}"),
    Server("gunicorn sync", "gunicorn", f"gunicorn app:wsgi {GUNICORN}"),
    Server("gunicorn gthread", "gunicorn", f"gunicorn app:wsgi -k gthread --threads 8 {GUNICORN}"),
    Server("gunicorn asgi", "gunicorn", f"gunicorn app:app -k asgi {GUNICORN}"),
    Server(
        "gunicorn, uvicorn's worker", "uvicorn-worker", f"gunicorn app:app -k uvicorn_worker.UvicornWorker {GUNICORN}"
    ),
    Server("waitress", "waitress", f'python -c "{WAITRESS}"', "its command takes no descriptor, its function does"),
    Server("daphne", "daphne", "daphne --fd 3 app:app"),
    Server("puma", "puma", "puma --config puma.rb", 'puma.rb says `bind_to_activated_sockets "only"`'),
    Server(
        "puma, as advised", "puma", f"puma --config {ROOT}/examples/puma/puma.rb", "with docs/servers.md's settings"
    ),
    Server("Node", "node", "node server.js", "`server.close()` at SIGTERM; `headersTimeout` as told"),
)


def install() -> None:
    """Bring the field's newest versions into an environment of their own."""
    if not BIN.exists():
        venv.create(PLACE, with_pip=True)
    pip = [str(BIN / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--upgrade"]
    subprocess.run([*pip, *PACKAGES], check=True)


def judge(server: Server, cases: Sequence[str]) -> dict[str, Any]:
    """The document of `gapless conform` on a server; "error" in it where it cannot be tested at all."""
    words = shlex.split(server.command)
    if words[0] == "gapless":
        words = [sys.executable, "-m", *words]
    elif (BIN / words[0]).exists():
        words[0] = str(BIN / words[0])
    argv = [sys.executable, "-m", "gapless", "conform", "--json", *(f"--only={one}" for one in cases), "--", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def row(server: Server, cases: Sequence[str]) -> dict[str, Any]:
    """What is kept of a server."""
    found = judge(server, cases)
    command = server.command.replace(str(ROOT) + "/", "")
    kept = {
        "name": server.name,
        "version": server.version,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": command,
        "about": server.about,
        "error": found.get("error", {}).get("cause", ""),
        "seconds": round(found.get("seconds", 0)),
        "cases": {one["number"]: [one["outcome"], one["evidence"]] for one in found.get("cases", ())},
    }
    print(f"{server.name} {kept['version']}: {counts(kept)}", flush=True)
    return kept


def counts(kept: dict[str, Any]) -> str:
    """How many passed, failed, did not apply."""
    if kept["error"]:
        return f"cannot be tested: {kept['error']}"
    outcomes = [outcome for outcome, _ in kept["cases"].values()]
    return ", ".join(f"{outcomes.count(name)} {name}" for name in Outcome)


def changes(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> list[str]:
    """What is not as it was, a line each."""
    old = {one["name"]: one for one in before}
    found = []
    for one in now:
        was = old.get(one["name"])
        if was is None:
            found.append(f"{one['name']}: new")
            continue
        if was["version"] != one["version"]:
            found.append(f"{one['name']}: {was['version']} → {one['version']}")
        for number, (outcome, evidence) in one["cases"].items():
            earlier = was["cases"].get(number, ["not there"])[0]
            if earlier != outcome:
                found.append(f"{one['name']} {number}: {earlier} → {outcome} ({evidence})")
    return found


def page(rows: Sequence[dict[str, Any]], titles: dict[str, str]) -> str:
    """docs/scorecard.md."""
    said = subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout.strip()
    lines = [
        "# Which server survives a handover",
        "",
        "`make scorecard` makes this page: it installs the newest versions and runs [`gapless conform`](conform.md) on",
        "each. Every row is of the command that stands below, on its date; other settings give other rows.",
        "✓ pass, ✗ fail, – not applicable.",
        f"{said} cores, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}.",
        "",
        "| server | version | date | ✓ | ✗ | – | fails |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in rows:
        outcomes = [outcome for outcome, _ in one["cases"].values()]
        numbers = [str(outcomes.count(name)) for name in Outcome]
        fails = " ".join(number for number, (outcome, _) in one["cases"].items() if outcome == "fail")
        cells = [one["name"], one["version"], one["date"], *numbers, one["error"] or fails]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "granian has no option for a descriptor that it is handed: there is no row of it."]
    lines += ["", "## Case by case", "", "| case | " + " | ".join(str(at) for at in range(1, len(rows) + 1)) + " |"]
    lines.append("| --- |" + " --- |" * len(rows))
    marks = {"pass": "✓", "fail": "✗", "not applicable": "–"}
    for number, title in titles.items():
        verdicts = [marks.get(one["cases"].get(number, [""])[0], " ") for one in rows]
        lines.append(f"| {number} {title} | {' | '.join(verdicts)} |")
    lines += ["", "## The commands, and what was seen", ""]
    for at, one in enumerate(rows, 1):
        about = f"; {one['about']}" if one["about"] else ""
        lines += [f"### {at}. {one['name']} {one['version']}", "", f"    {one['command']}", ""]
        lines += [f"{counts(one)}, in {one['seconds']} s{about}.", ""]
        failed = [(number, seen) for number, (outcome, seen) in one["cases"].items() if outcome == "fail"]
        lines += [f"- {number} {titles[number]}: {_cell(seen)}" for number, seen in failed]
        lines += [""] if failed else []
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace(str(ROOT) + "/", "").replace("\n", " ").replace("|", "/").replace("<", "&lt;")[:300]


def main() -> int:
    """Judge the field, write the page, tell what changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", action="append", help="those whose name begins so; the others' rows stay")
    parser.add_argument("--case", action="append", default=[], help="as --only of gapless conform")
    parser.add_argument("--into", type=Path, default=ROOT / "docs", help="the directory of the page")
    chosen = parser.parse_args()
    servers = [one for one in SERVERS if not chosen.server or one.name.startswith(tuple(chosen.server))]
    if any(one.package not in ELSEWHERE for one in servers):
        install()
    file = chosen.into / "scorecard.json"
    kept: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    rows = {one["name"]: one for one in kept}
    for server in servers:
        rows[server.name] = row(server, chosen.case)
        listed = [rows[one.name] for one in SERVERS if one.name in rows]  # each at once: it takes a quarter of an hour
        file.write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
        (chosen.into / "scorecard.md").write_text(page(listed, {one.number: one.title for one in CASES}))
    for line in changes(kept, [rows[one.name] for one in servers]):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
