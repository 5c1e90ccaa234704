"""How much of a file's content differs between two versions, by digests: no data is read."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from .digests import STREAM_UNIT
from .extents import Content, Extent, Paging
from .pages import OldRegion, old_regions
from .reuse import Reuse

_Token = bytes | tuple[bytes, int]
"""What identifies a chunk: its digest; where that is not known, blob and offset."""
_HOLE: _Token = b""


@dataclass(frozen=True, slots=True)
class Difference:
    """How many of the new version's bytes are not in the old one; ``is_equal`` if both are one."""

    bytes_changed: int
    is_equal: bool


def compare_contents(reuse: Reuse, old: Content, new: Content) -> Difference:
    """Return how ``new`` differs from ``old``.

    Files of pages are compared page by page at the same place, streams chunk by chunk wherever
    they are, records column by column. Versions in different layouts have nothing in common, and
    of one that is not known nobody can tell.
    """
    if old == new and new.is_known:
        return Difference(0, is_equal=True)
    if _shape(old) != _shape(new) or not new.is_known:
        return Difference(new.size_bytes, is_equal=False)
    if new.columns:
        pairs = zip(old.columns, new.columns, strict=True)
        parts = [compare_contents(reuse, a, b) for a, b in pairs]
        changed = sum(part.bytes_changed for part in parts)
        return Difference(changed, is_equal=all(part.is_equal for part in parts))
    if new.paging is not None:
        changed = sum(_changed_bytes(reuse, new.paging, a, b) for a, b in _regions(reuse, old, new))
        return Difference(changed, is_equal=not changed and old.size_bytes == new.size_bytes)
    known = {token for token, _ in _chunks(reuse, old)}
    changed = sum(length for token, length in _chunks(reuse, new) if token not in known)
    is_equal = not changed and all(
        a == b for a, b in zip_longest(_chunks(reuse, old), _chunks(reuse, new))
    )
    return Difference(changed, is_equal)


def _shape(content: Content) -> tuple[object, ...]:
    return content.layout, content.paging, content.widths


def _regions(
    reuse: Reuse, old: Content, new: Content
) -> Iterator[tuple[OldRegion | None, OldRegion]]:
    paging = new.paging
    if paging is None:
        return
    before = old_regions(reuse, old, paging)
    for region in old_regions(reuse, new, paging):
        earlier = next(before, None)
        if region is not None:
            yield earlier, region


def _changed_bytes(reuse: Reuse, paging: Paging, old: OldRegion | None, new: OldRegion) -> int:
    if old is None:
        return new.length
    if (old.digest, old.length) == (new.digest, new.length):
        return 0
    before = [token for e in old.extents for token, _ in _pages(reuse, e, paging.page_bytes)]
    changed, number = 0, 0
    for extent in new.extents:
        for token, length in _pages(reuse, extent, paging.page_bytes):
            if number >= len(before) or before[number] != token:
                changed += length
            number += 1
    return changed


def _pages(reuse: Reuse, extent: Extent, page_bytes: int) -> Iterator[tuple[_Token, int]]:
    digests = None
    if extent.blob is not None:
        digests = reuse.digests(extent.blob, page_bytes)
    for at in range(0, extent.length, page_bytes):
        length, offset = min(page_bytes, extent.length - at), extent.offset + at
        number = offset // page_bytes
        if extent.blob is None:
            yield _HOLE, length
        elif digests is None or number >= len(digests):
            yield (extent.blob, offset), length
        else:
            yield digests.digest(number), length


def _chunks(reuse: Reuse, content: Content) -> Iterator[tuple[_Token, int]]:
    for table, length in reuse.tables(content):
        if table is None:
            # Lost: as good as changed, and never equal to anything.
            yield (b"lost", id(content)), length
            continue
        for extent in table.extents:
            yield from _chunks_of(reuse, extent)


def _chunks_of(reuse: Reuse, extent: Extent) -> Iterator[tuple[_Token, int]]:
    if extent.blob is None:
        yield _HOLE, extent.length
        return
    digests = reuse.digests(extent.blob, STREAM_UNIT)
    at, end = extent.offset, extent.offset + extent.length
    if digests is not None:
        offsets = digests.offsets
        number = bisect_left(offsets, at)
        while number < len(digests) and offsets[number] == at and offsets[number + 1] <= end:
            yield digests.digest(number), digests.lengths[number]
            at, number = offsets[number + 1], number + 1
    if at < end:
        yield (extent.blob, at), end - at
