"""A source of our own protocol that yields what a test puts into it."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from snap.repo.source import (
    Attributes,
    Consistency,
    Entry,
    NodeType,
    Reader,
    ViewReport,
)

Item = bytes | Entry | Callable[[], contextlib.AbstractContextManager[Reader]]
FILE = Attributes(mode=0o644, mtime_ns=1_700_000_000_000_000_001)
FOLDER = Attributes(mode=0o755, mtime_ns=1_700_000_000_000_000_002)


class BytesReader:
    """Bytes as a file's content, with holes where ``holes`` says so."""

    def __init__(self, data: bytes, holes: Mapping[int, int] | None = None) -> None:
        self._file = io.BytesIO(data)
        self._holes = dict(holes or {})

    def __enter__(self) -> "BytesReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, length: int) -> bytes:
        position = self._file.tell()
        ahead = [start - position for start in self._holes if start > position]
        return self._file.read(min([length, *ahead]))

    def hole(self) -> int:
        length = self._holes.pop(self._file.tell(), 0)
        self._file.seek(length, io.SEEK_CUR)
        return length

    def is_changed(self) -> bool:
        return False


@dataclass
class DictSource:
    """Yields files from a dict of paths, with the folders that they need."""

    files: Mapping[bytes, Item]
    name: str = "data"
    kind: str = "files"
    can_wait: bool = False
    is_sorted: bool = True
    place: str = "/somewhere"
    error_at_end: Exception | None = None
    meanwhile: Callable[[], None] | None = None
    """What others do when all was read and the backup goes on."""
    report: ViewReport = field(default_factory=lambda: ViewReport(Consistency.CRASH, 5))

    @contextlib.contextmanager
    def open(self) -> Iterator["DictSource"]:
        yield self

    def entries(self) -> Iterator[Entry]:
        seen: set[tuple[bytes, ...]] = set()
        for path, item in sorted((tuple(p.split(b"/")), item) for p, item in self._items()):
            for depth in range(1, len(path)):
                if path[:depth] not in seen:
                    seen.add(path[:depth])
                    yield Entry(path[:depth], NodeType.DIR, FOLDER)
            if isinstance(item, Entry):
                yield item
            elif isinstance(item, bytes):
                yield Entry(path, NodeType.FILE, FILE, len(item), open=_opener(item))
            else:
                yield Entry(path, NodeType.FILE, FILE, None, open=item)
        if self.meanwhile is not None:
            self.meanwhile()

    def _items(self) -> list[tuple[bytes, Item]]:
        return list(self.files.items())

    def finish(self) -> ViewReport:
        if self.error_at_end is not None:
            raise self.error_at_end
        return self.report


def records(path: bytes, data: bytes, widths: tuple[int, ...], *, inode: int = 0) -> Entry:
    """Return a file of records of these widths; with an inode one of several names of it."""
    attributes = FILE
    if inode:
        attributes = FILE._replace(inode=inode, device=1, links=2)
    return Entry(
        tuple(path.split(b"/")),
        NodeType.FILE,
        attributes,
        len(data),
        open=lambda: FileBytesReader(data),
        record_widths=widths,
    )


def _opener(data: bytes) -> Callable[[], BytesReader]:
    return lambda: BytesReader(data)


class FileBytesReader(BytesReader):
    """The same, which can also be read anywhere."""

    def __init__(self, data: bytes, holes: Mapping[int, int] | None = None) -> None:
        super().__init__(data, holes)
        self._data = data

    @property
    def size_bytes(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, buffer: memoryview) -> int:
        part = self._data[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def seek(self, position: int) -> None:
        self._file.seek(position)
