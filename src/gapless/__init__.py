"""Take over a listening socket correctly, and let go of it correctly. Standard library only."""

from gapless import notify
from gapless.errors import GaplessError
from gapless.listen import listen

__all__ = ["GaplessError", "listen", "notify"]
