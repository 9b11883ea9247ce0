"""How much longer each waits than what it waits for, in seconds.

Whoever is nearest to a start that hangs knows most of it and has to speak first: the instance prints where its loop
hangs, the deployer names what the instance said last, and systemd only knows that it took too long.
"""

from __future__ import annotations

HANG = 2.0  # over `[check] timeout`, or after a failure: the instance says where it hangs, or what failed, and exits
DEPLOYER = 5.0  # over it: the deployer stops to wait
MANAGER = 10.0  # over it: systemd ends the start
SHUTDOWN = 15.0  # over the budgets of a drain: the instance ends, or systemd ends it, whatever its app left behind
