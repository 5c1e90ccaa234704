"""Reading files that are stored as their columns: in order, in memory that is bounded.

A stretch of the file is put together at a time. What it needs of a blob is taken out of that at
once, so a blob is fetched once for each stretch that it has a part in, however its parts lie.
"""

from collections.abc import Iterator

from .content import OrderedReader, extents_of
from .extents import Content, Extent
from .records import Records, interleave, portion
from .repository import Repository

_STRETCH_BYTES = 32 << 20
"""At least one record. The longer, the fewer blobs are needed in two stretches."""


class _Column:
    """What is still to be read of a column."""

    def __init__(self, extents: Iterator[Extent], width: int) -> None:
        self._extents = extents
        self._next = next(extents, None)
        self.width = width

    def empty_records(self) -> int:
        """Return in how many of the next records this column is in a hole."""
        if self._next is None or self._next.blob is not None:
            return 0
        return self._next.length // self.width

    def take(self, length: int) -> Iterator[tuple[int, Extent]]:
        """Take the next bytes; yield where among them data is, and which."""
        at = 0
        while at < length and self._next is not None:
            extent, count = self._next, min(self._next.length, length - at)
            if extent.blob is not None:
                yield at, Extent(extent.blob, extent.offset, count)
            if count == extent.length:
                self._next = next(self._extents, None)
            else:
                offset = extent.offset + count if extent.blob is not None else 0
                self._next = Extent(extent.blob, offset, extent.length - count)
            at += count

    def skip(self, length: int) -> None:
        """Leave the next bytes out."""
        for _ in self.take(length):
            pass

    def rest(self) -> Iterator[Extent]:
        """Yield all that was not taken."""
        if self._next is not None:
            yield self._next
        yield from self._extents


def read_records(
    repository: Repository, reader: OrderedReader, content: Content, where: str
) -> Iterator[memoryview | int]:
    """Yield a file of records in order; for zeros that are worth leaving out their length.

    Raises:
        IntegrityError: something it needs is missing or damaged.
    """
    records = Records(content.widths, content.size_bytes)
    columns = [
        _Column(extents_of(repository, column, where), width)
        for column, width in zip(content.columns, content.widths, strict=True)
    ]
    stretch = max(1, _STRETCH_BYTES // records.record_bytes)
    rest = records.count
    while rest:
        empty = min(rest, *(column.empty_records() for column in columns))
        count = empty or min(rest, stretch)
        if empty:
            for column in columns:
                column.skip(empty * column.width)
            yield empty * records.record_bytes
        else:
            yield from _stretch(reader, columns, records, count)
        rest -= count
    yield from reader.read(columns[-1].rest())


def _stretch(
    reader: OrderedReader, columns: list[_Column], records: Records, count: int
) -> Iterator[memoryview | int]:
    buffers = [memoryview(bytearray(count * column.width)) for column in columns]
    places: list[tuple[Extent, memoryview]] = []
    for column, buffer in zip(columns, buffers, strict=True):
        for at, extent in column.take(len(buffer)):
            places.append((extent, buffer[at : at + extent.length]))
    places.sort(key=lambda place: place[0].blob or b"")
    for (_, place), data in zip(places, reader.read(e for e, _ in places), strict=True):
        if not isinstance(data, int):
            place[:] = data
    step = portion(records)
    zeros = bytes(step * records.record_bytes)
    for first in range(0, count, step):
        parts = [
            buffer[first * width : (first + step) * width]
            for buffer, width in zip(buffers, records.widths, strict=True)
        ]
        block = interleave(records.widths, parts)
        yield len(block) if block == zeros[: len(block)] else memoryview(block)
