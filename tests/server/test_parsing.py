"""HTTP is parsed as by stock uvicorn: raw requests of a public suite get the same answers, but where it is said why."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.server.served import APPS
from tests.support import address, get, listening, start

SUITE: dict[str, str] = json.loads((Path(__file__).parent / "requests.json").read_text())["requests"]
REQUESTS = {name: text.encode("latin-1") for name, text in SUITE.items()}
LINE = re.compile(rb"(?<=\n)")
PAUSE = 0.02  # seconds between lines that are sent one by one
QUIET = 1.0  # seconds in which nothing more comes: the server waits for the rest, or for the next request
AT_ONCE = 600  # connections
OURS = re.compile(rb"(?im)^(date|server|gapless-release): [^\r]*\r\n")  # headers that may differ

WITHOUT = "import sys; sys.modules['httptools'] = None; from {module} import main; main()"
SERVERS = {"gapless": ("gapless.__main__", "serve", "asked:app"), "uvicorn": ("uvicorn.main", "asked:app", "--fd", "3")}
PARSERS = {"httptools": "import {module} as it; it.main()", "h11": WITHOUT}  # h11 is taken where there is no other

# Where the answers are not the same, and why that is meant.
EXPLAINED: dict[str, dict[str, str]] = {
    "httptools": {},
    "h11": {"valid/024": "16 KiB of a line: h11 takes no more that is not whole; our limit (--head-size) is 64 KiB"},
}

Answer = tuple[bytes, bool]


async def answered(port: int, parts: Sequence[bytes], quiet: float) -> Answer:
    """What comes in answer to these bytes on a connection of their own, and whether the server closes then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sending = asyncio.create_task(send(writer, parts))
    answer = bytearray()
    try:
        closed = await ends(reader, sending, answer, quiet)
    except ConnectionError:  # it closed, and did not read all
        closed = True
    sending.cancel()
    writer.close()
    return OURS.sub(b"", bytes(answer)), closed


async def ends(reader: asyncio.StreamReader, sending: asyncio.Task[None], answer: bytearray, quiet: float) -> bool:
    """Read all that comes; whether its end came, and not just silence after all was sent."""
    while True:
        try:
            more = await asyncio.wait_for(reader.read(2**16), quiet)
        except TimeoutError:
            if sending.done():
                return False
            continue
        if not more:
            return True
        answer += more


async def send(writer: asyncio.StreamWriter, parts: Sequence[bytes]) -> None:
    with contextlib.suppress(ConnectionError):
        for number, part in enumerate(parts):
            await asyncio.sleep(PAUSE if number else 0)
            writer.write(part)
            await writer.drain()


class Asked:
    """What servers answer to the requests: whole, and in lines."""

    def __init__(self, ports: dict[tuple[str, str], int]) -> None:
        self._ports = ports
        self._answers: dict[tuple[str, str], dict[str, list[Answer]]] = {server: {} for server in ports}
        self.ask(REQUESTS, QUIET)

    def ask(self, names: Iterable[str], quiet: float) -> None:
        """Ask all servers, side by side, for most of it is waiting."""
        asyncio.run(self._ask([(server, name) for server in self._ports for name in names], quiet))

    async def _ask(self, pairs: list[tuple[tuple[str, str], str]], quiet: float) -> None:
        for server, name in pairs:
            self._answers[server][name] = []
        for in_lines in (False, True):
            parts = {name: LINE.split(data) if in_lines else [data] for name, data in REQUESTS.items()}
            for at in range(0, len(pairs), AT_ONCE):
                some = pairs[at : at + AT_ONCE]
                found = await asyncio.gather(
                    *(answered(self._ports[server], parts[name], quiet) for server, name in some)
                )
                for (server, name), answer in zip(some, found, strict=True):
                    self._answers[server][name].append(answer)

    def differing(self, one: tuple[str, str], other: tuple[str, str]) -> dict[str, tuple[list[Answer], list[Answer]]]:
        """The requests that the two do not answer alike, with the answers."""
        of_one, of_other = self._answers[one], self._answers[other]
        return {name: (of_one[name], of_other[name]) for name in REQUESTS if of_one[name] != of_other[name]}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """What gapless serve and stock uvicorn answer, each with both parsers."""
    run = start(tmp_path_factory.mktemp("servers"))
    with contextlib.ExitStack() as stack:
        stack.callback(run.end)
        ports = {}
        for (server, (module, *argv)), (parser, code) in itertools.product(SERVERS.items(), PARSERS.items()):
            sock = stack.enter_context(listening(1000))
            run(sys.executable, "-c", code.format(module=module), *argv, sockets=[sock], cwd=APPS)
            ports[server, parser] = address(sock)[1]
        for port in ports.values():
            assert get(("127.0.0.1", port))[0] == 200
        yield Asked(ports)


@pytest.mark.parametrize("parser", PARSERS)
def test_the_answers_are_stock_uvicorns(asked: Asked, parser: str) -> None:
    """Requests that are valid, invalid or hostile, whole and in lines: each status, what the app sees, each close."""
    pair = ("gapless", parser), ("uvicorn", parser)
    for quiet in (3 * QUIET, 9 * QUIET):  # a processor that was busy elsewhere makes no difference
        if asked.differing(*pair).keys() != EXPLAINED[parser].keys():
            asked.ask(asked.differing(*pair), quiet)
    differing = asked.differing(*pair)
    assert differing.keys() == EXPLAINED[parser].keys(), differing


def test_the_requests_tell_servers_apart(asked: Asked) -> None:
    """A comparison that cannot fail proves nothing: the two parsers do not answer all of them alike."""
    assert len(asked.differing(("gapless", "httptools"), ("gapless", "h11"))) > 10
