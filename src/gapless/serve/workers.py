"""Several worker processes behind one READY=1: none accepts before all are proven, a dead one is replaced.

The parent never loads the app: it forks, waits on pipes and signals, and answers for the sum of its workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import selectors
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from gapless import notify
from gapless.errors import GaplessError
from gapless.serve.door import Turned
from gapless.serve.instance_socket import ORDERS, close_private, open_private, read_request, refusal, respond
from gapless.serve.settings import Settings
from gapless.serve.stage import ON_DUTY, Stage, move, must_turn
from gapless.serve.worker import LONGEST, Worker, say_why

log = logging.getLogger("gapless.serve")

HUNG = 30.0  # seconds of silence after which a worker's loop counts as hung
BACKOFF = (0.1, 10.0)  # seconds before one that failed at its start is started again: first, at the most
RETRY = 1.0  # seconds, when the system has no room for it
OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

RunWorker = Callable[[Settings, Sequence[socket.socket], socket.socket], int]


class Parent:
    """Runs `settings.workers` workers with `run_worker` until SIGTERM or SIGINT; a second signal hurries them."""

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket], run_worker: RunWorker) -> None:
        self.settings = settings
        self.state = Stage.LOADING
        self._sockets = sockets
        self._run_worker = run_worker
        self._workers: dict[int, Worker] = {}  # by pid
        self._waiting: dict[socket.socket, Stage] = {}  # who gave an order that is not yet obeyed by all
        self._replace_at: dict[int, float] = {}  # worker number -> monotonic time
        self._failures: dict[int, int] = {}  # worker number -> how often in a row it was not proven
        self._failure: GaplessError | None = None  # why the first worker that ended before it was proven did so
        self._turned_away: Counter[str] = Counter()  # by workers that are gone
        self._since = time.time()
        self._ping_at = time.monotonic() if notify.watchdog_interval() else None
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Serve until told to stop, and return 0; raises GaplessError if not all workers could be proven."""
        wake, wakeup = socket.socketpair()
        for end in (wake, wakeup):
            end.setblocking(False)
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        for one in OURS:
            signal.signal(one, lambda _number, _frame: None)  # the wake-up descriptor says which
        self._selector.register(wake, selectors.EVENT_READ, self._on_signals)
        if self.settings.private:
            private = open_private(self.settings.private)
            self._selector.register(private, selectors.EVENT_READ, self._answer)
        self._enter(Stage.STARTING)
        for number in range(self.settings.workers):
            self._fork(number)
        self._enter(Stage.CHECKING)
        while self._workers or self._replace_at:
            for key, _ in self._selector.select(timeout=0.2):
                key.data(key.fileobj)
            if self.state is Stage.CHECKING and len(self._workers) < self.settings.workers:
                log.error("not all workers could be proven: giving up")
                self._stop_all(Stage.STOPPED)
            self._look_after()
        if self.settings.private:
            close_private(self.settings.private)
        if self._failure:
            raise self._failure
        return 0

    def status(self) -> dict[str, object]:
        """The status document of all workers together, with theirs under `workers`.

        The descriptors are those of the worker that has the fewest left.
        """
        each = [worker.status for worker in self._workers.values()]
        total = {key: sum(one.get(key, 0) for one in each) for key in ("connections", "requests", "websockets", "held")}
        mine = {"release": self.settings.release, "state": self.state, "pid": os.getpid(), "since": self._since}
        fullest = max((one for one in each if "descriptors" in one), key=_share, default={})
        mine |= {key: fullest.get(key, 0) for key in ("descriptors", "descriptors_allowed")}
        turned_away = sum((Counter(one.get("turned_away", {})) for one in each), Counter(self._turned_away))
        return {**mine, **total, "turned_away": {why: turned_away[why] for why in Turned}, "workers": each}

    def _fork(self, number: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Until it has handlers of its own, a signal to the worker would be written to *our* wake-up descriptor.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, OURS)
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()  # or the worker would not hear of its parent's death
                self._be_worker(number, theirs, mask)
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
        self._workers[pid] = Worker(number, pid, ours)
        self._selector.register(ours, selectors.EVENT_READ, self._on_status)

    def _be_worker(self, number: int, channel: socket.socket, mask: Iterable[int]) -> None:
        """In the child: never returns."""
        status = 1
        try:
            if not self.settings.release:  # a manager weighs, and kills, all of us as one group
                os.setpgid(0, 0)  # Ctrl-C on the terminal is for the parent, who passes it on once
            signal.set_wakeup_fd(-1)
            for one in OURS:
                signal.signal(one, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for key in list(self._selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]  # all are sockets: siblings', the private one, wake-up
            self._selector.close()
            for connection in self._waiting:
                connection.close()
            for variable in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
                os.environ.pop(variable, None)  # the parent speaks for all
            private = f"{self.settings.private}.{number}" if self.settings.private else ""
            settings = dataclasses.replace(self.settings, private=private)
            status = self._run_worker(settings, self._sockets, channel)
        except GaplessError as error:
            log.error("worker %d: %s", number, "\n".join((str(error), *error.details)))
            say_why(channel, error)
        except Exception:
            log.exception("worker %d", number)
        finally:
            logging.shutdown()
            os._exit(status)

    def _on_status(self, channel: socket.socket) -> None:
        worker = next((one for one in self._workers.values() if one.channel is channel), None)
        if worker is None:
            return  # it was reaped in the same round
        said = b""
        with contextlib.suppress(ConnectionError):
            said = channel.recv(LONGEST)
        if not said:
            self._selector.unregister(channel)
            return
        was_proven = worker.proven
        worker.hear(said)
        if self.state is Stage.SERVING and worker.proven and not was_proven:
            worker.tell(Stage.SERVING)  # a replacement
        elif self.state is Stage.CHECKING and self._all_proven():
            self._enter(Stage.WARMING)
            self._enter(Stage.PROVEN)
            for one in self._workers.values():
                one.tell(Stage.SERVING)
            self._enter(Stage.SERVING)
            notify.ready(f"serving {self.settings.release}".rstrip())

    def _all_proven(self) -> bool:
        return len(self._workers) == self.settings.workers and all(one.proven for one in self._workers.values())

    def _on_signals(self, wake: socket.socket) -> None:
        for number in wake.recv(64):
            if number == signal.SIGCHLD:
                self._reap()
            elif self.state in ON_DUTY:
                notify.stopping("draining")
                for sock in self._sockets:
                    sock.close()
                self._stop_all(Stage.DRAINING)
            else:  # still starting: nothing to drain; draining: hurry
                self._stop_all(Stage.STOPPED)

    def _stop_all(self, state: Stage) -> None:
        if self.state is not state:
            self._enter(state)
        self._replace_at.clear()
        for pid in self._workers:
            os.kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        for pid in list(self._workers):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._ended(self._workers.pop(pid), os.waitstatus_to_exitcode(status))

    def _ended(self, worker: Worker, status: int) -> None:
        if self.state is Stage.CHECKING and self._failure is None:
            self._failure = worker.failure(status)
        if worker.channel in self._selector.get_map():
            self._selector.unregister(worker.channel)
        worker.channel.close()
        self._turned_away.update(worker.status.get("turned_away", {}))
        if self.state not in ON_DUTY:
            return
        failures = 0 if worker.proven else self._failures.get(worker.number, 0) + 1
        self._failures[worker.number] = failures
        now = time.monotonic()
        self._replace_at[worker.number] = now
        if failures:
            self._replace_at[worker.number] += min(BACKOFF[0] * 2 ** (failures - 1), BACKOFF[1])
        if not self._workers:  # nobody is left to serve: the next of them does not wait
            soonest = min(self._replace_at, key=lambda number: self._replace_at[number])
            self._replace_at[soonest] = min(self._replace_at[soonest], now + BACKOFF[0])
        delay = self._replace_at[worker.number] - now
        log.error("worker %d ended with status %d; replaced in %.1f s", worker.number, status, delay)

    def _look_after(self) -> None:
        now = time.monotonic()
        if self._ping_at is not None and now >= self._ping_at:
            notify.watchdog()
            self._ping_at = now + (notify.watchdog_interval() or 0)
        for number, due in list(self._replace_at.items()):
            if now >= due:
                del self._replace_at[number]
                try:
                    self._fork(number)
                except OSError as error:  # no descriptor, process or memory to be had now
                    log.error("worker %d cannot be started: %s; trying again in %g s", number, error, RETRY)
                    self._replace_at[number] = now + RETRY
        for worker in self._workers.values():
            if worker.beats and now - worker.heard > HUNG:
                log.error("worker %d has said nothing for %g s: its loop hangs; killing it", worker.number, HUNG)
                os.kill(worker.pid, signal.SIGKILL)
                worker.heard = now
        self._answer_waiting()

    def _answer(self, listener: socket.socket) -> None:
        """Orders are answered when all workers have obeyed; whatever else is asked, the status is the answer."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as closing:  # a client that left is not our trouble
            connection = closing.enter_context(listener.accept()[0])
            wanted = ORDERS.get(read_request(connection))
            if wanted is None:
                respond(connection, 200, self.status())
                return
            try:
                self._turn(wanted)
            except GaplessError as error:
                respond(connection, 409, refusal(error))
                return
            self._waiting[connection] = wanted
            closing.pop_all()

    def _turn(self, wanted: Stage) -> None:
        if must_turn(self.state, wanted):
            self._enter(wanted)
            for worker in self._workers.values():
                if worker.proven:  # any other waits, when it is proven, for leave to accept
                    worker.tell(wanted)
            notify.status(f"{wanted} {self.settings.release}".rstrip())

    def _answer_waiting(self) -> None:
        obeyed = all(one.told == one.sent for one in self._workers.values())
        if self.state is Stage.SERVING:  # none is left to disobey, but none accepts: no success
            obeyed &= any(one.status.get("state") == Stage.SERVING for one in self._workers.values())
        for connection, wanted in list(self._waiting.items()):
            if self.state is wanted and not obeyed:
                continue
            del self._waiting[connection]
            with contextlib.suppress(OSError), connection:
                if self.state is wanted:
                    respond(connection, 200, self.status())
                else:
                    respond(connection, 409, {"error": f"it was told otherwise meanwhile: it is {self.state}"})

    def _enter(self, state: Stage) -> None:
        self.state = move(self.state, state)
        log.info("%s, %d workers", state, self.settings.workers)


def _share(status: Mapping[str, int]) -> float:
    return status["descriptors"] / status["descriptors_allowed"]
