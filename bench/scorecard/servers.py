"""The field: each server as its own documentation would hand it a socket, with the settings of it that help here."""

from __future__ import annotations

import importlib.metadata
import shlex
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".scorecard"  # the field's own environment
BIN = PLACE / "bin"
ELSEWHERE = ("gapless", "node", "puma", "start_server")  # what is not from there
ASYNC = ("uvicorn[standard]", "uvicorn-worker", "hypercorn", "daphne", "granian", "aiohttp")
PACKAGES = (*ASYNC, "gunicorn", "waitress", "circus")

# Its command takes no descriptor, and SIGTERM ends it in the middle of everything, SystemExit does not.
WAITRESS = "import signal, socket, sys, waitress; sys.path[:0] = ['']; from app import wsgi; "
WAITRESS += "signal.signal(signal.SIGTERM, lambda *_: sys.exit()); waitress.serve(wsgi, "
WAITRESS += "sockets=[socket.socket(fileno=3)], backlog=3000, connection_limit=1000, threads=8)"

BACKLOG = "--backlog 3000"  # the socket's: who calls listen(2) again is to say what it has
ENDS = "--graceful-timeout 6"
GUNICORN = f"{BACKLOG} {ENDS} --control-socket gunicorn.ctl"  # else it is in our home, and the releases share it


@dataclass(frozen=True)
class Server:
    """A row: its name, the package or program that has its version, and its command as one would write it."""

    name: str
    package: str
    command: str
    about: str = ""  # what one has to know about the command
    cannot: str = ""  # why there is nothing to test: the command is run all the same, for its own words

    @property
    def version(self) -> str:
        return version(self.package)

    @property
    def argv(self) -> list[str]:
        """The command, with the programs of the field's environment."""
        words = shlex.split(self.command)
        if words[0] == "gapless":
            return [sys.executable, "-m", *words]
        if (BIN / words[0]).exists():
            words[0] = str(BIN / words[0])
        return [str(ROOT / word) if word.startswith(("bench/", "examples/")) else word for word in words]


SERVERS = (
    Server("gapless serve, ASGI", "gapless", "gapless serve app:app"),
    Server("gapless serve, ASGI, 4 workers", "gapless", "gapless serve --workers 4 app:app"),
    Server("gapless serve, WSGI", "gapless", "gapless serve app:wsgi"),
    Server("gapless serve, WSGI, 4 workers", "gapless", "gapless serve --workers 4 app:wsgi"),
    Server("uvicorn", "uvicorn", f"uvicorn app:app --fd 3 {BACKLOG} --timeout-graceful-shutdown 6"),
    Server("uvicorn, h11", "uvicorn", f"uvicorn app:app --fd 3 --http h11 {BACKLOG} --timeout-graceful-shutdown 6"),
    Server("hypercorn", "hypercorn", f"hypercorn app:app --bind fd://3 {BACKLOG} {ENDS}"),
    Server("daphne", "daphne", "daphne --fd 3 app:app"),
    Server(
        "granian",
        "granian",
        "granian --interface asgi --uds granian.sock app:app",
        cannot="no option for a socket that it is handed, and LISTEN_FDS says nothing to it: it binds one of its own",
    ),
    Server("aiohttp", "aiohttp", "python bench/scorecard/aiohttp_app.py", "`web.run_app(app, sock=…)`"),
    Server("gunicorn sync", "gunicorn", f"gunicorn app:wsgi --preload {GUNICORN}"),
    Server("gunicorn gthread", "gunicorn", f"gunicorn app:wsgi --preload -k gthread --threads 8 {GUNICORN}"),
    Server("gunicorn gthread, no preload", "gunicorn", f"gunicorn app:wsgi -k gthread --threads 8 {GUNICORN}"),
    Server(
        "gunicorn gthread, as advised",
        "gunicorn",
        f"gunicorn app:wsgi --preload -k gthread --threads 8 --keep-alive 0 {GUNICORN}",
        "with docs/servers.md's settings",
    ),
    Server("gunicorn asgi", "gunicorn", f"gunicorn app:app --preload -k asgi {GUNICORN}"),
    Server(
        "gunicorn, uvicorn's worker",
        "uvicorn-worker",
        f"gunicorn app:app --preload -k uvicorn_worker.UvicornWorker {GUNICORN}",
    ),
    Server("waitress", "waitress", f'python -c "{WAITRESS}"', "its command takes no descriptor, its function does"),
    Server("puma", "puma", "puma --config puma.rb", 'puma.rb says `bind_to_activated_sockets "only"`'),
    Server("puma, as advised", "puma", "puma --config examples/puma/puma.rb", "with docs/servers.md's settings"),
    Server(
        *("Node", "node", "node server.js"),
        "`server.close()` at SIGTERM, `closeAllConnections()` 6 s later; `headersTimeout` as told",
    ),
    Server("Node, as advised", "node", "node server.js linger", "ends as examples/node/server.js does"),
)


def version(package: str) -> str:
    """The version of a package of the field, or of a program."""
    if package == "gapless":
        return importlib.metadata.version("gapless")
    if package in ELSEWHERE:
        said = subprocess.run([package, "--version"], capture_output=True, text=True, check=True).stdout
        return said.split()[2 if package == "puma" else 0].removeprefix("v")
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([BIN / "python", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def install() -> None:
    """Bring the field's newest versions into an environment of their own."""
    if not BIN.exists():
        venv.create(PLACE, with_pip=True)
    pip = [str(BIN / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--upgrade"]
    subprocess.run([*pip, *PACKAGES], check=True)
