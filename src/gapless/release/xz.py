"""What an .xz file holds, read in little memory: the file itself says how much its reader is to take, up to 4 GiB.

Python's LZMAFile has no bound of that; its decompressor has.
"""

from __future__ import annotations

import io
import lzma
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

MEMORY = 128 << 20  # bytes: `xz -9` makes files that take 65 MiB
PART = 1 << 18  # bytes that are read at a time
GREEDY = f"to unpack it takes more than {MEMORY >> 20} MiB of memory"


class GreedyError(lzma.LZMAError):
    """It would take more than MEMORY."""


class XzFile(io.RawIOBase):
    """The file at `path`, decompressed; to seek backwards begins anew. Reading raises LZMAError, EOFError, OSError."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._begin()

    def _begin(self) -> None:
        self._file.seek(0)
        self._position = 0
        self._stream = lzma.LZMADecompressor(memlimit=MEMORY)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to `offset` from the start, or as far as there is something."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("where a compressed file ends is not known")
        if offset < self._position:
            self._begin()
        while self._position < offset and self.read(min(offset - self._position, PART)):
            pass
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        while len(view):
            if self._stream.eof and not self._next():
                break
            compressed = self._file.read(PART) if self._stream.needs_input else b""
            if self._stream.needs_input and not compressed:
                raise EOFError("it ends before its end-of-stream marker")
            part = self._decompress(compressed, len(view))
            if part:
                view[: len(part)] = part
                self._position += len(part)
                return len(part)
        return 0

    def _next(self) -> bool:
        """Begin the stream that follows, several may; False where there is none."""
        rest = (self._stream.unused_data or self._file.read(PART)).lstrip(b"\0")  # between two there may be zeros
        if not rest:
            return False
        self._file.seek(-len(rest), io.SEEK_CUR)
        self._stream = lzma.LZMADecompressor(memlimit=MEMORY)
        return True

    def _decompress(self, compressed: bytes, most: int) -> bytes:
        try:
            return self._stream.decompress(compressed, most)
        except lzma.LZMAError as error:
            raise GreedyError(GREEDY) if "emory" in str(error) else error from None

    def close(self) -> None:
        self._file.close()
        super().close()
