"""Looking ahead in a file that is read from front to back."""

from collections.abc import Callable

from .source import Reader, seekable

READ_BYTES = 2 << 20
"""One read: enough for several chunks, small enough that its memory is used again at once."""


class Window:
    """The bytes from the current position on, as many as are asked for; holes told apart.

    ``consumed`` is called with the bytes that are left behind, holes included. ``seekable`` is the
    reader if it can read anywhere.
    """

    def __init__(self, reader: Reader, consumed: Callable[[int], None]) -> None:
        self._reader = reader
        self.seekable = seekable(reader)
        self._consumed = consumed
        self._view = memoryview(b"")
        self._hole = 0
        self._ended = False
        self.position = 0

    def look(self, length: int) -> memoryview:
        """Return at least ``length`` bytes from here on, fewer only before a hole or the end.

        The view stays valid; what lies behind it may be more than was asked for.
        """
        if len(self._view) < length:
            parts = [self._view] if self._view else []
            have = len(self._view)
            while have < length and self._can_read_on():
                data = self._reader.read(max(READ_BYTES, length - have))
                self._ended = not data
                parts.append(memoryview(data))
                have += len(data)
            self._view = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
        return self._view

    def _can_read_on(self) -> bool:
        if self._hole or self._ended:
            return False
        self._hole = self._reader.hole()
        return not self._hole

    def skip(self, length: int) -> None:
        """Leave bytes behind; beyond what was looked at only where the reader can seek."""
        self.position += length
        self._consumed(length)
        if length <= len(self._view):
            self._view = self._view[length:]
            return
        if self.seekable is None:
            raise ValueError("a stream is skipped only as far as it was looked at")
        self._view = memoryview(b"")
        self._hole = 0
        self.seekable.seek(self.position)

    def hole(self, limit: int | None = None) -> int:
        """Skip the hole at this position, at most ``limit`` bytes of it; return its length."""
        if self._view:
            return 0
        if not self._hole:
            self._can_read_on()
        length = self._hole if limit is None else min(limit, self._hole)
        self._hole -= length
        self.position += length
        if length:
            self._consumed(length)
        return length
