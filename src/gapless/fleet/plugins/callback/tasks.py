"""Tells the gapless that started Ansible what tasks changed on which host, and which one failed, as lines of JSON.

A part of Ansible while that runs: it has whatever Python Ansible has, and imports nothing of gapless.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Takes the place of what Ansible prints."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "tasks"

    def v2_runner_on_ok(self, result: Any) -> None:
        """Only what changed, or would, is news."""
        if _found(result).get("changed"):
            _tell(result, "changed", "")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """What failed, in its own words; also where that is to be ignored, it is no news."""
        if not ignore_errors:
            _tell(result, "failed", str(_found(result).get("msg") or "it failed"))

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Why a host was not reached."""
        _tell(result, "unreachable", str(_found(result).get("msg") or "it does not answer"))


def _tell(result: Any, what: str, why: str) -> None:
    host = result.host if hasattr(result, "host") else result._host  # before ansible-core 2.19
    task = result.task if hasattr(result, "task") else result._task
    said = _found(result)
    more = [str(said[key]) for key in ("stdout", "stderr") if what == "failed" and said.get(key)]
    event = {"host": host.get_name(), "task": task.name, "event": what, "why": why, "said": "\n".join(more)}
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _found(result: Any) -> Any:
    return result.result if hasattr(result, "result") else result._result
