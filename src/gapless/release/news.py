"""How an attempt ends, told to the hooks of [hooks] and to the program of [notify]; and the hook that comes before.

Each is of the release that serves then: what failed may not even be built, and what it sets decided nothing yet.
"""

from __future__ import annotations

import contextlib
import enum
import re
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import msgspec

from gapless import variables
from gapless.errors import GaplessError, in_words
from gapless.release import notifying
from gapless.release.attempt import Attempt, Target, ending
from gapless.release.commands import shell
from gapless.release.following import followed
from gapless.release.ledger import TURN_BACK, Outcome
from gapless.switch.job import Jobs, Kind, Told

NOTIFY = "notify"  # a phase
LONGEST = 4096  # characters of a fact: a program's whole environment has its limit, execve(2)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Event(enum.StrEnum):
    """A moment of a deploy or a rollback, as [hooks] calls it."""

    BEFORE = "before_deploy"
    DEPLOYED = "deployed"
    FAILED = "failed"
    TURNED_BACK = "turned_back"

    @property
    def phase(self) -> str:
        """What the ledger calls its hook."""
        return str(self) if self is Event.BEFORE else f"on {self}"


class Facts(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """What is told of an attempt: `to` and `from_` as in the ledger, `current` is what serves now.

    `when` it began is Unix time. `error` and `report` are empty where there is none.
    """

    event: str
    app: str
    host: str
    verb: str
    who: str
    when: float
    seconds: float
    from_: str | None
    to: str
    current: str | None
    revision: str
    outcome: Outcome
    error: str
    report: str

    @property
    def told(self) -> Told:
        """All of it, for a program: in its environment, and as JSON on its standard input."""
        facts = msgspec.to_builtins(self)
        env = {f"{variables.PREFIX}{key.upper()}": _plain(value) for key, value in facts.items()}
        return Told(self.event, env, msgspec.json.encode(self).decode() + "\n")


class News:
    """A context around an `attempt` that is set inside: left, it tells how that ended. What fails then is a warning."""

    def __init__(self, target: Target, jobs: Jobs) -> None:
        self.target = target
        self.jobs = jobs
        self.attempt: Attempt | None = None

    def before(self) -> None:
        """Run the hook that comes before the new release takes over. Raises GaplessError: then it does not."""
        if attempt := self.attempt:
            facts = self._facts(attempt, attempt.release, Event.BEFORE, Outcome.RUNNING, "")
            self._hook(attempt, attempt.release, facts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if attempt := self.attempt:
            with self._warning():
                if serves := self.target.manager.current():
                    words = in_words(error)[:LONGEST].encode(errors="backslashreplace").decode() if error else ""
                    facts = self._facts(attempt, serves, _event(attempt, error), ending(error), words)
                    with self._warning():
                        self._hook(attempt, serves, facts)
                    self._notify(attempt, serves, facts)

    @contextlib.contextmanager
    def _warning(self) -> Iterator[None]:
        try:
            yield
        except Exception as failed:  # how the attempt ended stays as it is, whatever this is
            said = failed.details[-1:] if isinstance(failed, GaplessError) else ()  # a hook's last words
            self.target.observer.warning(": ".join([in_words(failed), *said]))

    def _facts(self, attempt: Attempt, serves: str, event: Event, outcome: Outcome, error: str) -> Facts:
        clock = self.target.clock
        return Facts(
            event=event,
            app=self.target.home.config(serves).name,
            host=socket.gethostname(),
            verb=attempt.verb,
            who=attempt.who,
            when=attempt.began,
            seconds=round(clock.now() - attempt.began, 3),
            from_=attempt.previous,
            to=attempt.release,
            current=self.target.manager.current(),
            revision=attempt.revision,
            outcome=outcome,
            error=error,
            report=attempt.report,
        )

    def _hook(self, attempt: Attempt, release: str, facts: Facts) -> None:
        hooks = self.target.home.config(release).hooks
        if command := getattr(hooks, facts.event):
            with (
                attempt.phase(Event(facts.event).phase),
                followed(self.target.store.log(release), self.target.observer.said),
            ):
                self.jobs.run(Kind.HOOK, shell(command), release, hooks.timeout, facts.told)

    def _notify(self, attempt: Attempt, release: str, facts: Facts) -> None:
        notify = self.target.home.config(release).notify
        if notify.command:
            with attempt.phase(NOTIFY):
                notifying.tell(notify, self.target.home, facts.told)


def _event(attempt: Attempt, error: BaseException | None) -> Event:
    if any(one.name == TURN_BACK and one.outcome is Outcome.SUCCEEDED for one in attempt.phases):
        return Event.TURNED_BACK
    # Who was interrupted after the commit has deployed all the same.
    done = error is None or (attempt.committed and not isinstance(error, Exception))
    return Event.DEPLOYED if done else Event.FAILED


def _plain(fact: object) -> str:
    """A fact as the value of a variable."""
    text = "" if fact is None else str(fact)
    return CONTROL.sub("?", text.encode(errors="backslashreplace").decode())[:LONGEST]
