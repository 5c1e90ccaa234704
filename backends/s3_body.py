"""What a request sends, without a copy and in pieces."""

from .base import Buffer

_PIECE_BYTES = 64 << 10
_AT_ONCE_BYTES = 256 << 10


class Body:
    """A buffer to be read like a file.

    A socket's time limit holds for one call, however much it is to send: a pack at once would fail
    on any slow line, in pieces of 64 KiB only one on which nothing moves does.
    """

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data)
        self._at = 0

    @classmethod
    def of(cls, data: Buffer) -> "bytes | Body":
        """Return what to give to botocore: small data as it is, which spares it a round trip."""
        return bytes(data) if len(data) <= _AT_ONCE_BYTES else cls(data)

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int = -1) -> memoryview:
        """Return the next bytes: at least a piece, whatever less is asked for."""
        left = len(self._view) - self._at
        count = left if size < 0 else min(left, max(size, _PIECE_BYTES))
        self._at += count
        return self._view[self._at - count : self._at]

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, as in a file."""
        self._at = offset + (0, self._at, len(self._view))[whence]
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at
