"""Storing one file's content: choose how it is cut, gather what is new, list the extents."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import codec
from .clean import clean, retire
from .compare import Comparer
from .crypto import DIGEST_BYTES
from .digests import STREAM_UNIT
from .draft import Draft
from .extents import (
    INLINE_EXTENTS,
    LAYOUT_PAGES,
    LAYOUT_RECORDS,
    LAYOUT_STREAM,
    LIST_REGIONS,
    Content,
    Extent,
    Paging,
    encode_extents,
    is_list_end,
)
from .gather import ChunkGatherer, Gatherer, PageGatherer
from .ids import BlobId, Kind
from .layout import (
    HEAD_BYTES,
    Hints,
    choose_chunk_bytes,
    choose_paging,
    choose_records,
    column_paging,
    sqlite_page_bytes,
)
from .pages import PagesWriter, old_regions
from .progress import Reporter
from .records import ColumnReader, Records
from .repository import Repository
from .reuse import Reuse
from .source import Reader, SeekableReader, seekable
from .stream import StreamCutter, StreamWriter, old_chunks
from .window import Window
from .writer import BlobWriter, StoredBlob, Ticket


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
        self.bytes_stored += blob.stored_bytes + blob.companion_bytes


class ContentInBlob:
    """The content of a short file, which is one blob; it may still be on its way to the store."""

    def __init__(self, ticket: Ticket, tally: Tally) -> None:
        self._ticket = ticket
        self._tally = tally

    def result(self) -> Content:
        """Return the content, waiting for its blob."""
        blob = self._ticket.result()
        self._tally.add(blob)
        extent = Extent(blob.id, 0, blob.raw_bytes)
        return Content(LAYOUT_STREAM, blob.raw_bytes, (extent,))


class PendingContent:
    """A file's content whose blobs may still be on their way to the store."""

    def __init__(
        self,
        writer: BlobWriter,
        tally: Tally,
        draft: Draft,
        *,
        paging: Paging | None = None,
        regions: bytes = b"",
        chunk_bytes: int = 0,
    ) -> None:
        self._writer = writer
        self._tally = tally
        self._draft = draft
        self._paging = paging
        self._regions = regions
        self._chunk_bytes = chunk_bytes

    def result(self) -> Content:
        """Return the content, waiting for its blobs.

        Raises:
            SnapError: one could not be stored.
        """
        draft, paging = self._draft, self._paging
        for blob in draft.resolve():
            self._tally.add(blob)
        layout = LAYOUT_STREAM if paging is None else LAYOUT_PAGES
        size = draft.size_bytes
        fits = paging is None or size <= LIST_REGIONS * paging.region_bytes
        if len(draft) <= INLINE_EXTENTS and fits:
            extents = tuple(draft.extents())
            return self._content(layout, extents)
        pending: list[tuple[Ticket, int]] = []
        for table, regions in self._tables():
            plain = codec.encode(encode_extents(table, regions))
            length = sum(e.length for e in table)
            pending.append((self._writer.submit(Kind.EXTENTS, plain), length))
        lists = []
        for future, length in pending:
            blob = future.result()
            self._tally.add(blob)
            lists.append((blob.id, length))
        return self._content(layout, None, tuple(lists))

    def _content(
        self,
        layout: str,
        extents: tuple[Extent, ...] | None,
        lists: tuple[tuple[BlobId, int], ...] = (),
    ) -> Content:
        return Content(
            layout,
            self._draft.size_bytes,
            extents,
            lists,
            self._paging,
            self._regions if extents is not None else b"",
            self._chunk_bytes,
        )

    def _tables(self) -> Iterator[tuple[list[Extent], bytes | None]]:
        return self._stream_tables() if self._paging is None else self._page_tables(self._paging)

    def _stream_tables(self) -> Iterator[tuple[list[Extent], None]]:
        table: list[Extent] = []
        for extent in self._draft.extents():
            if table and is_list_end(table[-1], extent, len(table)):
                yield table, None
                table = []
            table.append(extent)
        yield table, None

    def _page_tables(self, paging: Paging) -> Iterator[tuple[list[Extent], bytes]]:
        table: list[Extent] = []
        span = LIST_REGIONS * paging.region_bytes
        step = LIST_REGIONS * DIGEST_BYTES
        missing, at = span, 0
        for extent in self._draft.extents():
            rest = extent
            while rest.length >= missing:
                offset = 0 if rest.blob is None else rest.offset + missing
                table.append(Extent(rest.blob, rest.offset, missing))
                rest = Extent(rest.blob, offset, rest.length - missing)
                yield table, self._regions[at : at + step]
                table, missing, at = [], span, at + step
            if rest.length:
                table.append(rest)
                missing -= rest.length
        if table:
            yield table, self._regions[at:]


class PendingRecords:
    """The content of a file of records, whose columns may still be on their way to the store."""

    def __init__(self, records: Records, columns: list[PendingContent]) -> None:
        self._records = records
        self._columns = columns

    def result(self) -> Content:
        """Return the content, waiting for the blobs of all columns."""
        columns = tuple(column.result() for column in self._columns)
        size, widths = self._records.size_bytes, self._records.widths
        return Content(LAYOUT_RECORDS, size, None, widths=widths, columns=columns)


PendingFile = PendingContent | PendingRecords | ContentInBlob


class FileWriter:
    """Stores the content of files, one after the other, for one run."""

    def __init__(
        self, repository: Repository, writer: BlobWriter, reuse: Reuse, comparer: Comparer
    ) -> None:
        self._keys = repository.keys
        self._parameters = repository.config.parameters
        self._writer = writer
        self._reuse = reuse
        self._comparer = comparer
        self._cutters: dict[int, StreamCutter] = {}

    def store(
        self,
        reader: Reader,
        previous: Content | None,
        hints: Hints,
        tally: Tally,
        reporter: Reporter,
    ) -> PendingFile:
        """Read a file to its end and hand what is new of it to the writer.

        ``previous`` is the content of its former version.

        Raises:
            OSError, SourceError: it cannot be read; what was cut so far is stored and unused.
            SnapError: it cannot be stored.
        """

        def consumed(count: int) -> None:
            tally.bytes += count
            reporter.advance(count)

        seekable_reader = seekable(reader)
        if seekable_reader is not None and not hints.page_bytes:
            plain = self._read_short(seekable_reader)
            if plain is not None:
                consumed(len(plain))
                # It is found again as a whole, and needs no companion.
                return ContentInBlob(self._writer.submit(Kind.DATA, plain), tally)
        if seekable_reader is not None:
            stored = self._store_records(seekable_reader, previous, hints, tally, consumed)
            if stored is not None:
                return stored
        window = Window(reader, consumed)
        head = bytes(window.look(HEAD_BYTES)[:HEAD_BYTES])
        paging = choose_paging(head, hints.page_bytes, self._parameters)
        if previous is not None and window.seekable is None:
            # What passes by cannot be read again to be stored anew: that is decided beforehand.
            retire(previous, self._reuse)
        if paging is not None:
            is_sqlite = sqlite_page_bytes(head) == paging.page_bytes
            return self._store_pages(window, previous, paging, tally, is_sqlite=is_sqlite)
        return self._store_stream(window, previous, tally)

    def _store_records(
        self,
        reader: SeekableReader,
        previous: Content | None,
        hints: Hints,
        tally: Tally,
        consumed: Callable[[int], None],
    ) -> PendingRecords | None:
        """Store a file column by column; None, at its beginning, where that cannot be done.

        It is read once for each column, which is cheap in memory: what one column needs of a large
        file is little, and all columns together would be as many files in work at once.
        """
        records = choose_records(hints.record_widths, reader.size_bytes, self._parameters)
        if records is None:
            return None
        before: tuple[Content | None, ...] = (None,) * len(records.widths)
        if previous is not None and previous.widths == records.widths:
            before = previous.columns
        columns, bytes_before = [], tally.bytes
        paging = column_paging(self._parameters)
        for number, old in enumerate(before):
            column = ColumnReader(reader, records, number)
            window = Window(column, consumed)
            columns.append(self._store_pages(window, old, paging, tally, is_sqlite=False))
            if column.is_short:
                # It was cut under our hands: what is left of it is stored as any other file.
                tally.bytes = bytes_before
                reader.seek(0)
                return None
        # All of it was read, though not from front to back.
        reader.seek(reader.size_bytes)
        return PendingRecords(records, columns)

    def _store_pages(
        self,
        window: Window,
        previous: Content | None,
        paging: Paging,
        tally: Tally,
        *,
        is_sqlite: bool,
    ) -> PendingContent:
        page_bytes, region_bytes = paging.page_bytes, paging.region_bytes

        def gather(draft: Draft) -> PageGatherer:
            return PageGatherer(self._writer, draft, page_bytes, region_bytes)

        draft = Draft()
        gatherer, hot = gather(draft), gather(draft)
        pages = PagesWriter(
            paging,
            gatherer,
            hot,
            comparer=self._comparer,
            reuse=self._reuse,
            is_sqlite=is_sqlite,
        )
        old = old_regions(self._reuse, previous, paging) if previous is not None else iter(())
        regions = pages.run(window, old)
        hot.flush()
        draft = self._clean(gatherer, window, page_bytes, gather)
        return PendingContent(self._writer, tally, draft, paging=paging, regions=regions)

    def _store_stream(
        self, window: Window, previous: Content | None, tally: Tally
    ) -> PendingContent:
        p = self._parameters
        size = window.seekable.size_bytes if window.seekable is not None else 0

        def gather(draft: Draft) -> ChunkGatherer:
            return ChunkGatherer(self._writer, draft, p.blob_min_bytes, p.blob_max_bytes)

        chunk_bytes = choose_chunk_bytes(size, p, previous)
        gatherer = gather(Draft())
        stream = StreamWriter(self._cutter(chunk_bytes), gatherer, self._comparer)
        stream.run(window, old_chunks(self._reuse, previous) if previous is not None else None)
        draft = self._clean(gatherer, window, STREAM_UNIT, gather)
        return PendingContent(self._writer, tally, draft, chunk_bytes=chunk_bytes)

    def _cutter(self, chunk_bytes: int) -> StreamCutter:
        cutter = self._cutters.get(chunk_bytes)
        if cutter is None:
            cutter = StreamCutter(self._parameters, chunk_bytes, self._keys.chunker_seed)
            self._cutters[chunk_bytes] = cutter
        return cutter

    def _read_short(self, reader: SeekableReader) -> bytes | None:
        """Return a short file whole, None for one that is long, has holes, or is cut into pages."""
        size = reader.size_bytes
        if size > self._parameters.blob_min_bytes:
            return None
        if not reader.hole():
            plain = reader.read(size)
            if len(plain) == size and not sqlite_page_bytes(plain[:HEAD_BYTES]):
                return plain
        reader.seek(0)
        return None

    def _clean(
        self,
        gatherer: PageGatherer | ChunkGatherer,
        window: Window,
        unit: int,
        gather: Callable[[Draft], Gatherer],
    ) -> Draft:
        gatherer.flush()
        return clean(
            gatherer.draft,
            window.seekable,
            reuse=self._reuse,
            keys=self._keys,
            unit=unit,
            gather=gather,
        )
