"""The control socket: JSON lines between whoever deploys and the supervisor, one request a connection.

Either may be of an older gapless than the other. So fields are only added, with a default, and whoever does not know
one ignores it; what must not be ignored is a new verb, which an older supervisor refuses.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import msgspec

from gapless.errors import GaplessError
from gapless.switch.embedded.home import EmbeddedHome
from gapless.switch.embedded.lock import short

PATIENCE = 10.0  # seconds for a request to arrive, and for an answer on top of what the request may take


class Start(msgspec.Struct, tag="start", tag_field="verb"):
    """Start a candidate; answered with Started when its readiness is known, after at most `timeout` seconds."""

    release: str
    timeout: float


class Retire(msgspec.Struct, tag="retire", tag_field="verb"):
    """Tell an instance to drain; answered at once. `pid` guards against an id that was used again."""

    id: str
    pid: int


class Stop(msgspec.Struct, tag="stop", tag_field="verb"):
    """End an instance; answered with whether it is gone yet, after a few seconds at most: ask again."""

    id: str
    pid: int


class Arm(msgspec.Struct, tag="arm", tag_field="verb"):
    """Have an instance accept again in so many `seconds`, whoever is there then."""

    id: str
    pid: int
    seconds: float


class Disarm(msgspec.Struct, tag="disarm", tag_field="verb"):
    """Forget what was armed."""


class Instances(msgspec.Struct, tag="instances", tag_field="verb"):
    """Answered with every Instance, oldest first."""


class Info(msgspec.Struct, tag="info", tag_field="verb"):
    """Answered with About."""


class Settle(msgspec.Struct, tag="settle", tag_field="verb"):
    """Read the commit file again, and start the current release if it does not run."""


class Replace(msgspec.Struct, tag="replace", tag_field="verb"):
    """Have the gapless of the interpreter `python` go on in the supervisor's place; answered before it does."""

    python: str


class About(msgspec.Struct, frozen=True):
    """The supervisor: its pid, since when (Unix time), and each address it holds with its socket's inode.

    `version` is that of its gapless, empty of one that does not say.
    """

    pid: int
    since: float
    sockets: dict[str, int]
    version: str = ""


Request = Start | Retire | Stop | Arm | Disarm | Instances | Info | Settle | Replace


class UnreachableError(GaplessError):
    """No supervisor answers for this home."""


def ask(home: EmbeddedHome, request: Request, within: float = 0.0) -> Any:
    """Send `request` and wait for its answer, `within` seconds more than usual; raises GaplessError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(within + PATIENCE)
        try:
            with short(home.control) as name:
                client.connect(name)
            client.sendall(msgspec.json.encode(request) + b"\n")
            with client.makefile("rb") as answers:
                line = answers.readline()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise _unreachable(home, f"nothing listens on {home.control}", "start it with `gapless run`") from error
        except TimeoutError as error:
            hint = "it may be stopped (SIGSTOP) or its disk may hang"
            raise _unreachable(home, "it does not answer in time", hint) from error
        except OSError as error:
            raise _unreachable(home, str(error), "start it with `gapless run`") from error
    if not line.endswith(b"\n"):
        raise _unreachable(home, "it ended before it answered", "start it again with `gapless run`")
    answer = json.loads(line)
    if "error" in answer:
        raise GaplessError(**answer["error"] | {"details": tuple(answer["error"]["details"])})
    return answer["ok"]


def about(home: EmbeddedHome) -> About:
    """Ask the supervisor about itself. Raises GaplessError."""
    return msgspec.convert(ask(home, Info()), About)


def _unreachable(home: EmbeddedHome, cause: str, hint: str) -> UnreachableError:
    return UnreachableError("reach", f"the supervisor of {home.root}", cause, hint)
