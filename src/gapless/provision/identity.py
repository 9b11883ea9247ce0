"""Which project an app is of: two projects of one name must not replace each other's site."""

from __future__ import annotations

from dataclasses import dataclass

from gapless.config import FILE
from gapless.config.settings import Config
from gapless.errors import GaplessError
from gapless.linux.disk import refusal
from gapless.linux.files import replace
from gapless.switch.systemd.home import SystemdHome


@dataclass(frozen=True)
class Identity:
    """The `id` in `config`, and the one that the app in `home` is known by; without either the name alone decides."""

    config: Config
    home: SystemdHome

    @property
    def known(self) -> str:
        """The id of the project that the app is of; "" where none was ever told."""
        try:
            return self.home.identity.read_text("utf-8", "replace").strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise refusal("read", str(self.home.identity), error) from error

    def refuse_another(self, *, take_over: bool) -> None:
        """Refuse another project's app, unless it is to be this one's. Raises GaplessError that names both."""
        known, wanted = self.known, self.config.id
        if known and wanted and known != wanted and not take_over:
            name = self.home.name
            cause = f"it is the app of another project: its id is {known}, and {FILE} says {wanted}"
            hint = f"give this project another `name`; `gapless up --take-over` makes {name} this project's"
            raise GaplessError("act on", name, cause, hint, status=2)

    def missing(self) -> list[str]:
        wanted = self.config.id
        return [f"Know {self.home.name} by the id {wanted}."] if wanted and wanted != self.known else []

    def make(self) -> None:
        if self.config.id:
            replace(self.home.identity, f"{self.config.id}\n")

    def remove(self, *, data: bool) -> list[str]:  # noqa: ARG002 -- it is in the app's directory, and goes with it
        """Nothing: as long as there is data of the app, it is this project's."""
        return []
