"""One attempt: its phases timed, told to the observer and recorded, whatever happens in them."""

from __future__ import annotations

import pwd
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from gapless.config.settings import Config
from gapless.environment import Inherited
from gapless.errors import GaplessError, in_words
from gapless.home import Home
from gapless.release.clock import CLOCK, Clock
from gapless.release.following import followed
from gapless.release.holding import me
from gapless.release.ledger import Backup, Deploy, Finished, Ledger, Outcome, Phase
from gapless.release.store import Store
from gapless.switch.job import Jobs, Kind
from gapless.switch.manager import Guard, Manager


class Observer(Protocol):
    """Hears how a deploy goes, as it goes; whoever implements it may print."""

    def phase_started(self, name: str) -> None: ...
    def phase_ended(self, name: str, seconds: float, outcome: Outcome) -> None: ...
    def said(self, line: str) -> None:
        """A build or a migration wrote a line."""

    def warning(self, text: str) -> None:
        """Something went wrong that does not make the command fail."""


class Silent:
    """The observer of those who do not care."""

    def phase_started(self, name: str) -> None:
        pass

    def phase_ended(self, name: str, seconds: float, outcome: Outcome) -> None:
        pass

    def said(self, line: str) -> None:
        pass

    def warning(self, text: str) -> None:
        pass


SILENT = Silent()


@dataclass(frozen=True)
class Target:
    """Where releases go and who runs them; a command waits `lock_wait` seconds for another deploy to end."""

    home: Home
    manager: Manager
    observer: Observer = SILENT
    lock_wait: float = 0.0
    clock: Clock = CLOCK
    jobs: Jobs | None = None  # who builds and migrates; None: processes of ours
    inherited: Callable[[], Inherited] = Inherited.ours  # what those have from the manager: App.inherited
    operator: pwd.struct_passwd | None = None  # who deploys, but may not decide what the app may do on the host
    destination: str = ""  # whose settings lie over the project's
    backup: Callable[[Config], str] | None = None  # brings the replica up to date: App.backup
    guard: Guard | None = None  # who turns back from a release that nobody confirms
    lease: str = ""  # the token of the hold that lets this command through

    @property
    def owner(self) -> str:
        """The user that releases, and the commands that run in them, belong to; "" is whoever deploys."""
        return self.home.owner

    @property
    def store(self) -> Store:
        return Store(self.home.root)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.home.root)


class Attempt:
    """A context: entered it records the start, left it records how it ended. The first error is the one raised.

    From the moment `committed` is set nothing fails it: what goes wrong then is a warning.
    """

    def __init__(
        self,
        target: Target,
        verb: str,
        release: str,
        previous: str | None,
        revision: str,
        who: str = "",
        of: Deploy | None = None,
    ) -> None:
        """Another attempt; or one more part `of` one whose own process has ended."""
        self.target = target
        self.release = release
        self.previous = previous
        self.phases: list[Phase] = []
        self.committed = False
        self.report = of.report if of else ""
        self.confirm: float | None = None  # seconds from its end on in which somebody is to confirm the release
        self.verb, self.revision = (of.verb, of.revision) if of else (verb, revision)
        self.who, self.began = (of.who, of.when) if of else (who or me(), target.clock.now())
        self.id = of.id if of else target.ledger.start(verb, self.who, self.began, previous, release, revision)

    def backed_up(self, txid: str) -> None:
        """Record the point to which the database can go back. Raises GaplessError."""
        if txid:
            self.target.ledger.append(Backup(self.id, self.target.clock.now(), txid))

    def run(self, jobs: Jobs, kind: Kind, argv: Sequence[str], timeout: float) -> None:
        """Run a command of the release; the observer hears what it writes. Raises GaplessError."""
        with followed(self.target.store.log(self.release), self.target.observer.said):
            jobs.run(kind, argv, self.release, timeout)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done inside; record it and tell the observer."""
        clock, observer = self.target.clock, self.target.observer
        observer.phase_started(name)
        started, began = clock.now(), clock.monotonic()
        error: BaseException | None = None
        try:
            yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            outcome = ending(error)
            phase = Phase(self.id, name, started, clock.monotonic() - began, outcome)
            self.phases.append(phase)
            observer.phase_ended(name, phase.seconds, outcome)
            self._record(lambda: self.target.ledger.append(phase), error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        text = "" if error is None else in_words(error)
        text = text.encode(errors="backslashreplace").decode()  # a file's name in it may be no text
        finished = Finished(self.id, self.target.clock.now(), ending(error), text, self.report)
        self._record(lambda: self.target.ledger.append(finished), error)

    def _record(self, write: Callable[[], None], first: BaseException | None) -> None:
        try:
            write()
        except GaplessError as error:
            if first is not None:
                first.add_note(f"and {error}")
            elif self.committed:
                self.target.observer.warning(str(error))
            else:
                raise


def ending(error: BaseException | None) -> Outcome:
    """What an exception makes of an attempt: Ctrl-C and SystemExit are no failure of the release."""
    if error is None:
        return Outcome.SUCCEEDED
    return Outcome.FAILED if isinstance(error, Exception) else Outcome.INTERRUPTED
