"""What a release runs with, fixed when it is made: its variables and its secrets. A rollback brings both back.

`home`/env/R.env has the syntax of systemd's EnvironmentFile= (systemd.exec(5)); `home`/secrets/R has a file for each
secret.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from gapless import variables
from gapless.config import FILE, VARIABLE, Config
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux import procfs
from gapless.linux.disk import refusal

PROGRAMS = ".venv/bin"  # of a release
OURS = (variables.PREFIX, "LISTEN_", "NOTIFY_", "WATCHDOG_")  # how the manager and its instances speak with each other
# What systemd tells the one process that it starts (systemd.exec(5), "Environment variables in spawned processes").
TOLD = {
    *("CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM", "LOG_NAMESPACE", "DEBUG_INVOCATION", "PIDFILE"),
    *("MAINPID", "MAINPIDFDID", "MANAGERPID", "MANAGERPIDFDID", "SYSTEMD_EXEC_PID", "FDSTORE"),
    *("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS", "REMOTE_ADDR", "REMOTE_PORT"),
    *(f"{kind}_DIRECTORY" for kind in ("RUNTIME", "STATE", "CACHE", "LOGS", "CONFIGURATION")),
}
TOLD_PREFIXES = ("MEMORY_PRESSURE_", "MONITOR_", "TRIGGER_")
# What a value may use, and nothing else: the same under every manager, of which one expands and the other does not.
USED = re.compile(r"\$(?:\{(VALUES)\}|(VALUES)\b)".replace("VALUES", f"{variables.SHARED}|{variables.RELEASE}"))
BLANK = re.compile(r"[ \t\r]*(?:#[^\n]*)?(?:\n|\Z)")
ASSIGNMENT = re.compile(
    rf"[ \t]*(?:export[ \t]+)?(?P<name>{VARIABLE.pattern})[ \t]*=(?:"
    r"""[ \t]*"(?P<double>[^"\\]*(?:\\.[^"\\]*)*)"|"""
    r"""[ \t]*'(?P<single>[^']*)'|"""
    r"""(?P<bare>(?![ \t]*["'])[^\n]*?)"""
    r")(?:[ \t]+#[^\n]*)?[ \t\r]*(?:\n|\Z)",
    re.DOTALL,
)


def fix(
    home: Path, release: str, config: Config, project: Path, read: Callable[[Path], bytes] = Path.read_bytes
) -> None:
    """Write down what `release` runs with, from the files in `project` that `config` names; again changes nothing.

    `read` reads those. Raises GaplessError that names the files that are missing, or the line that is no assignment;
    never a value.
    """
    try:
        if not variables_file(home, release).exists():
            _forget(variables_file(home, release), secrets(home, release))  # what a killed one left
            _fix(home, release, config, project, read)
    except OSError as error:
        raise refusal("fix the environment of", release, error) from error


def _fix(home: Path, release: str, config: Config, project: Path, read: Callable[[Path], bytes]) -> None:
    text, secret_values = _wanted(home, release, config, project, read)
    if config.secrets:
        directory = secrets(home, release)
        incoming = _scratch(directory.parent, f".{release}-")
        for name, value in secret_values.items():
            (incoming / name).touch(0o600)
            (incoming / name).write_bytes(value)
        incoming.rename(directory)
    _write(variables_file(home, release), text.encode())  # last: where it is, all is there


def differences(
    home: Path, release: str, config: Config, project: Path, reading: Callable[[Path], bytes] = Path.read_bytes
) -> list[str]:
    """Name the variables and secrets that `release`, made again by `fix`, would have with other values.

    Never a value. Raises GaplessError, as `fix` does.
    """
    try:
        text, wanted = _wanted(home, release, config, project, reading)
        there = secrets(home, release)
        had = {one.name: one.read_bytes() for one in there.iterdir()} if there.is_dir() else {}
    except OSError as error:
        raise refusal("compare the environment of", release, error) from error
    file = variables_file(home, release)
    before, after = read(home, release), parse(text.encode(), file)
    changed = [f"variable {name}" for name in before | after if before.get(name) != after.get(name)]
    return [*changed, *(f"secret {name}" for name in had | wanted if had.get(name) != wanted.get(name))]


def check(config: Config, project: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> None:
    """Refuse what `fix` would refuse of the files in `project`, before there is a release. Raises GaplessError."""
    try:
        _wanted(Path(), "the next release", config, project, read)
    except OSError as error:
        raise refusal("fix the environment of", "the next release", error) from error


def _wanted(
    home: Path, release: str, config: Config, project: Path, read: Callable[[Path], bytes]
) -> tuple[str, dict[str, bytes]]:
    """The text of the variables' file, and the secrets by their names."""
    wanted = [project / path for path in (config.env_file, *config.secrets.values()) if path]
    if outside := [str(path) for path in wanted if not path.resolve().is_relative_to(project.resolve())]:
        # The release's own gapless.toml names them, and root reads them for it.
        hint = "copy it into the project's directory (git need not see it)"
        raise GaplessError("read", ", ".join(outside), "it is not in the project's directory", hint)
    if missing := [str(path) for path in wanted if not path.is_file()]:
        hint = "create it (it is relative to the project's directory), or take it out of gapless.toml"
        raise GaplessError("read", ", ".join(missing), "there is no such file", hint)
    variables: dict[str, str] = {}
    if config.env_file:
        path = project / config.env_file
        variables = parse(read(path), path)
    variables |= config.env
    if taken := ", ".join(name for name in variables if name.startswith(OURS)):
        hint = f"names that begin with {', '.join(OURS)} are the manager's: choose others"
        raise GaplessError("fix", f"the environment of {release}", f"{taken} is not the app's to set", hint, status=2)
    handed = handed_over(Home(home), release)
    variables = {name: USED.sub(lambda found: handed[found[1] or found[2]], value) for name, value in variables.items()}
    text = "".join(assignment(name, value, release) for name, value in variables.items())
    return text, {name: read(project / secret) for name, secret in config.secrets.items()}


def take_settings(home: Path, release: str) -> None:
    """Copy the gapless.toml of `release` to where its build and its app cannot write. Raises OSError."""
    described = Home(home)
    _write(described.settings(release), (described.releases / release / FILE).read_bytes())


def take_content(home: Path, release: str, digest: str) -> None:
    """Write down the digest of what `release` is made of. Raises OSError."""
    _write(Home(home).content(release), digest.encode())


def _write(file: Path, content: bytes) -> None:
    """Make `file` (mode 0600) by one rename."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, new = tempfile.mkstemp(prefix=f".{file.stem}-", dir=file.parent)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
    Path(new).rename(file)


def read(home: Path, release: str) -> dict[str, str]:
    """The variables of `release`; its own [env] when it was made by a gapless that fixed none. Raises GaplessError."""
    file = variables_file(home, release)
    try:
        return parse(file.read_bytes(), file)
    except FileNotFoundError:
        return dict(Home(home).config(release).env)
    except OSError as error:
        raise refusal("read the environment of", release, error) from error


def inherited() -> dict[str, str]:
    """Our own variables but those by which a manager speaks with us: for a process that is not the one it started."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in TOLD and not name.startswith((*OURS, *TOLD_PREFIXES))
    }


def handed_over(home: Home, release: str) -> dict[str, str]:
    """What every program of `release` finds in its environment from us."""
    return {variables.RELEASE: release, variables.SHARED: str(home.shared.absolute())}


def for_server(home: Home, config: Config, private: str) -> dict[str, str]:
    """Name the variables that only the server of a release gets; without a `private` socket it is rehearsed."""
    return {
        **({variables.ASSETS: str(home.public.absolute())} if config.assets.paths else {}),
        **({variables.PRIVATE: private} if private else {}),
        variables.CHECK: config.check.path,
        variables.CHECK_HOST: config.check.host,
        variables.CHECK_SCHEME: config.check.scheme,
        variables.CHECK_HEADERS: "\t".join(f"{name}={value}" for name, value in config.check.headers.items()),
        variables.CHECK_TIMEOUT: str(float(config.check.timeout)),
        variables.LINGER: str(float(config.drain.linger)),
        variables.REQUESTS: str(float(config.drain.requests)),
        variables.STREAMS: str(float(config.drain.streams)),
        variables.HEAD_TIMEOUT: str(float(config.serve.head_timeout)),
        variables.HEAD_SIZE: str(config.serve.head_size),
        variables.BODY_TIMEOUT: str(float(config.serve.body_timeout)),
    }


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


def search_path(directory: Path, path: str) -> str:
    """PATH in the release's `directory`: its own virtual environment, then `path`, then where `gapless` is."""
    return os.pathsep.join([str(directory.absolute() / PROGRAMS), path, str(Path(sys.executable).parent)])


def secrets(home: Path, release: str) -> Path:
    """The directory of the release's secrets, absolute; it does not exist when there are none."""
    return (Home(home).secrets / release).absolute()


def forget(home: Path, release: str) -> None:
    """Remove what `fix`, `take_settings` and `take_content` wrote, whole or half; already gone is no error.

    Raises GaplessError.
    """
    described = Home(home)
    _forget(
        variables_file(home, release), secrets(home, release), described.settings(release), described.content(release)
    )


def _forget(*paths: Path) -> None:
    for path in paths:
        for one in (path, *path.parent.glob(f".{path.stem}-*")):  # the latter are half-written
            _remove(one)


@contextlib.contextmanager
def shelter(home: Path, release: str, owner: str) -> Iterator[Path]:
    """A directory with the release's secrets that only the user `owner` can read; "" is whoever calls.

    Inside the block alone; like `secrets`, it does not exist when there are none. Raises GaplessError.
    """
    real = secrets(home, release)
    if not owner or not real.is_dir():
        yield real
        return
    with contextlib.ExitStack() as undo:
        try:
            if os.geteuid() == 0:
                copy = _scratch(Path("/run"), f"gapless-{release}-")  # in memory, and others may pass through it
            else:
                copy = _scratch(real.parent, f".{release}-")
            undo.callback(_remove, copy)
            for secret in real.iterdir():
                _copy(secret, copy / secret.name, 0o400)
                shutil.chown(copy / secret.name, owner)
            copy.chmod(0o500)
            shutil.chown(copy, owner)
        except (OSError, LookupError) as error:
            raise refusal(f"give {owner} the secrets of", release, error) from error
        yield copy


def parse(content: bytes, path: Path) -> dict[str, str]:
    """The variables in NAME=value lines; quotes mean what they mean to a shell, and nothing is expanded.

    `path` is for messages. Raises GaplessError that names the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise GaplessError("read", str(path), f"line {line} is not UTF-8") from None  # it has the whole content
    variables, position = {}, 0
    while position < len(text):
        found = BLANK.match(text, position)
        if found is None:
            found = ASSIGNMENT.match(text, position)
            if found is None or "\0" in found[0]:
                line = text.count("\n", 0, position) + 1
                cause = f"line {line} is not NAME=value, or its quotes are not closed, or it has a NUL byte"
                hint = 'for example: GREETING="several words"; a name consists of letters, digits and _'
                raise GaplessError("read", str(path), cause, hint)
            variables[found["name"]] = _value(found)
        position = found.end()
    return variables


def _value(found: re.Match[str]) -> str:
    if found["double"] is not None:
        return re.sub(r'\\(["\\$`]|\n)', lambda escaped: escaped[1].strip("\n"), found["double"])
    return found["single"] if found["single"] is not None else found["bare"].strip(" \t\r")


def assignment(name: str, value: str, release: str) -> str:
    if "\0" in value or value.encode(errors="ignore").decode() != value:
        raise GaplessError("fix", f"`{name}` of {release}", "its value has a NUL byte or is not text")
    escaped = re.sub(r'(["\\$`])', r"\\\1", value)
    return f'{name}="{escaped}"\n'


def variables_file(home: Path, release: str) -> Path:
    """The file with the release's variables, absolute."""
    return (Home(home).env / f"{release}.env").absolute()


def _scratch(parent: Path, prefix: str) -> Path:
    """A new directory of mode 0700."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def _copy(path: Path, copy: Path, mode: int) -> None:
    shutil.copyfile(path, copy)
    copy.chmod(mode)


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            path.chmod(0o700)  # a shelter's owner may only read it
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise refusal("remove", str(path), error) from error
