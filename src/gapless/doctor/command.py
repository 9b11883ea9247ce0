"""The commands of gapless.toml: whether they keep the socket, are there, and may run in the sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from gapless.address import left_out
from gapless.config.settings import Config, Serve
from gapless.doctor.finding import Finding, Severity
from gapless.linux.elf import has_executable_stack
from gapless.linux.files import open_regular
from gapless.switch.systemd import units

# Programs that become the next one (execve(2)): the process stays the one that systemd started.
BECOME = {"env", "nice", "ionice", "chrt", "nohup", "setpriv", "stdbuf"}
# Programs that start another one and wait for it: LISTEN_PID is theirs, and the server finds no socket.
START = {"uv run", "uvx", "npm", "npx", "yarn", "pnpm", "make", "sudo", "su", "runuser"}
# Programs that do the one or the other, by version and by what they are told.
EITHER = {"sh", "bash", "dash", "zsh", "poetry run", "pipenv run"}
JIT = {"node", "java", "deno", "bun", "dotnet"}  # they make code while they run


def wrapper(argv: Sequence[str]) -> Finding:
    """Whether a program between the manager and the server loses the held sockets."""
    words = inner(argv)
    name = Path(words[0]).name
    names = {name, " ".join([name, *words[1:2]])}
    hint = "name the server's own program, for example .venv/bin/gunicorn"
    if found := names & START:
        what = f"`{found.pop()}` starts the server as a child, without the held socket (LISTEN_PID)"
        return Finding("command", Severity.FAILED, what, hint)
    if (found := names & EITHER) and not any(word.startswith("exec ") for word in words[1:3]):
        what = f"`{found.pop()}` may start the server as a child, without the held socket (LISTEN_PID)"
        return Finding("command", Severity.WARNING, what, f"{hint}; or begin a shell's command with `exec`")
    return Finding("command", Severity.OK, f"{name} gets the held socket itself")


def limits(config: Config) -> Finding:
    """Whether what [serve] sets is the server's: another one than `gapless serve` has limits of its own."""
    if config.served_by_us or config.serve == Serve():
        return Finding("visitors", Severity.OK, "no limit is set in vain")
    what = f"[serve] is for `gapless serve`, and the command is {Path(config.argv[0]).name}: it bounds no visitor"
    return Finding(
        "visitors", Severity.WARNING, what, "set the server's own limits, and take [serve] out of gapless.toml"
    )


def families(config: Config) -> list[Finding]:
    """Whether visitors come in over IPv4 as over IPv6, where `listen` reads as if they did; nothing where they do."""
    missing = left_out(config.addresses)
    if not missing:
        return []
    what = f"nobody listens on {' or '.join(missing)}: of a server other than `gapless serve` it is not known whether"
    more = ", ".join(f'"{one}"' for one in [*config.addresses, *missing])
    hint = f"listen = [{more}], if it takes every socket that it is handed"
    return [Finding("listen", Severity.WARNING, f"{what} it takes more than one socket", hint)]


def inner(argv: Sequence[str]) -> Sequence[str]:
    """The command less what only becomes it: `env A=b nice -n 5 server` is `server`."""
    rest = list(argv)
    while len(rest) > 1 and Path(rest[0]).name in BECOME:
        rest.pop(0)
        while len(rest) > 1 and (rest[0].startswith("-") or "=" in rest[0] or rest[0].isdecimal()):
            rest.pop(0)
    return rest


def programs(config: Config, directory: Path, path: str, *, sandboxed: bool, homes_hidden: bool) -> Finding:
    """Whether every program of the release in `directory` can be executed, which looks for it on `path`.

    With `homes_hidden` it must not be where the sandbox hides it; without `sandboxed` (no systemd) nothing forbids
    anything. Raises PermissionError when the caller may not look into `directory`.
    """
    os.scandir(directory).close()
    for argv in [*units.commands(config), *config.hooks.argvs]:
        program = units.program(argv[0], directory, path)
        found = _executable(argv[0], program, hidden=homes_hidden)
        if found is None and sandboxed and not config.sandbox.jit:
            found = _jit(argv, program, directory)
        if found is not None:
            return found
    return Finding("programs", Severity.OK, f"every program of {directory.name} is there")


def _executable(written: str, program: Path, *, hidden: bool) -> Finding | None:
    if hidden and (where := _hidden(program)):
        what = f"{where} is hidden from the app (ProtectHome, PrivateTmp): {written} cannot be executed"
        hint = "install it into the release (its .venv, with copies of no home's Python) or under /usr/local"
        return Finding("programs", Severity.FAILED, what, hint)
    if not program.is_absolute() or not os.path.lexists(program):
        hint = "is it installed, for all users? the build can also put it into the release, under .venv/bin"
        return Finding("programs", Severity.FAILED, f"there is no {written}", hint)
    if not os.access(program, os.X_OK):
        return Finding("programs", Severity.FAILED, f"{program} is not executable", f"chmod +x {written}, then deploy")
    return None


def _hidden(program: Path) -> Path | None:
    shown = [Path(one) for one in units.visible(program)]
    for path in _chain(program):
        inside = any(path.is_relative_to(home) for home in units.HIDDEN)
        if inside and not any(path.is_relative_to(one) for one in shown):
            return path
    return None


def _chain(program: Path) -> Iterator[Path]:
    """The program, what its links lead to, and the same of the interpreter of a script."""
    yield program
    yield Path(os.path.realpath(program))
    if words := _interpreter(program):
        yield Path(words[0])
        yield Path(os.path.realpath(words[0]))


def _interpreter(program: Path) -> list[str]:
    """The words of a script's first line; none when it is no script, no file, or not ours to read."""
    try:
        with open_regular(program) as file:  # a release may link to what the app puts there
            first = file.readline(256)
    except OSError:
        return []
    return os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []


def _jit(argv: Sequence[str], program: Path, directory: Path) -> Finding | None:
    words = inner(argv)
    last = program if words[0] == argv[0] else units.program(words[0], directory)
    names = {Path(words[0]).name, *(Path(word).name for word in _interpreter(last))}
    found = names & JIT
    if "php" in names and any("jit" in word for word in words):
        found.add("php")
    if found:
        what = f"{found.pop()} makes code while it runs, and the sandbox forbids it (MemoryDenyWriteExecute)"
    elif stack := next((one for one in _chain(last) if has_executable_stack(one)), None):
        what = f"{stack} asks for an executable stack, and in the sandbox starts no thread (MemoryDenyWriteExecute)"
    else:
        return None
    return Finding("programs", Severity.FAILED, what, "in gapless.toml: [sandbox] jit = true")
