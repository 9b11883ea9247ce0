"""An app's installation on a host: the pieces that `gapless up` makes and `gapless down` removes, in their order."""

from __future__ import annotations

from pathlib import Path

from gapless.config.settings import Config
from gapless.linux.disk import refusal
from gapless.provision import host
from gapless.provision.account import Account
from gapless.provision.directories import Directories
from gapless.provision.identity import Identity
from gapless.provision.litestream import LitestreamPiece
from gapless.provision.needrestart import Needrestart
from gapless.provision.pieces import Piece
from gapless.provision.processes import Processes
from gapless.provision.settings import Settings
from gapless.provision.site import Site
from gapless.provision.socket import SocketUnit
from gapless.provision.uploads import Uploads
from gapless.switch.systemd.home import SystemdHome


class Installation:
    """The pieces of the app at `home`; without a `current` release the socket stays closed.

    `adopt` lets users and groups of the app's name run it that gapless did not make. What is not in `config` comes from
    the directory `project`; without it what is there is taken for right.
    """

    def __init__(
        self,
        config: Config,
        home: SystemdHome,
        current: str | None,
        *,
        adopt: bool = False,
        project: Path | None = None,
    ) -> None:
        self.config = config
        self.home = home
        self.socket = SocketUnit(config, home, current)
        self.site = Site(config, home)
        accounts = [
            Account(home, home.owner, home.shared, adopt),
            Account(home, home.builder, home.cache, adopt),
        ]
        self.pieces: list[Piece] = [
            *accounts,
            Directories(home),
            Processes(accounts),
            Settings(home),
            Identity(config, home),
            LitestreamPiece(config, home, first=not current, project=project),
            self.socket,
            Uploads(config, home),
            self.site,
            Needrestart(home),
        ]

    def missing(self) -> list[str]:
        """What `make` would do, in sentences. Raises GaplessError when something foreign is in the way."""
        host.refuse_foreign(self.home)
        host.refuse_taken(self.config, self.home)
        host.refuse_in_use(self.config, self.home, self.socket.current)
        return [sentence for piece in self.pieces for sentence in piece.missing()]

    def make(self) -> None:
        """Make what is missing; repeated or resumed after a kill it does the rest. Raises GaplessError."""
        host.verify(self.config, self.home)
        try:
            for piece in self.pieces:
                piece.make()
        except OSError as error:
            raise refusal("install", self.home.name, error) from error

    def remove(self, *, data: bool) -> list[str]:
        """Remove all, the last piece first; what went. Raises GaplessError."""
        try:
            gone = [one for piece in reversed(self.pieces) for one in piece.remove(data=data)]
            return gone + self.socket.forget()  # last: until then a killed `down` can be repeated
        except OSError as error:
            raise refusal("remove", self.home.name, error) from error
