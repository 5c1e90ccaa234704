"""One Neo4j dump as a view: its files while they stream by, or, unknown, the dump itself.

What Enterprise's online backup wrote is read in the same way.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from snap.errors import SourceError
from snap.repo.source import Attributes, Entry, NodeType, ViewReport

from .neo4j_archive import Archive, ArchiveEntry, EntryReader, recognise
from .neo4j_envelope import MAGIC_BYTES
from .neo4j_server import DumpStream

PAGE_BYTES = 8192
"""Of Neo4j's page cache: indexes are trees of such pages, and logs grow at their end."""
RECORD_PAGE_BYTES = 1024
"""For the stores: their records of 15 to 128 bytes are changed in place, each for itself, so that
a page of the cache is mostly what it was. Of 1 % of 100,000 nodes changed, 0.5 MB are stored, 2 MB
with pages of 8 KiB (5.26, ``record-aligned``); the first backup is 1.3 % larger."""
_LOG_PREFIXES = (b"neostore.transaction.db.", b"checkpoint.")
_IN_MEMORY_BYTES = 64 << 10
_PIECE_BYTES = 1 << 20
OPAQUE = "opaque"
"""What `statistics["envelope"]` says of a dump that is stored as it is."""


class StreamReader:
    """Content that streams by, as the engine reads it."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read

    def __enter__(self) -> "StreamReader":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def hole(self) -> int:
        """Return 0: zeros are found by the engine."""
        return 0

    def is_changed(self) -> bool:
        """Return whether it changed: nobody writes to what a dump reads."""
        return False


class MemoryReader(StreamReader):
    """Short content, which can be read anywhere and is found again as a whole."""

    def __init__(self, data: bytes) -> None:
        super().__init__(self._next)
        self._data = data
        self._position = 0

    def _next(self, length: int) -> bytes:
        data = self._data[self._position : self._position + length]
        self._position += len(data)
        return data

    @property
    def size_bytes(self) -> int:
        """The size of all of it."""
        return len(self._data)

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from ``offset``."""
        data = self._data[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    def seek(self, position: int) -> None:
        """Set where `read` goes on."""
        self._position = position


class DumpView:
    """A view over a dump that is being written.

    ``artifact`` is what it is called, ``dump`` or ``backup``.
    ``at_end`` is called once the last byte was read and the dump is proven whole; ``report`` at
    the end of all gives statistics, versions, warnings, the moment and the downtime.
    """

    is_sorted = False

    def __init__(
        self,
        database: str,
        dump: DumpStream,
        *,
        at_end: Callable[[], None],
        report: Callable[[Mapping[str, Any], list[str]], ViewReport],
        artifact: str = "dump",
    ) -> None:
        self._database = database
        self._artifact = artifact
        self._dump = dump
        self._at_end = at_end
        self._report = report
        self._statistics: dict[str, Any] = {"database": database}
        self._warnings: list[str] = []
        self._is_whole = False

    def entries(self) -> Iterator[Entry]:
        """Yield the store's files in the archive's order."""
        magic = b""
        while len(magic) < MAGIC_BYTES and (more := self._dump.read(MAGIC_BYTES - len(magic))):
            magic += more
        if not magic:
            # It says better itself why there is nothing.
            self._dump.finish()
        if recognise(magic):
            yield from self._files(magic)
        else:
            yield self._opaque(magic)
        self._dump.finish()
        self._is_whole = True
        self._at_end()

    def _files(self, magic: bytes) -> Iterator[Entry]:
        try:
            archive = Archive(magic, self._dump)
            for entry, reader in archive.entries():
                yield _entry(entry, reader)
        except SourceError:
            # Where the program failed, that is the reason for what is missing.
            self._dump.finish()
            raise
        self._statistics |= {
            "envelope": magic.decode(),
            "files": archive.files,
            "bytes": archive.bytes,
        }

    def _opaque(self, magic: bytes) -> Entry:
        first = [magic]

        def read(length: int) -> bytes:
            return first.pop() if first else self._dump.read(length)

        self._statistics |= {"envelope": OPAQUE, "artifact": self._artifact}
        self._warnings.append(
            f"the {self._artifact} begins with {magic!r}, which snap does not know: it is "
            "stored as it is, and whether it is whole cannot be proven"
        )
        # No time in it: that of the next day is compared with the one of the same name.
        name = f"{self._database}.{self._artifact}".encode()
        return Entry((name,), NodeType.FILE, Attributes(0o600), open=lambda: StreamReader(read))

    def finish(self) -> ViewReport:
        """Return the report of a whole dump."""
        if not self._is_whole:
            raise SourceError("the dump was not read to its end")
        return self._report(self._statistics, self._warnings)


def page_bytes_of(path: tuple[bytes, ...]) -> int:
    """Return in which pages a file of a Neo4j database is best compared."""
    is_store = len(path) == 1 and not path[0].startswith(_LOG_PREFIXES)
    return RECORD_PAGE_BYTES if is_store else PAGE_BYTES


def _entry(entry: ArchiveEntry, reader: EntryReader) -> Entry:
    attributes = Attributes(mode=entry.mode, mtime_ns=entry.mtime_ns)
    if entry.type is NodeType.DIR:
        return Entry(entry.path, entry.type, attributes)

    def opened() -> StreamReader:
        if entry.size_bytes > _IN_MEMORY_BYTES:
            return StreamReader(reader.read)
        return MemoryReader(b"".join(iter(lambda: reader.read(_PIECE_BYTES), b"")))

    return Entry(
        entry.path,
        entry.type,
        attributes,
        size_bytes=entry.size_bytes,
        open=opened,
        page_bytes=page_bytes_of(entry.path),
    )
