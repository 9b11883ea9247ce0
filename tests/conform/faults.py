"""The faults of server.py, and what fails for each: always, and perhaps, for it depends on the moment.

`python -m tests.conform.faults [FAULT]` runs the whole battery on each, and tells what is not as it says here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gapless.conform.battery import CASES, run
from gapless.conform.case import Outcome
from gapless.conform.manager import Facts

SERVER = Path(__file__).parent / "server.py"
NOW = {"3.2", "3.5", "5.3"}  # what comes in the very moment of SIGTERM

# After these nobody is left, unless it is slow.
STAYS = {"2.3", "2.4", "2.7", "2.10", "2.11", "3.1", "3.2", "3.5", "3.15", "3.16", "4.5", "4.8", "4.11", "6.1"}

FAULTS: dict[str, tuple[set[str], set[str]]] = {
    "never says READY=1": ({"1.1"}, set()),
    "is ready before it has loaded": ({"1.2", "1.4"}, set()),
    "accepts before it is ready": ({"1.3", "1.5", "5.1"}, set()),
    "ends well though the app is broken": ({"1.4"}, set()),
    "ignores SIGTERM while it loads": ({"1.5"}, set()),
    "leaves Nagle on": ({"2.1"}, set()),
    "calls listen(2)": ({"2.2"}, set()),
    "clears O_NONBLOCK": ({"2.3"}, set()),
    "clears O_NONBLOCK at its end": ({"2.3"}, set()),
    "trusts O_NONBLOCK": ({"2.4"}, set()),
    "takes any LISTEN_PID": ({"2.5"}, set()),
    "leaves the socket inheritable": ({"2.6"}, set()),
    "removes the Unix socket": ({"2.7"}, set()),
    "takes one socket": ({"2.8"}, set()),
    "takes one socket of start_server's": ({"2.10"}, set()),
    "owns what nobody spoke of": ({"2.11"}, set()),
    "drops a crowd": ({"2.9"}, {"1.5", "3.1", "3.2", "5.1", "5.2", "4.8"}),
    "shuts the socket down": ({"2.7", "2.10", "2.11", "3.1", "3.2", "5.2", "5.3"}, {"2.3", "3.5"}),
    "closes idle connections": ({"3.3", "3.4", "3.14"}, NOW | {"3.1", "5.2"}),
    "drops unread connections": ({"3.3", "3.4", "3.17"}, NOW | {"3.1", "5.2"}),
    "drops new connections": ({"3.5"}, NOW | {"3.1", "5.2"}),
    "never says close": ({"3.3", "4.3"}, {"3.2", "5.3"}),
    "closes without a word": ({"3.3"}, {"3.2", "5.3"}),
    "loses the end of uploads": ({"3.7", "3.11", "3.12"}, {"5.3"}),
    "fails requests under way": ({"3.6", "3.8", "3.13", "5.2"}, set()),
    "cuts streams": ({"3.9"}, set()),
    "cuts downloads": ({"3.10", "4.6"}, set()),
    "knows no chunks": ({"3.11", "7.9"}, set()),
    "answers no Expect": ({"3.12"}, set()),
    "keeps HTTP/1.0 open": ({"3.13"}, set()),
    "takes heads of any size": ({"3.15"}, set()),
    "waits for ever for a head": ({"3.16"}, set()),
    "drops half a head": ({"3.17"}, NOW | {"3.1", "5.2"}),
    "takes trailers of any size": ({"3.18"}, set()),
    "stays when nobody is there": ({"4.1"}, STAYS),
    "has no deadline": ({"4.2", "4.11"}, set()),
    "cuts without a word": ({"4.3"}, set()),
    "ends at once": ({"3.7", "3.8", "3.9", "4.4", "4.5"}, {one.number for one in CASES}),
    "hangs at a second SIGTERM": ({"4.4", "4.10"}, set()),
    "forgets work after a response": ({"4.5"}, set()),
    "keeps idle connections for ever": ({"3.9", "3.10", "3.14", "4.6", "4.7"}, {"3.2", "3.3"}),
    "dies without descriptors": ({"4.8"}, set()),
    "waits for ever for a head in a drain": ({"4.9"}, set()),
    "cuts requests at a second SIGTERM": ({"4.10"}, set()),
    "waits for ever for work after a response": ({"4.11"}, set()),
    "closes WebSockets without a code": ({"6.1"}, set()),
    "drops handshakes": ({"6.2"}, set()),
    "cuts handshakes without a word": ({"6.3"}, set()),
    "closes no iterable": ({"7.1"}, set()),
    "keeps the first status": ({"7.2"}, set()),
    "sends the head with an empty piece": ({"7.3"}, set()),
    "answers well for an app that raises": ({"7.4"}, set()),
    "ends well what broke off": ({"7.5"}, set()),
    "forgets who is gone": ({"7.6"}, set()),
    "answers nobody after a broken body": ({"7.7"}, set()),
    "breaks the letter": ({"7.8"}, set()),
    "ends bodies early": ({"7.9"}, set()),
}


def command(fault: str) -> list[str]:
    """How the server with this fault is started."""
    return ["env", f"FAULT={fault}", sys.executable, str(SERVER)]


def facts(fault: str) -> Facts:
    """What the battery would learn of it."""
    return Facts(notifies=fault != "never says READY=1", seconds=4.0)


def main(faults: Sequence[str]) -> int:
    """Return how many faults fail other cases than they should."""
    wrong = 0
    for fault in faults:
        must, may = FAULTS[fault]
        results = {one.case.number: one for one in run(command(fault), CASES, facts(fault))}
        failed = {number for number, one in results.items() if one.outcome is Outcome.FAIL}
        more, missed = failed - must - may, must - failed
        wrong += bool(more or missed)
        told = [f"{number} {results[number].evidence}" for number in more]
        os.write(1, f"{fault}: fails {sorted(failed)}; missed {sorted(missed)}, too many {told}\n".encode())
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [*FAULTS]))
