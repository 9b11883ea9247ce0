"""Which interface an app seems to speak: what is likely is guessed right, the rest is not guessed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from wsgiref.validate import validator

import pytest

from gapless.serve.interface import Interface, guess


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return [environ, start_response]


def timed(app: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator whose author forgot functools.wraps."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        return app(*args, **kwargs)

    return inner


class Middleware:
    """Hands on whatever it is called with."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.app(*args, **kwargs)


class AsyncMiddleware(Middleware):
    async def __call__(self, *args: Any) -> None:
        await self.app(*args)


class WithDefaults:
    def __call__(self, environ: Any, start_response: Any, log: Any = None, more: Any = None) -> list[bytes]:
        return [environ, start_response, log, more]


class AllDefaults:
    def __call__(self, environ: Any = None, start_response: Any = None) -> list[bytes]:
        return [environ, start_response]


class ClassOfResponses:
    """As in PEP 3333: the class is the app."""

    def __init__(self, env: Any, start: Any) -> None: ...


class SyncAsgi:
    """Returns what is awaited."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        return asgi(scope, receive, send)


def other_names(one: Any, two: Any) -> None: ...


def three(one: Any, two: Any, three: Any) -> None: ...


def create_app(config: Any = None, env: str = "production") -> Any: ...


def create_with(*, debug: bool = False, **settings: Any) -> Any: ...


def one_argument(settings: Any) -> Any: ...


LIKELY = [
    (asgi, Interface.ASGI),
    (wsgi, Interface.WSGI),
    (functools.partial(timed(wsgi)), Interface.WSGI),
    (functools.partial(asgi), Interface.ASGI),
    (timed(wsgi), Interface.WSGI),
    (timed(asgi), Interface.ASGI),
    (timed(timed(wsgi)), Interface.WSGI),
    (functools.wraps(wsgi)(timed(wsgi)), Interface.WSGI),
    (Middleware(wsgi), Interface.WSGI),
    (Middleware(Middleware(asgi)), Interface.ASGI),
    (AsyncMiddleware(asgi), Interface.ASGI),
    (validator(wsgi), Interface.WSGI),
    (WithDefaults(), Interface.WSGI),
    (AllDefaults(), Interface.WSGI),
    (ClassOfResponses, Interface.WSGI),
    (SyncAsgi(), Interface.ASGI),
    (other_names, Interface.WSGI),
    (three, Interface.ASGI),
    (create_app, Interface.FACTORY),
    (create_with, Interface.FACTORY),
    (one_argument, None),
    (Middleware(None), None),
    (print, None),
]


@pytest.mark.parametrize(("app", "expected"), LIKELY)
def test_what_an_app_is_taken_for(app: Any, expected: Interface | None) -> None:
    """Wrappers, decorators, defaults, classes, the validator of the standard library; None where nothing tells."""
    guessed = guess(app)
    assert (guessed and guessed.interface) == expected
