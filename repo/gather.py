"""Gathering new chunks, in order, into blobs of about 1 MiB."""

from typing import Protocol

from .digests import STREAM_UNIT, Chunks
from .draft import BlobNumber, Draft
from .writer import BlobWriter


class Gatherer(Protocol):
    """Takes chunks one by one; what it fills goes to the writer and into a draft."""

    def add(self, chunk: memoryview) -> None:
        """Append a chunk."""
        ...

    def flush(self) -> None:
        """Hand over what has been gathered."""
        ...


class PageGatherer:
    """Fills blobs with new pages; each holds as many as a region (spec/FORMAT.md §9.6)."""

    def __init__(self, writer: BlobWriter, draft: Draft, page_bytes: int, limit_bytes: int) -> None:
        self._writer = writer
        self.draft = draft
        self._page_bytes = page_bytes
        self._limit_bytes = limit_bytes
        self._plain = bytearray()
        self._number: BlobNumber | None = None

    def add(self, pages: memoryview) -> None:
        """Append pages that follow each other; only the last one of a file may be shorter."""
        while pages:
            if self._number is None:
                self._number = self.draft.promise_blob()
            part = pages[: self._limit_bytes - len(self._plain)]
            self.draft.add_promised(self._number, len(self._plain), len(part))
            pages = pages[len(part) :]
            if len(part) == self._limit_bytes:
                # A whole blob goes on as it lies there.
                self._hand_over(self._number, part)
                continue
            self._plain += part
            if len(self._plain) >= self._limit_bytes or len(self._plain) % self._page_bytes:
                self.flush()

    def flush(self) -> None:
        """Hand over what has been gathered."""
        if self._number is not None:
            self._hand_over(self._number, self._plain)
            self._plain = bytearray()

    def _hand_over(self, number: BlobNumber, plain: bytearray | memoryview) -> None:
        stored = self._writer.submit_data(plain, Chunks(self._page_bytes))
        self.draft.fulfil(number, stored)
        self._number = None


class ChunkGatherer:
    """Fills blobs with new content-defined chunks (spec/FORMAT.md §9.6).

    A blob ends where the caller says so once it has its least size: by content, so that equal
    content in unrelated files comes to equal blobs.
    """

    def __init__(self, writer: BlobWriter, draft: Draft, min_bytes: int, max_bytes: int) -> None:
        self._writer = writer
        self.draft = draft
        self._min_bytes = min_bytes
        self._max_bytes = max_bytes
        self._plain = bytearray()
        self._lengths: list[int] = []
        self._number: BlobNumber | None = None

    def add(self, chunk: memoryview) -> None:
        """Append one chunk."""
        self.add_run(chunk, [len(chunk)])

    def add_run(self, run: memoryview, lengths: list[int], *, may_end: bool = False) -> None:
        """Append chunks that follow each other; ``may_end`` where a blob may end behind them."""
        if not run:
            return
        if self._number is None:
            self._number = self.draft.promise_blob()
        self.draft.add_promised(self._number, len(self._plain), len(run))
        self._plain += run
        self._lengths += lengths
        size = len(self._plain)
        if size >= self._max_bytes or (may_end and size >= self._min_bytes):
            self.flush()

    def flush(self) -> None:
        """Hand over what has been gathered."""
        if self._number is None:
            return
        chunks = Chunks(STREAM_UNIT, self._lengths)
        self.draft.fulfil(self._number, self._writer.submit_data(self._plain, chunks))
        self._plain, self._number, self._lengths = bytearray(), None, []
