"""Walking the trees of a snapshot."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from snap.errors import IntegrityError, SnapError

from .codec import DecodeError
from .ids import BlobId, Kind
from .repository import Repository
from .snapshot import Component, Snapshot
from .source import NodeType
from .tree import MAX_DEPTH, Node, check_order, decode_tree

Place = tuple[bytes, ...]
"""A path inside a component, as plain names."""

Lost = Callable[[Place, IntegrityError], None]
"""Is told of a folder of which something cannot be read, and why; what can be is gone on with."""


class PathNotFound(SnapError):
    """The snapshot has no such component or entry."""


def read_directory(
    repository: Repository,
    subtree: Sequence[BlobId],
    lost: Callable[[IntegrityError], None] | None = None,
) -> Iterator[Node]:
    """Yield the nodes of one directory in order.

    Raises:
        IntegrityError: a tree blob is missing or damaged, or names are out of order; with ``lost``
            that is told of it instead, and the other tree blobs are read.
    """
    for _, nodes in read_tree_blobs(repository, subtree, lost):
        yield from nodes


def read_tree_blobs(
    repository: Repository,
    subtree: Sequence[BlobId],
    lost: Callable[[IntegrityError], None] | None = None,
) -> Iterator[tuple[BlobId, list[Node]]]:
    """Yield the tree blobs of one directory with their nodes; raises as `read_directory`."""
    last = b""
    for id_ in subtree:
        try:
            nodes, last = _read_tree_blob(repository, id_, last)
        except IntegrityError as error:
            if lost is None:
                raise
            lost(error)
            continue
        yield id_, nodes


def _read_tree_blob(repository: Repository, id_: BlobId, last: bytes) -> tuple[list[Node], bytes]:
    """Return the nodes of a tree blob and the last name, which come after that of ``last``."""
    try:
        nodes = decode_tree(repository.load_blob(id_, Kind.TREE))
        return nodes, check_order(nodes, after=last)
    except DecodeError as error:
        raise IntegrityError(f"tree blob {id_.hex()}: {error}") from error


def walk_directory(
    repository: Repository,
    subtree: Sequence[BlobId],
    above: Place = (),
    lost: Lost | None = None,
) -> Iterator[tuple[Place, Node]]:
    """Yield all that is below a directory, depth first, a directory before its content.

    Raises:
        IntegrityError: a tree blob is missing or damaged, and there is no ``lost`` to be told; or
            trees are nested too deep.
    """

    def nodes_of(place: Place, subtree: Sequence[BlobId]) -> Iterator[Node]:
        return read_directory(repository, subtree, lost and partial(lost, place))

    stack = [(above, nodes_of(above, subtree))]
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
            stack.append((place, nodes_of(place, node.subtree)))


def walk(
    repository: Repository,
    snapshot: Snapshot,
    component: str | None = None,
    path: Place = (),
    lost: Callable[[str, Place, IntegrityError], None] | None = None,
) -> Iterator[tuple[str, Place, Node]]:
    """Yield the entries of a snapshot, of one component, or below (and with) one path.

    ``lost`` is told as `Lost` is, with the component; without it damage is an error.
    """
    for part in snapshot.components:
        if component is not None and part.name != component:
            continue
        lost_here = lost and partial(lost, part.name)
        if not path:
            for place, node in walk_directory(repository, part.subtree or (), (), lost_here):
                yield part.name, place, node
            continue
        node = find_node(repository, snapshot, part.name, path)
        yield part.name, path, node
        if node.type is NodeType.DIR:
            for place, below in walk_directory(repository, node.subtree, path, lost_here):
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
        IntegrityError: there is none in what can be read, and not all of its folder can.
    """
    subtree: Sequence[BlobId] = require_tree(snapshot, component).subtree or ()
    node: Node | None = None
    for depth, name in enumerate(path):
        if node is not None:
            subtree = node.subtree
        damaged: list[IntegrityError] = []
        nodes = read_directory(repository, subtree, damaged.append)
        node = next((n for n in nodes if n.name == name), None)
        if node is None and damaged:
            raise damaged[0]
        if node is None or (depth + 1 < len(path) and node.type is not NodeType.DIR):
            shown = b"/".join(path).decode("utf-8", "backslashreplace")
            raise PathNotFound(
                f"no {component}/{shown} in snapshot {snapshot.short_id}",
                f"see 'snap ls {snapshot.short_id}:{component}'",
            )
    if node is None:
        raise PathNotFound("an empty path names no entry")
    return node
