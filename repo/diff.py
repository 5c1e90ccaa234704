"""What changed between two snapshots, by their trees; equal subtrees are never read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from snap.errors import IntegrityError

from .browse import Place, read_directory
from .difference import compare_contents
from .ids import BlobId
from .repository import Repository
from .reuse import Reuse
from .snapshot import Snapshot
from .source import NodeType
from .tree import Node


class ChangeKind(StrEnum):
    """How an entry differs."""

    ADDED = "added"
    REMOVED = "removed"
    MODIFIED = "modified"
    METADATA = "metadata"
    TYPE = "type"


@dataclass(frozen=True, slots=True)
class Change:
    """One entry that differs; sizes are of files, None where there is no file on that side.

    ``bytes_changed``: of a modified file, how many of its bytes its former version does not have.
    """

    component: str
    path: Place
    change: ChangeKind
    type: NodeType
    old_size: int | None
    new_size: int | None
    bytes_changed: int | None = None


Lost = Callable[[str, Place, IntegrityError], None]
"""Is told of a component and a path in it that could not be compared, from there on, and why."""


def diff_snapshots(
    repository: Repository, old: Snapshot, new: Snapshot, lost: Lost | None = None
) -> Iterator[Change]:
    """Yield the changes from ``old`` to ``new``, by component and path.

    Raises:
        IntegrityError: something is missing or damaged, and there is no ``lost`` to be told of it.
    """
    repository.load_readable_index()
    names = sorted({c.name for c in (*old.components, *new.components)}, key=str.encode)
    for name in names:
        before, after = old.component(name), new.component(name)
        old_tree = (before.subtree if before is not None else None) or ()
        new_tree = (after.subtree if after is not None else None) or ()
        told = lost and partial(lost, name)
        yield from _Comparison(repository, name, told).directories(old_tree, new_tree, ())


class _Comparison:
    def __init__(
        self,
        repository: Repository,
        component: str,
        lost: Callable[[Place, IntegrityError], None] | None,
    ) -> None:
        self._repository = repository
        self._lost = lost
        self._component = component
        self._reuse = Reuse(repository, repository.cache.has_blob)

    def directories(
        self, old: Sequence[BlobId], new: Sequence[BlobId], above: Place
    ) -> Iterator[Change]:
        """Yield what differs; a directory is left where one of the two cannot be read on."""
        if old == new:
            return
        try:
            yield from self._merged(old, new, above)
        except IntegrityError as error:
            self._tell(above, error)

    def _tell(self, place: Place, error: IntegrityError) -> None:
        if self._lost is None:
            raise error
        self._lost(place, error)

    def _merged(
        self, old: Sequence[BlobId], new: Sequence[BlobId], above: Place
    ) -> Iterator[Change]:
        """Merge two directories; tree blobs that both have hold equal nodes and are skipped."""
        shared = set(old) & set(new)
        old_nodes = read_directory(self._repository, [id_ for id_ in old if id_ not in shared])
        new_nodes = read_directory(self._repository, [id_ for id_ in new if id_ not in shared])
        a, b = next(old_nodes, None), next(new_nodes, None)
        while a is not None or b is not None:
            if b is None or (a is not None and a.name < b.name):
                if a is not None:
                    yield from self._one_sided(a, above, ChangeKind.REMOVED)
                a = next(old_nodes, None)
            elif a is None or b.name < a.name:
                yield from self._one_sided(b, above, ChangeKind.ADDED)
                b = next(new_nodes, None)
            else:
                yield from self._both(a, b, above)
                a, b = next(old_nodes, None), next(new_nodes, None)

    def _one_sided(self, node: Node, above: Place, kind: ChangeKind) -> Iterator[Change]:
        path = (*above, node.name)
        size = _size(node)
        added = kind is ChangeKind.ADDED
        yield Change(
            self._component,
            path,
            kind,
            node.type,
            None if added else size,
            size if added else None,
        )
        if node.type is NodeType.DIR:
            if added:
                yield from self.directories((), node.subtree, path)
            else:
                yield from self.directories(node.subtree, (), path)

    def _both(self, a: Node, b: Node, above: Place) -> Iterator[Change]:
        path = (*above, b.name)
        if a.type is not b.type:
            yield Change(self._component, path, ChangeKind.TYPE, b.type, _size(a), _size(b))
        elif a.target != b.target:
            yield Change(self._component, path, ChangeKind.MODIFIED, b.type, _size(a), _size(b))
        elif (changed := self._changed_bytes(a, b, path)) is not None:
            kind = ChangeKind.MODIFIED
            yield Change(self._component, path, kind, b.type, _size(a), _size(b), changed)
        elif _visible(a) != _visible(b):
            yield Change(self._component, path, ChangeKind.METADATA, b.type, _size(a), _size(b))
        old_tree = a.subtree if a.type is NodeType.DIR else ()
        new_tree = b.subtree if b.type is NodeType.DIR else ()
        yield from self.directories(old_tree, new_tree, path)

    def _changed_bytes(self, a: Node, b: Node, path: Place) -> int | None:
        """Return how much of a file changed, None where nothing did."""
        if a.content is None or b.content is None:
            return None
        # Equal bytes may lie in other blobs, after those were cleaned up.
        try:
            difference = compare_contents(self._reuse, a.content, b.content)
        except IntegrityError as error:
            self._tell(path, error)
            return None
        return None if difference.is_equal else difference.bytes_changed


def _size(node: Node) -> int | None:
    return node.content.size_bytes if node.content is not None else None


def _visible(node: Node) -> tuple[object, ...]:
    """Return the attributes that a restore sets; change time and inode say nothing to people."""
    a = node.attributes
    return (a.mode, a.uid, a.gid, a.user, a.group, a.mtime_ns, a.rdev, a.xattrs)
