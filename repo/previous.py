"""The previous version: what the last snapshot of the same source holds at the same path."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from snap.backends.base import BackendError
from snap.errors import IntegrityError

from .browse import Place, read_tree_blobs
from .clock import SECOND_NS
from .ids import BlobId
from .repository import Repository
from .snapshot import Component, Snapshot
from .source import Attributes, NodeType
from .tree import Node

_RECENT_BLOBS = 4
_TICK_NS = 20_000_000
"""Kernels stamp files with the time of their last tick, up to 10 ms ago."""
_COARSE_TICK_NS = 2 * SECOND_NS
"""What file systems without fractions of a second round to."""
_INODE_END = Attributes._fields.index("inode") + 1


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
        self._recent: OrderedDict[tuple[Place, bytes], tuple[BlobId, list[Node]]] = OrderedDict()
        self._folders = [_Folder((), self._nodes((), subtree))]

    def find(self, path: Place) -> Node | None:
        """Return the node that was at ``path``."""
        while self._folders[-1].path != path[: len(self._folders[-1].path)]:
            self._folders.pop()
        folder = self._folders[-1]
        if len(folder.path) != len(path) - 1:
            return None
        node = folder.advance(path[-1])
        if node is not None and node.type is NodeType.DIR:
            self._folders.append(_Folder(path, self._nodes(path, node.subtree)))
        return node

    def blob_of(self, path: Place, nodes: Sequence[Node]) -> BlobId | None:
        """Return the tree blob that holds just these nodes of a folder, if it was read lately.

        None says nothing: the nodes may be there all the same.
        """
        id_, before = self._recent.get((path, nodes[0].name), (None, [])) if nodes else (None, [])
        # Nodes that were handed out by `find` are recognised as the same without a comparison.
        return id_ if before == nodes else None

    def _nodes(self, path: Place, subtree: Sequence[BlobId]) -> Iterator[Node]:
        try:
            for id_, nodes in read_tree_blobs(self._repository, subtree):
                if nodes:
                    self._recent[(path, nodes[0].name)] = (id_, nodes)
                    if len(self._recent) > _RECENT_BLOBS:
                        self._recent.popitem(last=False)
                yield from nodes
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


def is_stored_alike(node: Node, now: Attributes) -> bool:
    """Return whether a file's attributes would be stored as they are in ``node``."""
    before = node.attributes
    # Mode to inode; which disk it lies on is kept of hard links only.
    return (
        before[:_INODE_END] == now[:_INODE_END]
        and before.xattrs == now.xattrs
        and before.links == now.links
        and (now.links == 1 or before.device == now.device)
    )


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
