"""Visit hosts from here, as others do: what is well for the host itself may be shut to everybody else."""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from gapless.errors import GaplessError, in_words
from gapless.fleet.hosts import Host
from gapless.fleet.parts import Part, State
from gapless.visitor import RELEASE_HEADER

AT_ONCE = 50  # hosts
TIMEOUT = 10.0  # seconds for an answer
PAUSE = 0.5  # seconds before the next try


def visit(parts: Sequence[Part], url: str, patience: float) -> None:
    """Have each part of a host that does not answer at `url` with its release, within `patience` seconds, fail.

    `{host}` in the URL is the address that ssh connects to. An answer is as good as a right one where the server puts
    no release into it.
    """
    over = threading.Event()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            list(pool.map(lambda part: _visit(part, url, time.monotonic() + patience, over), parts))
        finally:
            over.set()  # after Ctrl-C nobody waits


def _visit(part: Part, url: str, deadline: float, over: threading.Event) -> None:
    try:
        whole = url.replace("{host}", _address(part.host))
        while error := _problem(whole, part):
            if time.monotonic() + PAUSE > deadline or over.wait(PAUSE):
                raise error
    except GaplessError as error:
        part.error, part.state = error, State.FAILED


def _address(host: Host) -> str:
    """The address that ssh connects to, as a URL has it: people give hosts names in ssh's configuration."""
    done = subprocess.run(
        [*host.ssh.split(), "-G"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    address = found.get("hostname", host.address)
    return f"[{address}]" if ":" in address else address


def _problem(url: str, part: Part) -> GaplessError | None:
    """What is wrong with the answer; None: nothing."""
    cause = ""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 -- gapless.toml has http and https
            answered = answer.headers.get(RELEASE_HEADER, part.release)
            if answered != part.release:
                cause = f"release {answered} answered instead of {part.release}"
    except urllib.error.HTTPError as error:
        with error:
            cause = f"it answered {error.code}"
    except urllib.error.URLError as error:
        cause = in_words(error.reason) if isinstance(error.reason, BaseException) else error.reason
    except (OSError, http.client.HTTPException) as error:
        cause = in_words(error)
    hint = f"does `curl -i {url}` work from here? [fleet] url is what is asked"
    return GaplessError("visit", f"{part.host.name} at {url}", cause, hint) if cause else None
