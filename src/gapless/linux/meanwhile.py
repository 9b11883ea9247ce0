"""Do something again and again beside what a block does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def meanwhile(call: Callable[[], bool | None], every: float) -> Iterator[None]:
    """Call `call` every so many seconds, from a thread of its own, until it returns True or the block is left."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(every) and not call():
            pass

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
