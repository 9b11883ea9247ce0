"""Runs commands on a host, each in one execution of ssh, with a file on its standard input.

A part of Ansible while that runs: it has whatever Python Ansible has, and imports nothing of gapless.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

PAUSE = 1.0  # seconds between two tries to reach a host


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """The task of each round: what the file `orders` has for the host, one after the other until one fails."""

    _VALID_ARGS = frozenset({"orders"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write how each command ended and what it said, or why the host was not reached: neither ends the play."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        host = (task_vars or {})["inventory_hostname"]
        orders = Path(self._task.args["orders"])
        ansible = os.getppid()
        for number, order in enumerate(json.loads(orders.read_text("utf-8")).get(host, ())):
            _tell(host=host, begun=number)
            answer = self._patiently(order)
            orders.with_suffix(f".{host}.{number}").write_text(json.dumps(answer), "utf-8")
            _tell(host=host, answered=number)
            if answer.get("status") != 0 or os.getppid() != ansible:  # it was killed: nobody wants more
                break
        return result

    def _patiently(self, order: dict[str, Any]) -> dict[str, Any]:
        """What came of one order; whoever is not reached is tried again for `patience` seconds."""
        deadline = time.monotonic() + order["patience"]
        while "unreachable" in (answer := self._execute(order)) and time.monotonic() < deadline:
            time.sleep(PAUSE)
        return answer

    def _execute(self, order: dict[str, Any]) -> dict[str, Any]:
        self._connection.set_option("ssh_args", order["ssh"])
        sent = Path(order["sends"]).read_bytes() if order["sends"] else None
        # Who refuses an artifact does not read it to its end, and ssh is not to take that for a broken connection.
        command = f"{order['command']} ; status=$?; cat > /dev/null; exit $status"
        command = command if sent else f"{order['command']} < /dev/null"
        try:
            done = self._low_level_execute_command(command, sudoable=False, in_data=sent)
        except AnsibleConnectionFailure as failure:
            return {"unreachable": str(failure)}
        return {"status": done["rc"], "said": done["stdout"], "errors": done["stderr"]}


def _tell(**event: object) -> None:
    os.write(int(os.environ["GAPLESS_FLEET"].partition(",")[0]), json.dumps(event).encode() + b"\n")
