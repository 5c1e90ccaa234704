"""A file's extents while it is being written: compact, and with blobs still on their way."""

from array import array
from collections.abc import Iterator

from .extents import Extent
from .ids import BlobId
from .writer import StoredBlob, Ticket

_HOLE = 0
BlobNumber = int
"""Names a blob within one draft; 0 is a hole."""


class Draft:
    """Extents in the order of the file, 20 bytes each; neighbours in one blob become one."""

    def __init__(self) -> None:
        self._blobs: list[BlobId | Ticket | None] = [None]
        self._numbers: dict[BlobId, BlobNumber] = {}
        self._unresolved: list[BlobNumber] = []
        self._index = array("I")
        self._offset = array("I")
        self._length = array("Q")
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._index)

    def add_hole(self, length: int) -> None:
        """Append a hole."""
        self._append(_HOLE, 0, length)

    def add_known(self, extent: Extent) -> None:
        """Append a slice of a blob that is stored already, or a hole."""
        if extent.blob is None:
            self.add_hole(extent.length)
            return
        number = self._numbers.get(extent.blob)
        if number is None:
            number = self._numbers[extent.blob] = len(self._blobs)
            self._blobs.append(extent.blob)
        self._append(number, extent.offset, extent.length)

    def promise_blob(self) -> BlobNumber:
        """Return a number for a blob that is being filled; `fulfil` says what it became."""
        self._blobs.append(None)
        return len(self._blobs) - 1

    def fulfil(self, number: BlobNumber, stored: Ticket) -> None:
        """Say which blob a promised one became."""
        self._blobs[number] = stored
        self._unresolved.append(number)

    def add_promised(self, number: BlobNumber, offset: int, length: int) -> None:
        """Append a slice of a promised blob."""
        self._append(number, offset, length)

    def _append(self, number: BlobNumber, offset: int, length: int) -> None:
        self.size_bytes += length
        if self._index and self._index[-1] == number:
            last = self._length[-1]
            if number == _HOLE or self._offset[-1] + last == offset:
                self._length[-1] = last + length
                return
        self._index.append(number)
        self._offset.append(offset)
        self._length.append(length)

    def rows(self) -> Iterator[tuple[BlobNumber, int, int]]:
        """Yield number, offset and length of each extent."""
        yield from zip(self._index, self._offset, self._length, strict=True)

    def known_blobs(self) -> dict[BlobNumber, BlobId]:
        """Return those blobs that were stored before."""
        return {number: id_ for id_, number in self._numbers.items()}

    def copy_without_extents(self) -> "Draft":
        """Return a draft that knows the same blobs under the same numbers, and has no extents."""
        copy = Draft()
        copy._blobs, copy._numbers = self._blobs, self._numbers
        copy._unresolved = self._unresolved
        return copy

    def add_row(self, number: BlobNumber, offset: int, length: int) -> None:
        """Append an extent as `rows` gave it."""
        self._append(number, offset, length)

    def resolve(self) -> list[StoredBlob]:
        """Wait for the blobs that are still on their way; return those.

        Raises:
            SnapError: one could not be stored.
        """
        stored = []
        for number in self._unresolved:
            future = self._blobs[number]
            if not isinstance(future, Ticket):
                continue
            blob = future.result()
            self._blobs[number] = blob.id
            stored.append(blob)
        self._unresolved.clear()
        return stored

    def extents(self) -> Iterator[Extent]:
        """Yield the extents; all blobs must be resolved."""
        for number, offset, length in self.rows():
            blob = self._blobs[number]
            if number and not isinstance(blob, bytes):
                raise ValueError("a blob of this file is still on its way")
            yield Extent(BlobId(blob) if isinstance(blob, bytes) else None, offset, length)
