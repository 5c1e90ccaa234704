"""Cleaning while writing: what little a file still uses of an old blob is stored anew.

A blob of which the file uses less than half is given up in the same run, so a snapshot never reads
much more than twice what it needs, and forgetting snapshots gives space back. The threshold and
what it costs over a year are in spec/DESIGN.md.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator

from .crypto import Keys
from .draft import BlobNumber, Draft
from .extents import Content, Extent
from .gather import Gatherer
from .ids import BlobId
from .reuse import Reuse
from .source import SeekableReader


def retire(previous: Content, reuse: Reuse) -> None:
    """Give up the blobs of which the previous version used little; for what cannot be read twice.

    That is one version late, and bounded by it.
    """
    used: dict[BlobId, int] = {}
    for table, _ in reuse.tables(previous):
        for extent in table.extents if table is not None else ():
            if extent.blob is not None:
                used[extent.blob] = used.get(extent.blob, 0) + extent.length
    reuse.give_up(blob for blob, used_bytes in used.items() if reuse.is_sparse(blob, used_bytes))


def clean(
    draft: Draft,
    reader: SeekableReader | None,
    *,
    reuse: Reuse,
    keys: Keys,
    unit: int,
    gather: Callable[[Draft], Gatherer],
) -> Draft:
    """Return the draft with the chunks of sparsely used blobs gathered into new ones.

    ``unit`` is that of the blobs' companions. A stream (None) is left as it is; see `retire`.

    They are read from the file again, and only taken if they still are what the digests say: a
    file that changes meanwhile keeps the old ones.

    Raises:
        OSError: the file cannot be read.
    """
    sparse = _sparse_blobs(draft, reuse) if reader is not None else {}
    if not sparse or reader is None:
        return draft
    cleaned = draft.copy_without_extents()
    gatherer, position = gather(cleaned), 0
    for number, offset, length in draft.rows():
        if number not in sparse:
            cleaned.add_row(number, offset, length)
        else:
            for chunk, digest in _chunks(Extent(sparse[number], offset, length), reuse, unit):
                data = memoryview(bytearray(chunk.length))
                count = reader.read_at(position + chunk.offset - offset, data)
                if count == chunk.length and keys.chunk_digest(data) == digest:
                    gatherer.add(data)
                else:
                    cleaned.add_known(chunk)
        position += length
    gatherer.flush()
    return cleaned


def _sparse_blobs(draft: Draft, reuse: Reuse) -> dict[BlobNumber, BlobId]:
    known = draft.known_blobs()
    used = array("Q", bytes(8 * (max(known, default=0) + 1)))
    for number, _, length in draft.rows():
        if number in known:
            used[number] += length
    return {n: id_ for n, id_ in known.items() if reuse.is_sparse(id_, used[n])}


def _chunks(extent: Extent, reuse: Reuse, unit: int) -> Iterator[tuple[Extent, bytes]]:
    """Yield an extent's chunks with their digests; one without where they are not known."""
    digests = reuse.digests(extent.blob, unit) if extent.blob is not None else None
    offsets = () if digests is None else digests.offsets
    at, end = extent.offset, extent.offset + extent.length
    number = bisect_left(offsets, at)
    while digests is not None and number < len(digests) and offsets[number] == at < end:
        length = min(digests.lengths[number], end - at)
        yield Extent(extent.blob, at, length), digests.digest(number)
        at, number = at + length, number + 1
    if at < end:
        yield Extent(extent.blob, at, end - at), b""
