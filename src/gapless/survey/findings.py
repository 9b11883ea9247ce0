"""What a survey found: what goes into gapless.toml, and what only the project's author can do."""

from __future__ import annotations

from dataclasses import dataclass, field

FACTORY, APP_DIR = "--factory", "--app-dir"
AGAIN = "then `rm gapless.toml` and `gapless init` again"


@dataclass(frozen=True)
class Installs:
    """The lines that install what the project needs, and the command that adds something to it."""

    lines: tuple[str, ...]
    add: str


@dataclass
class Findings:
    """Of one project; empty where nothing was found. `todo` are sentences, each with the line to write."""

    app: str = ""  # MODULE:APP
    command: str = ""  # of another server than ours; then there is no app
    jit: bool = False  # whether it makes machine code while it runs
    kind: str = ""  # its framework
    options: list[str] = field(default_factory=list)  # of `gapless serve`
    build: list[str] = field(default_factory=list)  # after what installs
    migrate: str = ""
    page: str | None = None  # what a check can ask for; None: nobody looked
    pages: list[str] = field(default_factory=list)  # among which the author may find one
    host: str = ""  # that the app expects
    https: bool = False  # whether the app insists on it
    env: dict[str, str] = field(default_factory=dict)
    installs: Installs | None = None  # None: nothing is known to
    assets: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    processes: dict[str, str] = field(default_factory=dict)  # commands that run beside the server
    todo: list[str] = field(default_factory=list)
