"""Storing one file's content: cut, hand to the writer, gather the extents."""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

from . import codec
from .chunker import READ_BYTES, Chunker
from .extents import (
    INLINE_EXTENTS,
    LAYOUT_BLOBS,
    Content,
    Extent,
    encode_extents,
    is_list_end,
)
from .ids import Kind
from .progress import Reporter
from .source import Reader
from .writer import BlobWriter, StoredBlob


@dataclass(slots=True)
class Tally:
    """What a component brought: counts and bytes."""

    files: int = 0
    bytes: int = 0
    bytes_new: int = 0
    bytes_stored: int = 0

    def add(self, blob: StoredBlob) -> None:
        """Count a blob that was stored or found."""
        if blob.is_new:
            self.bytes_new += blob.raw_bytes
            self.bytes_stored += blob.stored_bytes


class PendingContent:
    """A file's content whose blobs may still be on their way to the store."""

    def __init__(self, writer: BlobWriter, tally: Tally) -> None:
        self._writer = writer
        self._tally = tally
        self._pending: deque[Future[StoredBlob] | Extent] = deque()
        self._extents: list[Extent] = []
        self._lists: list[tuple[Future[StoredBlob], int]] | None = None
        self._size_bytes = 0

    def add_blob(self, plain: bytes | memoryview) -> None:
        """Append a blob to the file."""
        self._pending.append(self._writer.submit(Kind.DATA, plain))
        self._drain()

    def add_hole(self, length: int) -> None:
        """Append a hole to the file."""
        self._pending.append(Extent(None, 0, length))
        self._drain()

    def _drain(self, *, wait: bool = False) -> None:
        while self._pending:
            first = self._pending[0]
            if isinstance(first, Future):
                if not wait and not first.done():
                    return
                blob = first.result()
                self._tally.add(blob)
                first = Extent(blob.id, 0, blob.raw_bytes)
            self._pending.popleft()
            self._append(first)

    def _append(self, extent: Extent) -> None:
        self._size_bytes += extent.length
        self._extents.append(extent)
        if self._lists is not None:
            if is_list_end(extent, len(self._extents)):
                self._end_list()
        elif len(self._extents) > INLINE_EXTENTS:
            earlier, self._extents = self._extents, []
            self._size_bytes -= sum(e.length for e in earlier)
            self._lists = []
            for known in earlier:
                self._append(known)

    def _end_list(self) -> None:
        if self._lists is None or not self._extents:
            return
        plain = codec.encode(encode_extents(self._extents))
        length = sum(e.length for e in self._extents)
        self._lists.append((self._writer.submit(Kind.EXTENTS, plain), length))
        self._extents = []

    def result(self) -> Content:
        """Return the content, waiting for its blobs.

        Raises:
            SnapError: one could not be stored.
        """
        self._drain(wait=True)
        if self._lists is None:
            return Content(LAYOUT_BLOBS, self._size_bytes, tuple(self._extents))
        self._end_list()
        lists = []
        for future, length in self._lists:
            blob = future.result()
            self._tally.add(blob)
            lists.append((blob.id, length))
        return Content(LAYOUT_BLOBS, self._size_bytes, None, tuple(lists))


def store_content(
    reader: Reader, writer: BlobWriter, chunker: Chunker, tally: Tally, reporter: Reporter
) -> PendingContent:
    """Read a file to its end and hand its blobs to the writer.

    Raises:
        OSError, SourceError: it cannot be read; what was cut so far is stored and unused.
    """
    content = PendingContent(writer, tally)
    try:
        while True:
            hole = reader.hole()
            if hole:
                for piece in chunker.finish():
                    content.add_blob(piece)
                content.add_hole(hole)
                tally.bytes += hole
                continue
            data = reader.read(READ_BYTES)
            if not data:
                break
            tally.bytes += len(data)
            reporter.advance(len(data))
            for piece in chunker.feed(data):
                content.add_blob(piece)
    finally:
        # Also empties the chunker for the next file after a failed read.
        rest = list(chunker.finish())
    for piece in rest:
        content.add_blob(piece)
    return content
