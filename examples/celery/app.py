"""The web app: it takes orders (POST /orders/ID), and says how many were shipped."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from tasks import ledger, ship

RELEASE = os.environ.get("GAPLESS_RELEASE", "")


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    _, place, order_id = f"{environ['PATH_INFO']}//".split("/", 2)
    order_id = order_id.strip("/")
    if environ["REQUEST_METHOD"] == "POST" and place == "orders" and order_id:
        ship.delay(order_id)  # Redis has it when this returns: only then the order is accepted
        status, text = "202 Accepted", f"{RELEASE} ordered {order_id}\n"
    else:
        with ledger() as done:
            (count,) = done.execute("SELECT count(*) FROM shipped").fetchone()
        status, text = "200 OK", f"{RELEASE} shipped {count}\n"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text.encode()]
