"""The jobs: what the web app orders, and a worker ships."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from celery import Celery

LEDGER = Path(os.environ.get("GAPLESS_SHARED", "."), "ledger.db")

app = Celery("shop", broker=os.environ.get("BROKER", "redis://127.0.0.1:6379/0"))
app.conf.update(
    task_acks_late=True,  # a job whose worker is killed is done again; else it would be lost
    task_reject_on_worker_lost=True,  # also where only its child process is
    worker_prefetch_multiplier=1,  # what waits, waits in Redis, for whichever release has a worker
    broker_transport_options={"visibility_timeout": 3600},  # seconds: more than the longest job takes
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
)


def ledger() -> closing[sqlite3.Connection]:
    """What was done, for both releases of an overlap to write."""
    connection = sqlite3.connect(LEDGER, timeout=30, isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("CREATE TABLE IF NOT EXISTS shipped (order_id TEXT, release TEXT, at REAL)")
    return closing(connection)


@app.task(name="ship")  # a name of its own: both releases must know each other's jobs
def ship(order_id: str) -> None:
    """Do what takes a while, then write down that it was done, and by which release."""
    time.sleep(0.2)
    with ledger() as done:
        row = (order_id, os.environ.get("GAPLESS_RELEASE", ""), time.time())
        done.execute("INSERT INTO shipped VALUES (?, ?, ?)", row)
