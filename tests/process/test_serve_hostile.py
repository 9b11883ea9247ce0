"""gapless serve beside programs that spoil the shared socket, and with workers that die at the worst moment."""

from __future__ import annotations

from tests.support import APPS, GAPLESS, get, listening, start


def test_another_program_that_makes_the_socket_block_freezes_nobody(run: start) -> None:
    """Invariants 1 and 3, trap 4: O_NONBLOCK is shared, and accepting goes on without it."""
    with listening() as sock:
        run(*GAPLESS, "serve", "app:app", "--app-dir", APPS, sockets=[sock]).says("serving")
        sock.setblocking(True)
        for _ in range(3):
            assert get(sock.getsockname(), timeout=3)[0] == 200
            sock.setblocking(True)
