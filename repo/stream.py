"""The stream layout: content-defined chunks, compared with the previous version (FORMAT.md §9.6).

Where the last chunk was an old one, the next is expected to be the one behind it: as long as that
holds, nothing is cut, only hashed. Where it does not, the file is cut until a chunk is known again,
wherever it was before.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from .compare import Comparer, Piece
from .config import Parameters
from .digests import STREAM_UNIT
from .draft import Draft
from .extents import Content, Extent
from .gather import ChunkGatherer
from .reuse import Reuse
from .window import Window

_FIRST_BATCH = 8
_LARGEST_BATCH = 8192
_RUN_BYTES = 1 << 20
_SPREAD = 0x9E3779B97F4A7C15
_KNOWN_CHUNKS = 1 << 16
"""So many old chunks ahead of the current place are known, and as many behind it: about 50 MB of
memory, and 300 MB of a file where they are smallest."""
_LOAD_CHUNKS = 4096
_LOAD_STEP = 256


class OldChunk(NamedTuple):
    """A chunk of the previous version; a hole or a lost part, of ``length`` 0, has no digest.

    ``blob_chunks`` is, at the first chunk of a blob all of which is used here, how many it has.
    """

    extent: Extent
    digest: bytes | None
    blob_chunks: int = 0


_GAP = OldChunk(Extent(None, 0, 0), None)


def old_chunks(reuse: Reuse, content: Content) -> Iterator[OldChunk]:
    """Yield the chunks of the previous version in order; gaps where they cannot be known."""
    for table, _ in reuse.tables(content):
        if table is None:
            yield _GAP
            continue
        for extent in table.extents:
            yield from _chunks_of(extent, reuse)


def _chunks_of(extent: Extent, reuse: Reuse) -> Iterator[OldChunk]:
    if extent.blob is None:
        yield OldChunk(extent, None)
        return
    digests = reuse.digests(extent.blob, STREAM_UNIT) if reuse.is_held(extent.blob) else None
    if digests is None:
        yield _GAP
        return
    offsets, end = digests.offsets, extent.offset + extent.length
    first = bisect_left(offsets, extent.offset)
    whole = len(digests) if (extent.offset, end) == (0, offsets[-1]) else 0
    for number in range(first, len(digests)):
        if offsets[number + 1] > end:
            break
        chunk = Extent(extent.blob, offsets[number], digests.lengths[number])
        yield OldChunk(chunk, digests.digest(number), whole if number == first else 0)


class _OldVersion:
    """The old chunks around the current place, by number and by digest."""

    def __init__(self, chunks: Iterator[OldChunk]) -> None:
        self._coming = chunks
        self._chunks: dict[int, OldChunk] = {}
        self._by_digest: dict[bytes, int] = {}
        self._count = 0
        self._here = 0

    def find(self, digest: bytes) -> int | None:
        """Return the number of an old chunk that has this digest."""
        found = self._by_digest.get(digest)
        while found is None and self._count - self._here < _KNOWN_CHUNKS:
            if not self._load(_LOAD_CHUNKS):
                break
            found = self._by_digest.get(digest)
        return found

    def chunk(self, number: int) -> OldChunk:
        """Return an old chunk that `find` or `ahead` gave."""
        return self._chunks[number]

    def ahead(self, number: int, count: int) -> list[OldChunk]:
        """Return at most ``count`` chunks from ``number`` on, up to the next gap or hole."""
        self._here = max(self._here, number)
        self.load(number + count)
        run = []
        for at in range(number, number + count):
            chunk = self._chunks.get(at)
            if chunk is None or chunk.digest is None:
                break
            run.append(chunk)
        return run

    def load(self, count: int) -> None:
        """Make sure that the first ``count`` chunks are known, as far as there are so many."""
        while self._count < count and self._load(_LOAD_STEP):
            pass

    def hole(self, number: int) -> int:
        """Return the length of the hole at ``number``, 0 if there is none."""
        chunk = self._chunks.get(number, _GAP)
        return chunk.extent.length if chunk.digest is None else 0

    def _load(self, count: int) -> bool:
        for _ in range(count):
            chunk = next(self._coming, None)
            if chunk is None:
                return False
            self._chunks[self._count] = chunk
            if chunk.digest is not None:
                self._by_digest.setdefault(chunk.digest, self._count)
            self._count += 1
            self._forget(self._count - 1 - 2 * _KNOWN_CHUNKS)
        return True

    def _forget(self, number: int) -> None:
        chunk = self._chunks.pop(number, None)
        digest = chunk.digest if chunk is not None else None
        if digest is not None and self._by_digest.get(digest) == number:
            del self._by_digest[digest]


class StreamCutter:
    """Cuts at content-defined places into chunks of about ``chunk_bytes``.

    FastCDC (Xia et al., 2020) with a keyed gear table; what that hides and what not is in
    spec/DESIGN.md.
    """

    def __init__(self, parameters: Parameters, chunk_bytes: int, seed: int) -> None:
        self.chunk_bytes = chunk_bytes
        self.max_chunk_bytes = chunk_bytes * 4
        # Files in pages need none of it.
        from pyfastcdc import FastCDC  # noqa: PLC0415 - as said

        self._cdc = FastCDC(
            chunk_bytes,
            min_size=chunk_bytes // 4,
            max_size=self.max_chunk_bytes,
            normalized_chunking=2,
            seed=seed,
        )
        # FastCDC's chunks are a sixth longer than asked for.
        between = max(1, parameters.blob_avg_bytes - parameters.blob_min_bytes)
        self._end_below = min(1 << 16, (1 << 16) * chunk_bytes * 7 // 6 // between)

    def cut(self, view: memoryview) -> Iterator[tuple[int, bool]]:
        """Yield where each chunk ends, and whether its rolling hash says that a blob may end."""
        for chunk in self._cdc.cut_buf(view):
            # The bits that made the cut are the same in all; the product mixes the others in.
            mixed = (chunk.gear_hash * _SPREAD >> 48) & 0xFFFF
            yield chunk.offset + chunk.length, mixed < self._end_below


class StreamWriter:
    """Stores one file."""

    def __init__(self, cutter: StreamCutter, gatherer: ChunkGatherer, comparer: Comparer) -> None:
        self._keys = comparer.keys
        self._cutter = cutter
        self._max_bytes = cutter.max_chunk_bytes
        self._gatherer = gatherer
        self._draft: Draft = gatherer.draft
        self._comparer = comparer
        # Most files are as they were, so much is compared at once from the beginning.
        self._batch = _LARGEST_BATCH // 8

    def run(self, window: Window, chunks: Iterator[OldChunk] | None) -> None:
        """Read the file to its end; ``chunks`` are those of its previous version.

        Raises:
            OSError, SourceError: it cannot be read.
        """
        old = _OldVersion(chunks) if chunks is not None else None
        expected = 0 if old is not None else None
        while True:
            if old is not None and expected is not None:
                expected = self._follow(window, old, expected)
            view = window.look(self._max_bytes)
            if view:
                expected = self._cut(view, window, old)
                continue
            hole = window.hole()
            if not hole:
                return
            self._draft.add_hole(hole)
            if old is not None and expected is not None:
                expected = expected + 1 if old.hole(expected) == hole else None

    def _follow(self, window: Window, old: _OldVersion, number: int) -> int | None:
        """Take over old chunks from ``number`` on as long as they are what comes.

        Return the number of the hole or the end that was reached, None after a difference.
        """
        while run := old.ahead(number, self._batch):
            behind, batch = number + len(run), min(_LARGEST_BATCH, self._batch * 4)
            equal = self._compare(window, run, partial(old.load, behind + batch))
            for chunk in run[:equal]:
                self._draft.add_known(chunk.extent)
            if window.seekable is not None:
                window.skip(sum(chunk.extent.length for chunk in run[:equal]))
            number += equal
            if equal < len(run):
                self._batch = _FIRST_BATCH
                return None
            self._batch = batch
        return number

    def _compare(
        self, window: Window, run: Sequence[OldChunk], meanwhile: Callable[[], object]
    ) -> int:
        """Return how many of the chunks come next; those of a stream are left behind as well."""
        pieces, counts = _pieces_of(run)
        if window.seekable is not None:
            verdicts = self._comparer.compare(window.seekable, window.position, pieces, meanwhile)
            equal = verdicts.index(False) if False in verdicts else len(verdicts)
            return sum(counts[:equal])
        found = 0
        for piece, count in zip(pieces, counts, strict=True):
            if not piece.fits(window.look(piece.length)[: piece.length], self._keys):
                break
            window.skip(piece.length)
            found += count
        return found

    def _cut(self, view: memoryview, window: Window, old: _OldVersion | None) -> int | None:
        """Cut what is in the window up to a chunk that is known; return the number behind that."""
        is_last = len(view) < self._max_bytes
        done = begin = 0
        lengths: list[int] = []
        known: int | None = None
        for end, may_end in self._cutter.cut(view):
            if end == len(view) and done and not is_last:
                # The window ends here, not the chunk.
                break
            if old is not None:
                known = old.find(self._keys.chunk_digest(view[done:end]))
                if known is not None:
                    break
            lengths.append(end - done)
            done = end
            if may_end or done - begin >= _RUN_BYTES:
                self._gatherer.add_run(view[begin:done], lengths, may_end=may_end)
                begin, lengths = done, []
        self._gatherer.add_run(view[begin:done], lengths)
        if old is None or known is None:
            window.skip(done)
            return None
        extent = old.chunk(known).extent
        self._draft.add_known(extent)
        window.skip(done + extent.length)
        return known + 1


def _pieces_of(run: Sequence[OldChunk]) -> tuple[list[Piece], list[int]]:
    """Return what to compare, whole blobs at once, and how many chunks are in each."""
    pieces, counts, at = [], [], 0
    while at < len(run):
        chunk = run[at]
        count = chunk.blob_chunks
        if count and at + count <= len(run):
            length = sum(c.extent.length for c in run[at : at + count])
            pieces.append(Piece(length, chunk.extent.blob, is_blob=True))
        else:
            count = 1
            pieces.append(Piece(chunk.extent.length, chunk.digest))
        counts.append(count)
        at += count
    return pieces, counts
