"""docs/scorecard.md of what was found, and what is no longer as in the table that was kept."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from bench.scorecard.servers import ROOT
from gapless.conform.case import Outcome

MARKS = {"pass": "✓", "fail": "✗", "not applicable": "–"}
HEAD = """\
# Which server survives a handover

`make scorecard` makes this page: it installs the newest versions from PyPI, takes the host's own puma, Node and
`start_server`, and runs [`gapless conform`](conform.md) on each. A command has the settings of its server's own
documentation that help here; where a server has a second row, the two show what a setting is worth. Every row is of the
command that stands below, on its date.
✓ pass, ✗ fail, – not applicable.
"""


def page(found: Mapping[str, Sequence[dict[str, Any]]], titles: Mapping[str, str], conclusions: str) -> str:
    """The whole page; `conclusions` are a person's words, which it keeps."""
    rows = found["servers"]
    lines = [HEAD + f"{os.cpu_count()} cores, Linux {platform.release().partition('-')[0]}, "
             f"Python {platform.python_version()}.", "", *_table(rows), ""]  # fmt: skip
    lines += [conclusions]
    lines += _managers(found.get("managers", ())) + _pythons(found.get("pythons", ()))
    lines += ["## Case by case", "", "| case | " + " | ".join(str(at) for at in range(1, len(rows) + 1)) + " |"]
    lines.append("| --- |" + " --- |" * len(rows))
    for number, title in titles.items():
        verdicts = [MARKS.get(one["cases"].get(number, [""])[0], " ") for one in rows]
        lines.append(f"| {number} {title} | {' | '.join(verdicts)} |")
    lines += ["", "## The commands, and what was seen", ""]
    for at, one in enumerate(rows, 1):
        lines += _seen(at, one, titles)
    return "\n".join(lines).rstrip() + "\n"


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "| | server | version | date | ✓ | ✗ | – | fails |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for at, one in enumerate(rows, 1):
        cells = [str(at), one["name"], one["version"], one["date"], *_numbers(one), one["error"] or _fails(one)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _managers(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "## Managers that deploy by themselves",
        "",
        "Each holds the socket and replaces the server in its own way, under 120 requests a second of mixed traffic:",
        "`deploys` times a good release, whose app takes a second to load, and then one that fails to load.",
        "`lost` counts requests without the complete response.",
        "",
        "| manager | version | date | deploys | lost | worst latency | lost by one that fails | answers then |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in rows:
        cells = [
            one["name"],
            one["version"],
            one["date"],
            str(one["deploys"]),
            *(seen for _, seen in one["cases"].values()),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", *(f"- {one['name']}: {one['command']}" for one in rows), ""]


def _pythons(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "## `gapless serve` on each Python",
        "",
        "`make pythons` installs the built wheel for every Python that it finds, with uvloop and without, and runs the",
        "same cases; as root with `SUITES=forky`, on that Debian's Python, too.",
        "",
        "| Python | loop | app | with | date | ✓ | ✗ | – | fails |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in rows:
        cells = [one["python"], one["loop"], one["app"], one["version"], one["date"], *_numbers(one)]
        lines.append("| " + " | ".join([*cells, one["error"] or _fails(one)]) + " |")
    return [*lines, ""]


def _seen(at: int, one: dict[str, Any], titles: Mapping[str, str]) -> list[str]:
    about = f"; {one['about']}" if one["about"] else ""
    lines = [f"### {at}. {one['name']} {one['version']}", "", f"    {one['command']}", ""]
    lines += [f"{counts(one)}{about}.", ""] if one["error"] else [f"{counts(one)}, in {one['seconds']} s{about}.", ""]
    failed = [(number, seen) for number, (outcome, seen) in one["cases"].items() if outcome == "fail"]
    lines += [f"- {number} {titles.get(number, '')}: {_cell(seen)}" for number, seen in failed]
    return [*lines, ""] if failed else lines


def _numbers(one: dict[str, Any]) -> list[str]:
    outcomes = [outcome for outcome, _ in one["cases"].values()]
    return [str(outcomes.count(name)) for name in Outcome]


def _fails(one: dict[str, Any]) -> str:
    return " ".join(number for number, (outcome, _) in one["cases"].items() if outcome == "fail")


def _cell(text: str) -> str:
    return text.replace(str(ROOT) + "/", "").replace("\n", " ").replace("|", "/").replace("<", "&lt;")[:300]


def counts(kept: dict[str, Any]) -> str:
    """How many passed, failed, did not apply."""
    if kept["error"]:
        return f"cannot be tested: {kept['error']}"
    outcomes = [outcome for outcome, _ in kept["cases"].values()]
    return ", ".join(f"{outcomes.count(name)} {name}" for name in Outcome)


def changes(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> list[str]:
    """What is not as it was, a line each; a row that there is no more is told, too."""
    old = {one["name"]: one for one in before}
    found = []
    for one in now:
        was = old.pop(one["name"], None)
        if was is None:
            found.append(f"{one['name']}: new")
            continue
        found += [
            f"{one['name']}: {was[what]} → {one[what]}" for what in ("version", "command") if was[what] != one[what]
        ]
        if was["error"] != one["error"]:
            found.append(f"{one['name']}: {was['error'] or 'tested'} → {one['error'] or 'tested'}")
        for number in {**one["cases"], **was["cases"]}:
            earlier = was["cases"].get(number, ["not there"])[0]
            outcome, evidence = one["cases"].get(number, ["not there", ""])
            if earlier != outcome:
                found.append(f"{one['name']} {number}: {earlier} → {outcome}" + (f" ({evidence})" if evidence else ""))
    return found + [f"{name}: no row any more" for name in old]
