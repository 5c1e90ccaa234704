"""Building trees from sorted entries, bottom up, with bounded memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from snap.errors import SourceError

from .file_writer import Tally
from .ids import BlobId, Kind
from .source import Attributes, NodeType
from .tree import MAX_DEPTH, Node, encode_tree, is_plain_name, is_tree_end
from .writer import BlobWriter, Ticket

PendingNode = Callable[[], Node]
"""Returns a node, waiting for what its content or its subtree still needs."""
FindStored = Callable[[tuple[bytes, ...], Sequence[Node]], BlobId | None]


@dataclass(slots=True)
class _OpenDirectory:
    path: tuple[bytes, ...]
    attributes: Attributes | None
    last_name: bytes = b""
    nodes: list[PendingNode] = field(default_factory=list)
    blobs: list[Ticket | BlobId] = field(default_factory=list)


class TreeWriter:
    """Takes entries sorted by path, a directory before what is in it.

    ``find_stored`` may know a stored tree blob that holds just some nodes of a directory.
    """

    def __init__(
        self, writer: BlobWriter, tally: Tally, find_stored: FindStored = lambda _path, _nodes: None
    ) -> None:
        self._writer = writer
        self._tally = tally
        self._find_stored = find_stored
        self._stack = [_OpenDirectory((), None)]

    def add_directory(self, path: tuple[bytes, ...], attributes: Attributes) -> None:
        """Open a directory; entries below it follow."""
        self._enter_parent(path)
        if len(path) > MAX_DEPTH:
            raise SourceError(f"folders are nested deeper than {MAX_DEPTH}")
        self._check_name(path)
        self._stack.append(_OpenDirectory(path, attributes))

    def add_node(self, path: tuple[bytes, ...], node: PendingNode) -> None:
        """Add anything but a directory."""
        self._enter_parent(path)
        self._check_name(path)
        self._add(self._stack[-1], path[-1], node)

    def finish(self) -> tuple[BlobId, ...]:
        """Close all directories; return the tree blobs of the root."""
        while len(self._stack) > 1:
            self._close_directory()
        return self._ids(self._stack[0])

    def _enter_parent(self, path: tuple[bytes, ...]) -> None:
        parent = path[:-1]
        while self._stack[-1].path != parent[: len(self._stack[-1].path)]:
            self._close_directory()
        if self._stack[-1].path != parent:
            raise SourceError(f"an entry came before its folder: {b'/'.join(path)!r}")

    def _check_name(self, path: tuple[bytes, ...]) -> None:
        name, directory = path[-1], self._stack[-1]
        if not is_plain_name(name):
            raise SourceError(f"a name that cannot be stored: {name[:80]!r}")
        if name <= directory.last_name:
            raise SourceError(f"entries came out of order: {b'/'.join(path)!r}")
        directory.last_name = name

    def _add(self, directory: _OpenDirectory, name: bytes, node: PendingNode) -> None:
        directory.nodes.append(node)
        if is_tree_end(name, len(directory.nodes)):
            self._store(directory)

    def _store(self, directory: _OpenDirectory) -> None:
        nodes = [pending() for pending in directory.nodes]
        directory.nodes = []
        known = self._find_stored(directory.path, nodes)
        if known is None:
            directory.blobs.append(self._writer.submit(Kind.TREE, encode_tree(nodes)))
        else:
            directory.blobs.append(known)

    def _close_directory(self) -> None:
        directory = self._stack.pop()
        attributes = directory.attributes
        if attributes is None:
            raise SourceError("entries came out of order")
        if directory.nodes or not directory.blobs:
            self._store(directory)
        name = directory.path[-1]

        def node() -> Node:
            return Node(name, NodeType.DIR, attributes, subtree=self._ids(directory))

        self._add(self._stack[-1], name, node)

    def _ids(self, directory: _OpenDirectory) -> tuple[BlobId, ...]:
        if directory.nodes or not directory.blobs:
            self._store(directory)
        ids = []
        for blob in directory.blobs:
            if isinstance(blob, Ticket):
                stored = blob.result()
                self._tally.add(stored)
                ids.append(stored.id)
            else:
                ids.append(blob)
        return tuple(ids)
