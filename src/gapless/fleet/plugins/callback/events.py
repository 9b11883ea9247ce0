"""Tells the gapless that started Ansible what happens, as lines of JSON, and begins each round when that says so.

A part of Ansible while that runs: it has whatever Python Ansible has, and imports nothing of gapless.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import Any

from ansible.plugins.callback import CallbackBase

LONGEST = 2000  # characters: a line is written whole, whoever else writes (pipe(7))


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Takes the place of what Ansible prints."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "events"

    def __init__(self) -> None:
        super().__init__()
        self._events, gate = map(int, os.environ["GAPLESS_FLEET"].split(","))
        self._open = threading.Semaphore(0)
        threading.Thread(target=self._listen, args=(gate,), daemon=True).start()

    def _listen(self, gate: int) -> None:
        """Open the gate once for each byte. At its end whoever would send them is dead: nothing goes on then."""
        while os.read(gate, 1):
            self._open.release()
        os.killpg(0, signal.SIGTERM)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Wait until the round may begin."""
        self._tell(round=play.get_name())
        self._open.acquire()

    def v2_runner_on_ok(self, result: Any) -> None:
        """What came of a host's orders is in their file."""
        self._tell(host=_name(result), failed="")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002 -- Ansible's
        """Ansible itself could not do it."""
        self._tell(host=_name(result), failed=_why(result))

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """The same, where a connection was to be made ready."""
        self._tell(host=_name(result), failed=_why(result))

    def _tell(self, **event: str) -> None:
        os.write(self._events, json.dumps(event).encode() + b"\n")


def _why(result: Any) -> str:
    found = result.result if hasattr(result, "result") else result._result  # before ansible-core 2.19
    return str(found.get("msg") or "Ansible failed")[:LONGEST]


def _name(result: Any) -> str:
    host = result.host if hasattr(result, "host") else result._host
    return str(host.get_name())
