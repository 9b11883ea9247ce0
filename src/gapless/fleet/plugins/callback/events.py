"""Tells the gapless that started Ansible what happens, as lines of JSON, and begins each round when that says so.

A part of Ansible while that runs: it has whatever Python Ansible has, and imports nothing of gapless.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Takes the place of what Ansible prints."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "events"

    def __init__(self) -> None:
        super().__init__()
        self._events, self._gate = map(int, os.environ["GAPLESS_FLEET"].split(","))

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Wait until the round may begin. Whoever would say so may be dead: then nothing begins any more."""
        self._tell({"round": play.get_name()})
        if not os.read(self._gate, 1):
            os._exit(1)

    def v2_runner_on_ok(self, result: Any) -> None:
        """A host has answered, or was not reached."""
        found = _found(result)
        self._tell({"host": _name(result), "answer": found.get("answer")})

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002 -- Ansible's
        """Ansible itself could not do it."""
        self._unreachable(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """The same, where a connection was to be made ready."""
        self._unreachable(result)

    def _unreachable(self, result: Any) -> None:
        self._tell(
            {"host": _name(result), "answer": {"unreachable": str(_found(result).get("msg") or "Ansible failed")}}
        )

    def _tell(self, event: dict[str, Any]) -> None:
        os.write(self._events, json.dumps(event).encode() + b"\n")


def _found(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = result.result if hasattr(result, "result") else result._result  # before ansible-core 2.19
    return found


def _name(result: Any) -> str:
    host = result.host if hasattr(result, "host") else result._host
    return str(host.get_name())
