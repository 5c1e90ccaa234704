"""Entries that come in no order: archives are as whoever wrote them liked.

There are few of them, as in a database's dump, so all of them are kept until the end.
"""

from collections.abc import Sequence

from snap.backends.base import BackendError
from snap.errors import IntegrityError, SourceError

from .browse import Place, walk_directory
from .ids import BlobId
from .repository import Repository
from .source import Attributes
from .tree import Node
from .tree_writer import PendingNode, TreeWriter

ENTRIES_LIMIT = 200_000
"""Half a GiB of memory; a Neo4j store has about fifty."""
_MISSING_FOLDER = Attributes(mode=0o755)


class UnsortedTrees:
    """Takes entries in any order; gives them sorted to a `TreeWriter` at the end."""

    def __init__(self, trees: TreeWriter) -> None:
        self._trees = trees
        self._folders: dict[Place, Attributes] = {}
        self._nodes: dict[Place, PendingNode] = {}

    def add_directory(self, path: Place, attributes: Attributes) -> None:
        """Add a directory; one that comes again counts as it came last."""
        self._folders[path] = attributes
        self._check(path, self._nodes)

    def add_node(self, path: Place, node: PendingNode) -> None:
        """Add anything but a directory."""
        if path in self._nodes:
            raise SourceError(f"an entry that comes twice: {b'/'.join(path)!r}")
        self._nodes[path] = node
        self._check(path, self._folders)

    def _check(self, path: Place, others: object) -> None:
        if isinstance(others, dict) and path in others:
            raise SourceError(f"an entry that is a folder as well: {b'/'.join(path)!r}")
        self._check_count()

    def _check_count(self) -> None:
        if len(self._nodes) + len(self._folders) > ENTRIES_LIMIT:
            raise SourceError(f"more than {ENTRIES_LIMIT} entries that are in no order")

    def finish(self) -> tuple[BlobId, ...]:
        """Write the trees, with the folders that nobody named; return those of the root."""
        for path in [*self._nodes, *self._folders]:
            for depth in range(1, len(path)):
                self._folders.setdefault(path[:depth], _MISSING_FOLDER)
            self._check_count()
        for path in sorted([*self._nodes, *self._folders]):
            if path in self._nodes:
                self._trees.add_node(path, self._nodes[path])
            else:
                self._trees.add_directory(path, self._folders[path])
        return self._trees.finish()


class PreviousNodes:
    """The nodes of the last snapshot's component, found in any order.

    Where it is lost, or far larger than what comes without order ever was, there are none.
    """

    def __init__(self, repository: Repository, subtree: Sequence[BlobId]) -> None:
        self._nodes: dict[Place, Node] = {}
        try:
            for path, node in walk_directory(repository, subtree):
                self._nodes[path] = node
                if len(self._nodes) > ENTRIES_LIMIT:
                    break
        except (IntegrityError, BackendError):
            return

    def find(self, path: Place) -> Node | None:
        """Return the node that was at ``path``."""
        return self._nodes.get(path)

    def blob_of(self, path: Place, nodes: Sequence[Node]) -> BlobId | None:
        """Return nothing: trees are few and small."""
        return None
