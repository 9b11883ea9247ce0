"""Ask all hosts at once: each answers with a document, or is named with what keeps it from that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gapless.fleet.hosts import Host
from gapless.fleet.orders import Step, give
from gapless.fleet.parts import Fleet, Observer, Part, State
from gapless.fleet.play import Order, Play


def ask(
    fleet: Fleet,
    verb: str,
    *more: str,
    reads: Callable[[Host, dict[str, Any]], object],
    observer: Observer,
    sends: Path | None = None,
) -> tuple[list[Part], dict[Host, dict[str, Any]]]:
    """What each host answers to a verb that changes nothing, with the parts of all hosts; it may get a file for that.

    A host whose document is not what `reads` wants has failed, and no other has. Raises GaplessError where Ansible does
    not do its part.
    """
    parts = [Part(host) for host in fleet.hosts]
    found = dict[Host, dict[str, Any]]()

    def answered(part: Part, document: dict[str, Any]) -> None:
        reads(part.host, document)
        found[part.host], part.state = document, State.ANSWERED

    step = Step(Order(fleet.argv(verb, *more), sends), State.ASKED, answered)
    with Play([fleet.hosts]) as play:
        give(play, [(part, [step]) for part in parts], observer)
    return parts, found
