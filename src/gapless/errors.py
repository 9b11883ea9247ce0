"""The one exception that gapless raises for people: what was tried, on what, why it failed, what to try."""

from __future__ import annotations


def in_words(error: BaseException) -> str:
    """Say what an exception means, in no language's own names."""
    if isinstance(error, KeyboardInterrupt):
        return "it was interrupted"
    if isinstance(error, SystemExit):
        return "it was told to end"
    if isinstance(error, TimeoutError):
        return str(error) or "there was no answer in time"
    return str(error) or "an unexpected error without a text"


class GaplessError(Exception):
    """An operation failed and nothing was lost; the message names operation, object and cause, the hint what to try.

    `details` are lines worth showing below the message (a failed release's last log lines, a response's
    body). `status` is the exit status of the command (not 0): 1 failed, 2 wrong use or configuration,
    75 locked by another deploy (EX_TEMPFAIL of sysexits.h: trying again later may work).
    """

    def __init__(
        self,
        operation: str,
        object_: str,
        cause: str,
        hint: str = "",
        *,
        details: tuple[str, ...] = (),
        status: int = 1,
    ) -> None:
        super().__init__(f"cannot {operation} {object_}: {cause}")
        self.operation = operation
        self.object = object_
        self.cause = cause
        self.hint = hint
        self.details = details
        self.status = status
