"""Run cases on a server: side by side where they only wait, one after another where they measure."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gapless.conform import drain, handover, heads, readiness, requests, sockets, websockets, wsgi
from gapless.conform.case import Case, Failed, NotApplicable, Outcome, Result
from gapless.conform.manager import Facts, Manager, answers
from gapless.conform.started import READY, STARTS, wait_for
from gapless.conform.visitor import Lost
from gapless.errors import GaplessError

FAMILIES = {
    "readiness": (readiness,),
    "sockets": (sockets,),
    "requests": (requests, heads),
    "drain": (drain,),
    "handover": (handover,),
    "websockets": (websockets,),
    "wsgi": (wsgi,),
}
CASES: tuple[Case, ...] = tuple(
    sorted(
        (
            one
            for modules in FAMILIES.values()
            for each in modules
            for one in vars(each).values()
            if isinstance(one, Case)
        ),
        key=lambda one: one.order,
    )
)
AT_ONCE = 6 * (os.cpu_count() or 1)  # cases that wait more than they compute


def chosen(names: Sequence[str]) -> list[Case]:
    """The cases of these numbers ("2.3"), or families ("2", "sockets"); all of them for none. Raises GaplessError."""
    families = {name: str(number) for number, name in enumerate(FAMILIES, 1)}
    found = []
    for name in names:
        wanted = families.get(name, name)
        these = [one for one in CASES if wanted in (one.number, one.number.partition(".")[0])]
        if not these:
            known = ", ".join(families)
            raise GaplessError(
                "choose", f"the case {name!r}", f"the families are {known}", "`gapless conform --list`", status=2
            )
        found += these
    return [one for one in CASES if not names or one in found]


def learn(command: Sequence[str]) -> Facts:
    """Start the server once, and see how it says that it is ready; raises GaplessError where it serves nothing."""
    with tempfile.TemporaryDirectory(prefix="gapless-conform-") as folder:
        manager = Manager(command, Path(folder), Facts())
        try:
            started = manager.launch()
            wait_for(lambda: not started.runs or answers(manager.address) == started.release, STARTS)
            seconds = time.monotonic() - started.began
            release = answers(manager.address)
            if release != started.release:
                what = (
                    "its answers have no header gapless-release with $GAPLESS_RELEASE" if started.runs else "it ended"
                )
                hint = "the command must serve on descriptor 3, and its app keep to the contract in docs/conform.md"
                details = tuple(started.output.splitlines()[-10:])
                raise GaplessError("test", shlex.join(command), what, hint, details=details)
            notifies = wait_for(lambda: started.says(READY), 3.0)
            keeps = not manager.visitor().get().closes
            return Facts(notifies, keeps, seconds)
        finally:
            manager.close()


def run(
    command: Sequence[str], cases: Sequence[Case], facts: Facts, on_result: Callable[[Result], None] | None = None
) -> list[Result]:
    """Run the cases on the server that `command` starts; results in the cases' order."""
    results = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for result in _results(pool, command, cases, facts):
            results.append(result)
            if on_result:
                on_result(result)
    return sorted(results, key=lambda one: one.case.order)


def _results(pool: ThreadPoolExecutor, command: Sequence[str], cases: Sequence[Case], facts: Facts) -> Iterator[Result]:
    yield from pool.map(lambda one: try_case(command, one, facts), [one for one in cases if not one.alone])
    for one in cases:
        if one.alone:
            yield try_case(command, one, facts)


def try_case(command: Sequence[str], case: Case, facts: Facts) -> Result:
    """Run one case in a directory of its own, and end all that it started."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gapless-conform-") as folder:
        manager = Manager(command, Path(folder), facts)
        try:
            outcome, evidence = Outcome.PASS, case.run(manager)
        except NotApplicable as why:
            outcome, evidence = Outcome.NOT_APPLICABLE, str(why)
        except (Failed, Lost) as why:
            outcome, evidence = Outcome.FAIL, str(why)
        except OSError as error:
            outcome, evidence = Outcome.FAIL, f"a connection failed: {error.strerror or error}"
        except ValueError as error:
            outcome, evidence = Outcome.FAIL, f"it answered what is no HTTP: {error}"
        finally:
            manager.close()
    return Result(case, outcome, evidence, time.monotonic() - began)
