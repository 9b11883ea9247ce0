"""What a release runs with, fixed when it is made: its variables and its secrets. A rollback brings both back.

`home`/env/R.env has the syntax of systemd's EnvironmentFile= (systemd.exec(5)); `home`/secrets/R has a file for each
secret.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from gapless import variables
from gapless.assignments import assignment, parse
from gapless.config import FILE
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.home import Home
from gapless.linux.disk import refusal

PROGRAMS = ".venv/bin"  # of a release
OURS = (variables.PREFIX, "LISTEN_", "NOTIFY_", "WATCHDOG_")  # how the manager and its instances speak with each other
# What a value may use, and nothing else: the same under every manager, of which one expands and the other does not.
USED = re.compile(r"\$(?:\{(VALUES)\}|(VALUES)\b)".replace("VALUES", f"{variables.SHARED}|{variables.RELEASE}"))


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
    if config.build.env:
        _write(build_file(home, release), _text(home, release, config.build.env).encode())
    if config.check.headers:
        headers = assignment(variables.CHECK_HEADERS, check_headers(config), release)
        _write(check_file(home, release), headers.encode())
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
        had = _secret_values(home, release)
    except OSError as error:
        raise refusal("compare the environment of", release, error) from error
    after = parse(text.encode(), variables_file(home, release))
    return _names((read(home, release), had), (after, wanted))


def between(home: Path, before: str, after: str) -> list[str]:
    """Name the variables and secrets of which two releases have other values, never a value. Raises GaplessError.

    Where a value has the name of its own release in it, the other has another one of course.
    """
    try:
        had, has = _secret_values(home, before), _secret_values(home, after)
    except OSError as error:
        raise refusal("compare the environment of", after, error) from error
    one, other = (
        {name: value.replace(release, "") for name, value in read(home, release).items()} for release in (before, after)
    )
    return _names((one, had), (other, has))


def _secret_values(home: Path, release: str) -> dict[str, bytes]:
    there = secrets(home, release)
    return {one.name: one.read_bytes() for one in there.iterdir()} if there.is_dir() else {}


def _names(
    before: tuple[Mapping[str, str], Mapping[str, bytes]], after: tuple[Mapping[str, str], Mapping[str, bytes]]
) -> list[str]:
    """The variables and the secrets, by name, that are not the same."""
    kinds = zip(("variable", "secret"), before, after, strict=True)
    return [
        f"{kind} {name}" for kind, one, other in kinds for name in {**one, **other} if one.get(name) != other.get(name)
    ]


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
    if taken := ", ".join(name for name in variables | config.build.env if name.startswith(OURS)):
        hint = f"names that begin with {', '.join(OURS)} are the manager's: choose others"
        raise GaplessError("fix", f"the environment of {release}", f"{taken} is not the app's to set", hint, status=2)
    secret_values = {name: read(project / secret) for name, secret in config.secrets.items()}
    return _text(home, release, variables), secret_values


def _text(home: Path, release: str, given: Mapping[str, str]) -> str:
    """What is `given` as a release finds it: what a value uses is put in, and its own programs come before all others.

    Here, and not by who starts it: systemd lets no unit say more than what is in the file.
    """
    described = Home(home)
    handed = handed_over(described, release)
    values = {name: USED.sub(lambda found: handed[found[1] or found[2]], value) for name, value in given.items()}
    if "PATH" in values:
        values["PATH"] = search_path(described.releases / release, values["PATH"])
    return "".join(assignment(name, value, release) for name, value in values.items())


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


def handed_over(home: Home, release: str) -> dict[str, str]:
    """What every program of `release` finds in its environment from us."""
    return {variables.RELEASE: release, variables.SHARED: str(home.shared.absolute())}


def check_headers(config: Config) -> str:
    """The headers that its check is asked with, as one variable."""
    return "\t".join(f"{name}={value}" for name, value in config.check.headers.items())


def search_path(directory: Path, path: str) -> str:
    """PATH in the release's `directory`: its own virtual environment, then `path`, then where `gapless` is.

    One that is made so already stays as it is.
    """
    own = str(directory.absolute() / PROGRAMS)
    return path if path.startswith(own) else os.pathsep.join([own, path, str(Path(sys.executable).parent)])


def secrets(home: Path, release: str) -> Path:
    """The directory of the release's secrets, absolute; it does not exist when there are none."""
    return (Home(home).secrets / release).absolute()


def forget(home: Path, release: str) -> None:
    """Remove what `fix`, `take_settings` and `take_content` wrote, whole or half; already gone is no error.

    Raises GaplessError.
    """
    described = Home(home)
    _forget(
        *(variables_file(home, release), build_file(home, release), check_file(home, release)),
        secrets(home, release),
        *(described.settings(release), described.content(release)),
    )


def _forget(*paths: Path) -> None:
    for path in paths:
        for one in (path, *path.parent.glob(f".{path.stem}-*")):  # the latter are half-written
            _remove(one)


def variables_file(home: Path, release: str) -> Path:
    """The file with the release's variables, absolute."""
    return (Home(home).env / f"{release}.env").absolute()


def build_file(home: Path, release: str) -> Path:
    """The file with the variables that its build alone gets, over those of the release; absolute, and none is none."""
    return (Home(home).env / f"{release}.build.env").absolute()


def check_file(home: Path, release: str) -> Path:
    """The file with the headers that its check is asked with, a login say; absolute, and none is none.

    systemd shows everybody what is in a unit itself.
    """
    return (Home(home).env / f"{release}.check.env").absolute()


def _scratch(parent: Path, prefix: str) -> Path:
    """A new directory of mode 0700."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise refusal("remove", str(path), error) from error
