"""The restore engine: a component, or a part of one, into a target."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from snap.errors import IntegrityError, SnapError

from .browse import Place, find_node, require_tree, walk_directory
from .content import FetchedExtent, Prefetcher, extents_of
from .extents import Extent, UnknownLayout
from .progress import Reporter
from .repository import Repository
from .snapshot import RawPath, Snapshot
from .source import NodeType
from .target import Segment, Target, TargetEntry
from .tree import Node

_FETCHERS = 4


@dataclass(slots=True)
class RestoreResult:
    """What was restored.

    Attributes:
        files: Regular files written.
        bytes: Bytes of file content written, holes not counted.
        problems: Path and reason of each entry that could not be restored; nothing was
            written for it.
        warnings: What could not be set (owners, attributes).
    """

    files: int = 0
    bytes: int = 0
    problems: list[tuple[RawPath, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Begin:
    """Mark in the stream: an entry begins; its extents follow up to `_END`."""

    entry: TargetEntry


@dataclass(frozen=True, slots=True)
class _End:
    """Mark in the stream: the entry's extents are over, because of ``error`` if set."""

    error: SnapError | None = None


_Mark = _Begin | _End


def run_restore(
    repository: Repository,
    snapshot: Snapshot,
    component: str,
    path: Place,
    target: Target,
    *,
    reporter: Reporter,
) -> RestoreResult:
    """Restore a component, or what is at ``path`` in it, into ``target`` and finish that.

    A part that is damaged does not keep the rest from being restored: it is listed in the
    result's problems, and no byte of it is written.

    Raises:
        FullKeyRequired: the key in use is a writer's.
        IntegrityError: the tree itself is missing or damaged; the target is as before.
        TargetError: the target cannot be written; it is as before.
    """
    repository.require_full("restore")
    repository.load_readable_index()
    run = _Run(repository, target, reporter)
    try:
        run.restore(_nodes(repository, snapshot, component, path))
        root = require_tree(snapshot, component).root
        if root is not None and not path:
            target.set_root(root)
        run.result.warnings += target.finish()
    except BaseException:
        target.abort()
        raise
    return run.result


def _nodes(
    repository: Repository, snapshot: Snapshot, component: str, path: Place
) -> Iterator[tuple[Place, Node]]:
    if not path:
        subtree = require_tree(snapshot, component).subtree or ()
        yield from walk_directory(repository, subtree)
        return
    # A part keeps its place: folders on the way are made, with their attributes.
    for depth in range(1, len(path)):
        yield path[:depth], find_node(repository, snapshot, component, path[:depth])
    node = find_node(repository, snapshot, component, path)
    yield path, node
    if node.type is NodeType.DIR:
        yield from walk_directory(repository, node.subtree, path)


class _Run:
    def __init__(self, repository: Repository, target: Target, reporter: Reporter) -> None:
        self._repository = repository
        self._target = target
        self._reporter = reporter
        self._first_names: dict[tuple[int, int], Place] = {}
        self.result = RestoreResult()

    def restore(self, nodes: Iterator[tuple[Place, Node]]) -> None:
        with Prefetcher[_Mark](self._repository, self._stream(nodes), _FETCHERS) as fetched:
            items = iter(fetched)
            for item in items:
                if isinstance(item, _Begin):
                    self._write(item.entry, items)

    def _stream(self, nodes: Iterator[tuple[Place, Node]]) -> Iterator[_Mark | Extent]:
        """Yield each entry, its extents, its end; a list of extents that fails ends it early."""
        for path, node in nodes:
            yield _Begin(self._entry(path, node))
            error: SnapError | None = None
            if node.content is not None and not self._is_known_link(node):
                where = path[-1].decode("utf-8", "backslashreplace")
                try:
                    yield from extents_of(self._repository, node.content, where)
                except (IntegrityError, UnknownLayout) as problem:
                    error = problem
            yield _End(error)

    def _is_known_link(self, node: Node) -> bool:
        # The stream runs ahead of the writing: whether the first name was written well is known
        # only there, so each name brings its extents unless that is certain.
        a = node.attributes
        return a.links > 1 and (a.device, a.inode or 0) in self._first_names

    def _entry(self, path: Place, node: Node) -> TargetEntry:
        return TargetEntry(
            path,
            node.type,
            node.attributes,
            size_bytes=node.size_bytes,
            target=node.target,
        )

    def _write(self, entry: TargetEntry, items: Iterator[_Mark | FetchedExtent]) -> None:
        segments = _Segments(items, self._reporter)
        self._reporter.advance(0, item=entry.path[-1].decode("utf-8", "backslashreplace"))
        linked = self._linked(entry)
        try:
            self._target.write(linked or entry, iter(()) if linked else segments.read())
        except (IntegrityError, UnknownLayout) as error:
            self.result.problems.append((b"/".join(entry.path), str(error)))
            self._reporter.warn(str(error))
            return
        finally:
            segments.skip_rest()
        if entry.type is NodeType.FILE:
            self.result.files += 1
            self.result.bytes += segments.bytes_read
            self._remember_name(entry)

    def _linked(self, entry: TargetEntry) -> TargetEntry | None:
        """Return the entry as a further name of a file already written, if it is one."""
        a = entry.attributes
        if entry.type is not NodeType.FILE or a.links < 2 or a.inode is None:
            return None
        first = self._first_names.get((a.device, a.inode))
        if first is None:
            return None
        return TargetEntry(entry.path, entry.type, a, entry.size_bytes, link_to=first)

    def _remember_name(self, entry: TargetEntry) -> None:
        a = entry.attributes
        if a.links > 1 and a.inode is not None:
            self._first_names.setdefault((a.device, a.inode), entry.path)


class _Segments:
    """The extents of one entry, taken from the stream as the target asks for them."""

    def __init__(self, items: Iterator[_Mark | FetchedExtent], reporter: Reporter) -> None:
        self._items = items
        self._reporter = reporter
        self._ended = False
        self.bytes_read = 0

    def read(self) -> Iterator[Segment]:
        offset = 0
        for item in self._items:
            if isinstance(item, _End):
                self._ended = True
                if item.error is not None:
                    raise item.error
                return
            if not isinstance(item, FetchedExtent):
                raise IntegrityError("an entry began inside another")
            length = item.extent.length
            if item.blob is None:
                yield Segment(offset, length, None)
            else:
                yield Segment(offset, length, item.bytes())
                self.bytes_read += length
                self._reporter.advance(length)
            offset += length

    def skip_rest(self) -> None:
        while not self._ended:
            item = next(self._items, None)
            self._ended = item is None or isinstance(item, _End)
