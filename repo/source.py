"""What the backup engine asks of a source, and nothing more.

A source yields the entries of one consistent view of something that can be dumped. The
contract suite ``tests/sources/contract.py`` runs on every source.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, cast

from snap.errors import SourceError


class NodeType(StrEnum):
    """What an entry is (spec/FORMAT.md §9.2)."""

    FILE = "file"
    DIR = "dir"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    CHARDEV = "chardev"
    BLOCKDEV = "blockdev"


class Consistency(StrEnum):
    """How strongly the parts of a view belong to one moment."""

    TRANSACTION = "transaction"
    QUIESCED = "quiesced"
    CRASH = "crash"


class Attributes(NamedTuple):
    """What is kept of an entry beside its name and content (spec/FORMAT.md §9.2).

    ``mode`` holds permission bits with setuid, setgid and sticky. Times are nanoseconds
    since 1970 UTC. ``ctime_ns`` and ``inode`` are None where they mean nothing.
    """

    mode: int
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    mtime_ns: int = 0
    ctime_ns: int | None = None
    inode: int | None = None
    device: int = 0
    links: int = 1
    rdev: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class Reader(Protocol):
    """The content of one file, read from front to back."""

    def read(self, length: int) -> bytes:
        """Return at most ``length`` bytes, fewer only at the end or before a hole.

        Raises:
            OSError, SourceError: the content cannot be read.
        """
        ...

    def hole(self) -> int:
        """Skip the hole at this position and return its length, 0 if there is none."""
        ...

    def is_changed(self) -> bool:
        """Return, at the end, whether the file changed while it was read."""
        ...


class SeekableReader(Reader, Protocol):
    """The content of a file that can be read anywhere."""

    @property
    def size_bytes(self) -> int:
        """The size when it was opened; nothing behind it is read."""
        ...

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from ``offset``, holes as zeros; return the bytes read, fewer at the end.

        Leaves the position of `read` alone; safe from several threads.

        Raises:
            OSError: the content cannot be read.
        """
        ...

    def seek(self, position: int) -> None:
        """Set where `read` goes on."""
        ...


class Entry(NamedTuple):
    """One entry of a view.

    Attributes:
        path: Components below the root of the view, as bytes; never empty.
        type: What it is.
        attributes: None only where ``problem`` says why they could not be read.
        size_bytes: A file's size as far as known beforehand (for progress), else None.
        open: For files: gives the content.
        page_bytes: For files that are written page by page: the size of a page; 0 where only the
            content can tell.
        record_widths: For files of fixed-size records: the widths in bytes of a record's columns,
            in order; their sum is the record's size; empty where it is not known.
        target: For symbolic links: what it points to.
        problem: Why the entry could not be read; such an entry has no content.
    """

    path: tuple[bytes, ...]
    type: NodeType
    attributes: Attributes | None
    size_bytes: int | None = None
    open: Callable[[], AbstractContextManager[Reader]] | None = None
    target: bytes = b""
    problem: str = ""
    page_bytes: int = 0
    record_widths: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ViewReport:
    """What a view knows at its end.

    ``statistics`` hold str, int, float, bool, None, lists and maps of them only, and were taken
    inside the same consistent view as the entries. ``point_ns`` is the moment the view shows.
    ``root`` are the attributes of the folder that the entries lie in, where there is one.
    ``damaged`` is what was found wrong with what was dumped; it is kept all the same, and not
    counted as good.
    """

    consistency: Consistency
    point_ns: int
    statistics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    downtime_ns: int = 0
    root: Attributes | None = None
    damaged: Sequence[str] = ()


def seekable(reader: Reader) -> SeekableReader | None:
    """Return the reader if it can read anywhere, None for a stream or where no size is known."""
    # By one attribute: looking for all that a protocol has costs more than reading a small file.
    if hasattr(reader, "read_at"):
        able = cast(SeekableReader, reader)
        return able if able.size_bytes else None
    return None


class Unchanged(SourceError):
    """Raised by `Source.open`: nothing changed since the last snapshot, which serves again.

    The message says how that is known.
    """


class View(Protocol):
    """One consistent view, open."""

    @property
    def is_sorted(self) -> bool:
        """Whether the entries come sorted; there must be few of them where they do not."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Yield the entries sorted by path; a directory before what is in it.

        Sorted means as tuples of bytes; see `is_sorted`. The content of an entry is read before the
        next one is asked for. An entry that cannot be read is yielded with its
        ``problem``, never left out. May be called once.
        """
        ...

    def finish(self) -> ViewReport:
        """Return the report, after all entries were read.

        Raises:
            SourceError: the dump turned out to be incomplete or wrong (a command that
                failed, a database that does not pass its check): the component
                has failed and nothing of it may be kept as good.
        """
        ...


class Source(Protocol):
    """Something that can be dumped."""

    @property
    def name(self) -> str:
        """The component's name in the snapshot."""
        ...

    @property
    def kind(self) -> str:
        """``sqlite``, ``files``, ``command``, ``stdin``, ..."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    @property
    def can_wait(self) -> bool:
        """Whether an open view is a copy, which stays as it is until it is read.

        Such a source may be opened by another thread than the one that reads and leaves it.
        """
        ...

    def open(self) -> AbstractContextManager[View]:
        """Open one consistent view; leaving the context releases all it holds.

        Raises:
            SourceError: there is nothing to dump, or not consistently.
            Unchanged: it need not be dumped.
        """
        ...
