"""What the restore engine asks of the place where it writes."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from .source import Attributes, NodeType


class Piece(NamedTuple):
    """Bytes that belong at ``offset`` of a file."""

    offset: int
    data: bytes | memoryview


class TargetEntry(NamedTuple):
    """One entry to be written.

    Attributes:
        path: Components below the root of the target; checked to be plain names.
        type: What it is.
        attributes: Its mode, owner, times and so on.
        size_bytes: A file's size.
        target: What a symbolic link points to.
        link_to: For a further name of a hard-linked file: the path of the first.
    """

    path: tuple[bytes, ...]
    type: NodeType
    attributes: Attributes
    size_bytes: int = 0
    target: bytes = b""
    link_to: tuple[bytes, ...] | None = None


class Target(Protocol):
    """A place that a restore writes to. Nothing of the user's is replaced before `finish`.

    A folder is made before what is in it is written. A file comes whole by `write_file`, or in
    pieces by `write_pieces` and then, once, `complete_file` or `drop_file`. These may be called
    from several threads, also for one file; the others only from one.
    """

    def make(self, entry: TargetEntry) -> None:
        """Make a folder, a link, a further name of a complete file, or something special.

        Raises:
            TargetError: it cannot be made, or something is in the way.
        """
        ...

    def check_file(self, entry: TargetEntry) -> None:
        """Refuse a file that cannot be written in the end, before anything of it is.

        Raises:
            TargetError: something is in the way, or its path leads elsewhere.
        """
        ...

    def write_file(self, entry: TargetEntry, data: bytes | memoryview) -> None:
        """Write a whole file with its attributes.

        Raises:
            TargetError: it cannot be written.
        """
        ...

    def write_pieces(self, entry: TargetEntry, pieces: Sequence[Piece]) -> None:
        """Write parts of a file, in any order; what is never written is a hole.

        Raises:
            TargetError: they cannot be written.
        """
        ...

    def complete_file(self, entry: TargetEntry) -> None:
        """Give a file its size and attributes: all its pieces are written, or it has none.

        Raises:
            TargetError: that cannot be done.
        """
        ...

    def drop_file(self, entry: TargetEntry) -> None:
        """Remove what was written of a file: some of it could not be had."""
        ...

    def set_root(self, attributes: Attributes) -> None:
        """Say what the folder that everything lies in should have; set by `finish`."""
        ...

    def finish(self) -> list[str]:
        """Make all that was written durable and visible in its place.

        Returns warnings, one for everything that could not be set (an owner, an xattr).

        Raises:
            TargetError: something is in the way; nothing was replaced.
        """
        ...

    def abort(self) -> None:
        """Remove all that was written; safe to call after a failed `finish`."""
        ...
