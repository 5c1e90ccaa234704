"""What the restore engine asks of the place where it writes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from .source import Attributes, NodeType


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a file: ``data`` at ``offset``; a hole of ``length`` where data is None."""

    offset: int
    length: int
    data: bytes | memoryview | None


@dataclass(frozen=True, slots=True)
class TargetEntry:
    """One entry to be written.

    Attributes:
        path: Components below the root of the target; checked to be plain names.
        type: What it is.
        attributes: Its mode, owner, times and so on.
        size_bytes: A file's size.
        target: What a symbolic link points to.
        link_to: For a further name of a hard-linked file: the path of the first; it
            comes without segments.
    """

    path: tuple[bytes, ...]
    type: NodeType
    attributes: Attributes
    size_bytes: int = 0
    target: bytes = b""
    link_to: tuple[bytes, ...] | None = None


class Target(Protocol):
    """A place that a restore writes to. Nothing of the user's is replaced before `finish`."""

    def write(self, entry: TargetEntry, segments: Iterable[Segment]) -> None:
        """Write one entry; parents come before what is in them.

        ``segments`` are in ascending order without gaps and cover ``size_bytes``. The written
        bytes are read again and compared with what the segments held.

        Raises:
            TargetError: it cannot be written, or reads back differently.
        """
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
