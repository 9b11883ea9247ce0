"""A package registry inside a host, as PyPI and npm's speak: hosts have nothing but loopback."""

from __future__ import annotations

import base64
import hashlib
import http.server
import re
import sys
import urllib.parse
from pathlib import Path

import msgspec

from tests.host.host import Host
from tests.host.serving import HostServer

FOR_EVER = "max-age=365000000, immutable, public"  # as PyPI and npm's own say of a file


class Registry(HostServer):
    """Serves what is in `folder`: wheels, and npm's tarballs; `served` are the files that it gave away."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder, self.served = folder, list[str]()
        super().__init__(host, Handler)

    def page(self, path: str) -> tuple[str, bytes]:
        """The kind and the content of what a client asks for. Raises FileNotFoundError."""
        kind, _, name = path.strip("/").partition("/")
        if kind == "files":
            return "application/octet-stream", (self.folder / name).read_bytes()
        if kind == "simple":
            return "text/html", self._links(name).encode()
        return "application/json", msgspec.json.encode(self._document(name))

    def _links(self, project: str) -> str:
        """A project's page of the simple API (PEP 503)."""
        wheels = [one for one in self.folder.glob("*.whl") if _normal(one.name.partition("-")[0]) == project]
        if not wheels:
            raise FileNotFoundError(project)
        digests = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in wheels}
        links = (f'<a href="/files/{name}#sha256={digest}">{name}</a>' for name, digest in digests.items())
        return f"<!DOCTYPE html>{''.join(links)}"

    def _document(self, package: str) -> object:
        """What npm's registry says of a package, in short."""
        tarball = next(self.folder.glob(f"{package}-*.tgz"), None)
        if tarball is None:
            raise FileNotFoundError(package)
        version = tarball.stem.removeprefix(f"{package}-")
        digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
        dist = {"tarball": f"{self.url}/files/{tarball.name}", "integrity": f"sha512-{digest}"}
        about = {"name": package, "version": version, "dist": dist}
        return {"name": package, "dist-tags": {"latest": version}, "versions": {version: about}}

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection to a registry."""

    server: Registry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a page or a file."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        try:
            kind, content = self.server.page(path)
        except FileNotFoundError:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", FOR_EVER if path.startswith("/files/") else "max-age=600")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)
            if path.startswith("/files/"):
                self.server.served.append(path)

    do_HEAD = do_GET  # noqa: N815 -- http.server's name

    def log_message(self, *_: object) -> None:
        """Say nothing: what counts is in `served`."""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
