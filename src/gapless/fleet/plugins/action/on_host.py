"""Runs one command on a host, in one execution of ssh, with a file on its standard input.

A part of Ansible while that runs: it has whatever Python Ansible has, and imports nothing of gapless.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """The task of each round: what the file `orders` has for the host, if it has anything."""

    _VALID_ARGS = frozenset({"orders"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Say how the command ended and what it said, or why the host was not reached: neither ends the play."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        orders = json.loads(Path(self._task.args["orders"]).read_text("utf-8"))
        order = orders.get((task_vars or {})["inventory_hostname"])
        if order is None:
            return result
        sent = Path(order["sends"]).read_bytes() if order["sends"] else None
        # Who refuses an artifact does not read it to its end, and ssh is not to take that for a broken connection.
        command = f"{order['command']} ; status=$?; cat > /dev/null; exit $status"
        command = command if sent else f"{order['command']} < /dev/null"
        try:
            done = self._low_level_execute_command(command, sudoable=False, in_data=sent)
        except AnsibleConnectionFailure as failure:
            return {**result, "answer": {"unreachable": str(failure)}}
        answer = {"status": done["rc"], "said": done["stdout"], "errors": done["stderr"], "unreachable": ""}
        return {**result, "answer": answer}
