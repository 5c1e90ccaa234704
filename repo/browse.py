"""Walking the trees of a snapshot."""

from collections.abc import Iterator, Sequence

from snap.errors import IntegrityError, SnapError

from .codec import DecodeError
from .ids import BlobId, Kind
from .repository import Repository
from .snapshot import Component, Snapshot
from .source import NodeType
from .tree import MAX_DEPTH, Node, check_order, decode_tree

Place = tuple[bytes, ...]
"""A path inside a component, as plain names."""


class PathNotFound(SnapError):
    """The snapshot has no such component or entry."""


def read_directory(repository: Repository, subtree: Sequence[BlobId]) -> Iterator[Node]:
    """Yield the nodes of one directory in order.

    Raises:
        IntegrityError: a tree blob is missing or damaged, or names are out of order.
    """
    for _, nodes in read_tree_blobs(repository, subtree):
        yield from nodes


def read_tree_blobs(
    repository: Repository, subtree: Sequence[BlobId]
) -> Iterator[tuple[BlobId, list[Node]]]:
    """Yield the tree blobs of one directory with their nodes; raises as `read_directory`."""
    last = b""
    for id_ in subtree:
        try:
            nodes = decode_tree(repository.load_blob(id_, Kind.TREE))
            last = check_order(nodes, after=last)
        except DecodeError as error:
            raise IntegrityError(f"tree blob {id_.hex()}: {error}") from error
        yield id_, nodes


def walk_directory(
    repository: Repository, subtree: Sequence[BlobId], above: Place = ()
) -> Iterator[tuple[Place, Node]]:
    """Yield all that is below a directory, depth first, a directory before its content.

    Raises:
        IntegrityError: a tree blob is missing or damaged, or trees are nested too deep.
    """
    stack = [(above, read_directory(repository, subtree))]
    while stack:
        path, nodes = stack[-1]
        node = next(nodes, None)
        if node is None:
            stack.pop()
            continue
        place = (*path, node.name)
        yield place, node
        if node.type is NodeType.DIR:
            if len(stack) >= MAX_DEPTH:
                raise IntegrityError(f"a tree is nested deeper than {MAX_DEPTH}")
            stack.append((place, read_directory(repository, node.subtree)))


def walk(
    repository: Repository,
    snapshot: Snapshot,
    component: str | None = None,
    path: Place = (),
) -> Iterator[tuple[str, Place, Node]]:
    """Yield the entries of a snapshot, of one component, or below (and with) one path."""
    for part in snapshot.components:
        if component is not None and part.name != component:
            continue
        if not path:
            for place, node in walk_directory(repository, part.subtree or ()):
                yield part.name, place, node
            continue
        node = find_node(repository, snapshot, part.name, path)
        yield part.name, path, node
        if node.type is NodeType.DIR:
            for place, below in walk_directory(repository, node.subtree, path):
                yield part.name, place, below


def resolve_path(snapshot: Snapshot, text: str) -> tuple[str, Place]:
    """Return component and path that a text like ``events.db/dir/x`` means.

    Raises:
        PathNotFound: the snapshot has no such component.
    """
    name, _, rest = text.strip("/").partition("/")
    if snapshot.component(name) is None:
        known = ", ".join(c.name for c in snapshot.components)
        raise PathNotFound(f"no component {name!r} in this snapshot", f"it has: {known}")
    raw = rest.encode("utf-8", "surrogateescape")
    return name, tuple(part for part in raw.split(b"/") if part)


def require_tree(snapshot: Snapshot, component: str) -> Component:
    """Return a component that has a tree.

    Raises:
        PathNotFound: there is none of this name, or it failed.
    """
    found = snapshot.component(component)
    if found is None:
        raise PathNotFound(f"no component {component!r} in snapshot {snapshot.short_id}")
    if found.subtree is None:
        raise PathNotFound(
            f"component {component!r} failed in snapshot {snapshot.short_id}: {found.error}",
            "choose another snapshot; see 'snap snapshots'",
        )
    return found


def find_node(repository: Repository, snapshot: Snapshot, component: str, path: Place) -> Node:
    """Return the node at ``path``, which is not empty.

    Raises:
        PathNotFound: there is none.
    """
    subtree: Sequence[BlobId] = require_tree(snapshot, component).subtree or ()
    node: Node | None = None
    for depth, name in enumerate(path):
        if node is not None:
            subtree = node.subtree
        nodes = read_directory(repository, subtree)
        node = next((n for n in nodes if n.name == name), None)
        if node is None or (depth + 1 < len(path) and node.type is not NodeType.DIR):
            shown = b"/".join(path).decode("utf-8", "backslashreplace")
            raise PathNotFound(
                f"no {component}/{shown} in snapshot {snapshot.short_id}",
                f"see 'snap ls {snapshot.short_id}:{component}'",
            )
    if node is None:
        raise PathNotFound("an empty path names no entry")
    return node
