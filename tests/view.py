"""What a program of a release finds around itself: the source of a script that says so, and how two of them differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SHOW = """
import json, os, resource, sys

def show():
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
    mounts = {}
    for line in open("/proc/self/mountinfo"):
        words = line.split()
        mounts[words[4]] = ",".join(sorted(words[5].split(",")))
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
    kept = ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Umask"]
    unit = open("/proc/self/cgroup").read().splitlines()[-1].rpartition("/")[2]
    return {
        "variables": dict(os.environ),
        "mounts": mounts,
        "limits": limits,
        "status": {name: status[name].strip() for name in kept} | {"user": os.getuid(), "directory": os.getcwd()},
        "more": {"unit": unit, "session": os.getsid(0) == os.getpid()},
    }

if __name__ == "__main__":
    text = json.dumps(show())
    if sys.argv[1:]:
        with open(sys.argv[1] + ".new", "w") as file:
            file.write(text)
        os.rename(sys.argv[1] + ".new", sys.argv[1])
        if sys.argv[2:]:
            import signal
            signal.pause()
    else:
        print("found", text, flush=True)
"""


def found(said: str) -> dict[str, Any]:
    """What the script printed last among what a program said."""
    return dict(json.loads(said.rpartition("found ")[2].splitlines()[0]))


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
    """What is not the same in both, by its name; of what only one has, the other has None."""
    return {
        name: (one.get(name), other.get(name)) for name in sorted({*one, *other}) if one.get(name) != other.get(name)
    }
