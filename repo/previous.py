"""The previous version: what the last snapshot of the same source holds at the same path."""

from collections.abc import Iterable, Iterator, Sequence

from snap.backends.base import BackendError
from snap.errors import IntegrityError

from .browse import Place, read_directory
from .clock import SECOND_NS
from .ids import BlobId
from .repository import Repository
from .snapshot import Component, Snapshot
from .source import Attributes, NodeType
from .tree import Node

_TICK_NS = 20_000_000
"""Kernels stamp files with the time of their last tick, up to 10 ms ago."""
_COARSE_TICK_NS = 2 * SECOND_NS
"""What file systems without fractions of a second round to."""


def previous_component(snapshots: Iterable[Snapshot], service: str, name: str) -> Component | None:
    """Return the last component of this service and name that has a tree."""
    found = None
    for snapshot in snapshots:
        component = snapshot.component(name) if snapshot.service == service else None
        if component is not None and component.subtree is not None:
            found = component
    return found


class PreviousTree:
    """Finds nodes by path; paths are asked for in order, a folder before what is in it.

    A part of the tree that is lost or damaged has no nodes.
    """

    def __init__(self, repository: Repository, subtree: Sequence[BlobId]) -> None:
        self._repository = repository
        self._folders = [_Folder((), self._nodes(subtree))]

    def find(self, path: Place) -> Node | None:
        """Return the node that was at ``path``."""
        while self._folders[-1].path != path[: len(self._folders[-1].path)]:
            self._folders.pop()
        folder = self._folders[-1]
        if len(folder.path) != len(path) - 1:
            return None
        node = folder.advance(path[-1])
        if node is not None and node.type is NodeType.DIR:
            self._folders.append(_Folder(path, self._nodes(node.subtree)))
        return node

    def _nodes(self, subtree: Sequence[BlobId]) -> Iterator[Node]:
        try:
            yield from read_directory(self._repository, subtree)
        except (IntegrityError, BackendError):
            return


class _Folder:
    def __init__(self, path: Place, nodes: Iterator[Node]) -> None:
        self.path = path
        self._nodes = nodes
        self._next = next(nodes, None)

    def advance(self, name: bytes) -> Node | None:
        while self._next is not None and self._next.name < name:
            self._next = next(self._nodes, None)
        return self._next if self._next is not None and self._next.name == name else None


def is_unchanged(node: Node, size_bytes: int | None, now: Attributes, looked_ns: int) -> bool:
    """Return whether a file need not be read: by size, times and inode it is what it was.

    ``looked_ns`` is when the previous backup began. A file that was touched so shortly before that
    a later change may bear the same time is read again.
    """
    before = node.attributes
    if node.content is None or node.changed or now.inode is None or now.ctime_ns is None:
        return False
    same = (
        node.content.size_bytes == size_bytes
        and before.inode == now.inode
        and before.mtime_ns == now.mtime_ns
        and before.ctime_ns == now.ctime_ns
    )
    if not same:
        return False
    is_coarse = now.mtime_ns % SECOND_NS == 0 and now.ctime_ns % SECOND_NS == 0
    tick_ns = _COARSE_TICK_NS if is_coarse else _TICK_NS
    return max(now.mtime_ns, now.ctime_ns) + tick_ns < looked_ns
