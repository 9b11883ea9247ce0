"""Public files for what the app itself does not know: of this release and of those before, and what visitors gave."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from gapless import inert
from gapless.serve.app import ASGIApp


class Assets:
    """An ASGI app: in the place of a 404 of `app` to a GET or HEAD comes the file of that path in `directory`.

    Below a prefix of `uploads` it comes from the directory that has that. No link leads out of one.
    """

    def __init__(self, app: ASGIApp, directory: str, uploads: Mapping[str, str]) -> None:
        self.app = app
        self._files = StaticFiles(directory=directory, check_dir=False) if directory else None
        self._uploads = {f"{one}/": StaticFiles(directory=uploads[one], check_dir=False) for one in uploads}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        asked = dict(scope)  # as it came: what an app mounts, it may find by changing that
        replaced = False

        async def pass_on(message: Any) -> None:
            nonlocal replaced
            missing = message["type"] == "http.response.start" and message["status"] == 404
            if missing and (response := self._find(asked)):
                replaced = True
                await response(_sparing(asked), receive, send)
            if not replaced:
                await send(message)

        await self.app(scope, receive, pass_on)

    def _find(self, scope: Any) -> Response | None:
        """The answer with the file that was asked for; None where there is none."""
        path = scope["path"]
        for prefix, files in self._uploads.items():
            if path.startswith(prefix):
                inside = path.removeprefix(prefix[:-1])
                response = None if "/." in inside else _response(files, scope | {"path": inside, "root_path": ""})
                if response:
                    response.headers.update(inert.HEADERS)
                return response
        return _response(self._files, scope) if self._files else None


def _response(files: StaticFiles, scope: Any) -> Response | None:
    try:
        path, found = files.lookup_path(files.get_path(scope))
    except (OSError, ValueError):  # nothing that can be the name of a file
        return None
    if found is None or not stat.S_ISREG(found.st_mode) or scope["path"].endswith("/"):
        return None
    if not os.access(path, os.R_OK):  # its head would be out before that is seen
        return None
    return files.file_response(path, found, scope)


def _sparing(scope: Any) -> Any:
    """`scope` without many ranges at once, RFC 9110, 14.2: Starlette before 0.49.1 is busy with them for long."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"range" or b"," not in value]
    return scope | {"headers": headers}
