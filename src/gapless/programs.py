"""What the programs of a release are started with: the variables of the release, those of its manager, and ours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

from gapless import environment, variables
from gapless.assignments import parse
from gapless.config.settings import Config
from gapless.home import Home
from gapless.linux import procfs

# What systemd tells the one process that it starts (systemd.exec(5), "Environment variables in spawned processes").
TOLD = {
    *("CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM", "LOG_NAMESPACE", "DEBUG_INVOCATION", "PIDFILE"),
    *("MAINPID", "MAINPIDFDID", "MANAGERPID", "MANAGERPIDFDID", "SYSTEMD_EXEC_PID", "FDSTORE"),
    *("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS", "REMOTE_ADDR", "REMOTE_PORT"),
    *(f"{kind}_DIRECTORY" for kind in ("RUNTIME", "STATE", "CACHE", "LOGS", "CONFIGURATION")),
}
TOLD_PREFIXES = ("MEMORY_PRESSURE_", "MONITOR_", "TRIGGER_")


@dataclass(frozen=True)
class Inherited:
    """What a program has from the manager that runs its release, if not from us: variables, and a umask."""

    variables: Mapping[str, str]
    umask: int

    @classmethod
    def of(cls, pid: int) -> Inherited:
        """What the process `pid` was started with. Raises OSError."""
        return cls._less_told(procfs.variables(pid), procfs.umask(pid))

    @classmethod
    def ours(cls) -> Inherited:
        """What we have."""
        return cls._less_told(os.environ, procfs.umask("self"))

    @classmethod
    def _less_told(cls, given: Mapping[str, str], umask: int) -> Inherited:
        """Less that by which a manager speaks with the one process that it started."""
        ours = (*environment.OURS, *TOLD_PREFIXES)
        kept = {name: value for name, value in given.items() if name not in TOLD and not name.startswith(ours)}
        return cls(kept, umask)


def of_program(home: Home, release: str, given: Inherited, *, builds: bool = False) -> dict[str, str]:
    """The variables of a program of `release` where no unit says them. Raises GaplessError."""
    env = {**given.variables, **(for_build(home, release) if builds else {}), **environment.read(home.root, release)}
    if builds and (file := environment.build_file(home.root, release)).exists():
        env |= parse(file.read_bytes(), file)
    env["PATH"] = environment.search_path(home.releases / release, env.get("PATH") or os.defpath)
    credentials = environment.secrets(home.root, release)
    if credentials.is_dir():
        env["CREDENTIALS_DIRECTORY"] = str(credentials)
    return env | environment.handed_over(home, release)


def for_server(home: Home, config: Config, private: str, runtime: str) -> dict[str, str]:
    """Name the variables that only the server of a release gets; without a `private` socket it is rehearsed."""
    return {
        variables.RUNTIME: runtime,
        **({variables.ASSETS: str(home.public.absolute())} if config.assets.paths else {}),
        **({variables.UPLOADS: _uploads(home, config)} if config.uploads else {}),
        **({variables.PRIVATE: private} if private else {}),
        variables.CHECK: config.check.path,
        variables.CHECK_HOST: config.check.host,
        variables.CHECK_SCHEME: config.check.scheme,
        variables.CHECK_HEADERS: environment.check_headers(config),
        variables.CHECK_TIMEOUT: str(float(config.check.timeout)),
        variables.LINGER: str(float(config.drain.linger)),
        variables.REQUESTS: str(float(config.drain.requests)),
        variables.STREAMS: str(float(config.drain.streams)),
        variables.HEAD_TIMEOUT: str(float(config.serve.head_timeout)),
        variables.HEAD_SIZE: str(config.serve.head_size),
        variables.BODY_TIMEOUT: str(float(config.serve.body_timeout)),
    }


def _uploads(home: Home, config: Config) -> str:
    return "\t".join(f"{prefix}={home.shared.absolute() / one}" for prefix, one in config.uploads.items())


def for_build(home: Home, release: str) -> dict[str, str]:
    """Name the variables that only a build gets: what the app runs with belongs into the release, which is sealed."""
    own = {
        "UV_PYTHON_INSTALL_DIR": str((home.releases / release / ".python").absolute()),
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",  # else in poetry's cache, which belongs to no release
    }
    of_builder = {
        "UV_PYTHON_CACHE_DIR": str(home.cache / "uv-python"),  # else uv downloads that one again for each release
        "UV_LINK_MODE": "copy",  # the cache is another mount for a build: a link into it fails, and uv complains
    }
    return own | of_builder if home.builder else own


def at_work(home: Home) -> set[str]:
    """The releases of which any process runs: it works there, its program is from there, or it was started for it."""
    users = {0, os.geteuid()}
    with contextlib.suppress(FileNotFoundError):
        users.add(home.shared.stat().st_uid)  # whom the app runs as
    with contextlib.suppress(FileNotFoundError):
        users.add(home.cache.stat().st_uid)  # whom its builds run as
    return procfs.at_work(home.releases, f"{variables.SHARED}={home.shared}", variables.RELEASE, users, home.of_unit)
