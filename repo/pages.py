"""The paged layout: files that are written in place, compared page by page (FORMAT.md §9.6).

A region that hashes like the previous version's takes over its extents; only where one differs are
its pages looked at. Nothing is cut by content, so places do not move and do not tell anything.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from .compare import Comparer, Piece
from .crypto import DIGEST_BYTES
from .extents import Content, Extent, ExtentTable, Paging
from .gather import PageGatherer
from .reuse import Reuse
from .source import SeekableReader
from .window import Window

_SQLITE_INDEX_PAGES = (2, 10)
"""The first byte of a page of an index (sqlite.org/fileformat.html §1.6)."""
_FIRST_BATCH = 4
_LARGEST_BATCH = 64


class OldRegion(NamedTuple):
    """A region of the previous version; ``is_whole`` where all of its blobs are held."""

    digest: bytes
    length: int
    extents: tuple[Extent, ...]
    is_whole: bool


class _OldPage(NamedTuple):
    """A page of the previous version, by its digest; ``is_lone`` where it had changed alone."""

    digest: bytes
    extent: Extent
    is_lone: bool


def old_regions(reuse: Reuse, content: Content, paging: Paging) -> Iterator[OldRegion | None]:
    """Yield the regions of the previous version in order, None for one that cannot be known."""
    if content.paging != paging:
        return
    for table, length in reuse.tables(content):
        count = -(-length // paging.region_bytes)
        if table is None:
            yield from (None for _ in range(count))
        else:
            yield from _regions_of(table, length, paging.region_bytes, reuse)
        if length % paging.region_bytes:
            # Only the last table ends inside of a region: nothing behind one is where it seems.
            return


def _regions_of(
    table: ExtentTable, length: int, region_bytes: int, reuse: Reuse
) -> Iterator[OldRegion]:
    rest = deque(table.extents)
    for start in range(0, length, region_bytes):
        size = min(region_bytes, length - start)
        extents, missing = [], size
        while missing:
            extent = rest.popleft()
            if extent.length > missing:
                extent, behind = _split(extent, missing)
                rest.appendleft(behind)
            extents.append(extent)
            missing -= extent.length
        number = start // region_bytes
        digest = table.regions[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
        is_whole = all(e.blob is None or reuse.is_held(e.blob) for e in extents)
        yield OldRegion(digest, size, tuple(extents), is_whole)


def _split(extent: Extent, at: int) -> tuple[Extent, Extent]:
    behind = 0 if extent.blob is None else extent.offset + at
    return (
        Extent(extent.blob, extent.offset, at),
        Extent(extent.blob, behind, extent.length - at),
    )


class PagesWriter:
    """Cuts one file; `run` returns the digests of its regions, joined.

    Pages that change every day go to blobs of their own (``hot``): among others they would make a
    blob half empty by the next day, and all that is beside them would have to be stored again. In a
    SQLite database these are the pages of indexes; elsewhere, pages that changed alone before
    (spec/DESIGN.md has what both save).
    """

    def __init__(
        self,
        paging: Paging,
        gatherer: PageGatherer,
        hot: PageGatherer,
        *,
        comparer: Comparer,
        reuse: Reuse,
        is_sqlite: bool,
    ) -> None:
        self._keys = comparer.keys
        self._page_bytes = paging.page_bytes
        self._region_bytes = paging.region_bytes
        self._gatherer = gatherer
        self._hot = hot
        self._draft = gatherer.draft
        self._comparer = comparer
        self._reuse = reuse
        self._is_sqlite = is_sqlite
        self._zeros = bytes(self._page_bytes)
        self._digests = bytearray()
        self._zeros_digest = b""

    def run(self, window: Window, old: Iterator[OldRegion | None]) -> bytes:
        """Read the file to its end.

        Raises:
            OSError, SourceError: it cannot be read.
        """
        if window.seekable is not None:
            self._follow(window.seekable, window, old)
        while self._store_region(window, next(old, None)):
            pass
        return bytes(self._digests)

    def _follow(
        self, reader: SeekableReader, window: Window, old: Iterator[OldRegion | None]
    ) -> None:
        """Compare ahead, as far as there is a previous version."""
        size, batch_size = reader.size_bytes, _FIRST_BATCH
        while window.position < size:
            batch = list(islice(old, batch_size))
            if not batch:
                return
            start = window.position
            pieces = [
                self._expected(region, size - start - number * self._region_bytes)
                for number, region in enumerate(batch)
            ]
            equal = self._comparer.compare(reader, start, pieces)
            for region, is_equal in zip(batch, equal, strict=True):
                if is_equal and region is not None:
                    self._take_over(region, window)
                else:
                    self._store_region(window, region)
            batch_size = min(_LARGEST_BATCH, batch_size * 2) if all(equal) else _FIRST_BATCH

    def _expected(self, region: OldRegion | None, rest: int) -> Piece:
        length = max(0, min(self._region_bytes, rest))
        if region is None or not region.is_whole or region.length != length or not length:
            return Piece(length, None)
        return Piece(length, region.digest)

    def _take_over(self, region: OldRegion, window: Window) -> None:
        for extent in region.extents:
            self._draft.add_known(extent)
        self._digests += region.digest
        window.skip(region.length)

    def _store_region(self, window: Window, old: OldRegion | None) -> bool:
        """Store the next region; return False at the end of the file."""
        data = self._next_region(window)
        if isinstance(data, int):
            if data:
                self._draft.add_hole(data)
                self._zeros_digest = self._zeros_digest or self._keys.chunk_digest(bytes(data))
                self._digests += self._zeros_digest
            return bool(data)
        digest = self._keys.chunk_digest(data)
        if old is not None and old.is_whole and (old.length, old.digest) == (len(data), digest):
            for extent in old.extents:
                self._draft.add_known(extent)
        else:
            self._store_pages(data, old)
        self._digests += digest
        return True

    def _next_region(self, window: Window) -> memoryview | int:
        """Return the next region's bytes; its length where all of it is a hole, 0 at the end."""
        wanted = self._region_bytes
        view = window.look(wanted)
        if len(view) >= wanted:
            window.skip(wanted)
            return view[:wanted]
        hole = 0 if view else window.hole(wanted)
        if hole == wanted:
            return hole
        data = bytearray(hole)
        while len(data) < wanted:
            part = window.look(wanted - len(data))[: wanted - len(data)]
            data += part
            window.skip(len(part))
            hole = window.hole(wanted - len(data))
            if not part and not hole:
                break
            data += bytes(hole)
        return memoryview(data) if data else 0

    def _store_pages(self, data: memoryview, old: OldRegion | None) -> None:
        """Take over pages that are as before, leave out zeros, gather runs of what is new."""
        if old is None and 0 not in bytes(data[:: self._page_bytes]):
            # Nothing to compare with, and no page that begins with a zero.
            self._gatherer.add(data)
            return
        before = [] if old is None else self._old_pages(old)
        size, run = self._page_bytes, 0
        for number, at in enumerate(range(0, len(data), size)):
            page = data[at : at + size]
            known = before[number] if number < len(before) else None
            if page[0] == 0 and bytes(page) == self._zeros[: len(page)]:
                extent = Extent(None, 0, len(page))
            elif known is not None and self._keys.chunk_digest(page) == known.digest:
                extent = Extent(known.extent.blob, known.extent.offset, len(page))
            elif old is not None and self._is_hot(page, known):
                self._gatherer.add(data[run:at])
                self._hot.add(page)
                run = at + len(page)
                continue
            else:
                continue
            self._gatherer.add(data[run:at])
            self._draft.add_known(extent)
            run = at + len(page)
        self._gatherer.add(data[run:])

    def _is_hot(self, page: memoryview, before: _OldPage | None) -> bool:
        if self._is_sqlite:
            return page[0] in _SQLITE_INDEX_PAGES
        return before is not None and before.is_lone

    def _old_pages(self, region: OldRegion) -> list[_OldPage | None]:
        """Return the pages of an old region, None for one whose digest or blob is lost."""
        pages: list[_OldPage | None] = []
        size = self._page_bytes
        for extent in region.extents:
            count = -(-extent.length // size)
            digests = None
            if extent.blob is not None and self._reuse.is_held(extent.blob):
                digests = self._reuse.digests(extent.blob, size)
            first = extent.offset // size
            if digests is None or extent.offset % size or first + count > len(digests):
                # Holes too: a page of zeros is known by itself.
                pages += [None] * count
                continue
            pages += [
                _OldPage(
                    digests.digest(first + n),
                    Extent(extent.blob, extent.offset + n * size, digests.lengths[first + n]),
                    is_lone=count == 1,
                )
                for n in range(count)
            ]
        return pages
