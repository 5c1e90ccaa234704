"""The restore engine: a component, or a part of one, into a target."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from snap.errors import IntegrityError

from .browse import Lost, Place, find_node, require_tree, walk_directory
from .content import OrderedReader, extents_of
from .extents import Content, UnknownLayout
from .interleave import read_records
from .plan import Plan
from .progress import Reporter
from .repository import Repository
from .scatter import Scatter
from .snapshot import RawPath, Snapshot
from .source import NodeType
from .target import Piece, Target, TargetEntry
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
    result's problems, and no byte of it is written. So is a folder of which not all can be read;
    what is known of it is restored.

    Raises:
        FullKeyRequired: the key in use is a writer's.
        IntegrityError: nothing of the tree can be read; the target is as before.
        TargetError: the target cannot be written; it is as before.
    """
    repository.require_full("restore")
    repository.load_readable_index()
    run = _Run(repository, target, reporter)
    try:
        nodes = _nodes(repository, snapshot, component, path, run.note_lost)
        run.restore(nodes, partial(find_node, repository, snapshot, component))
        root = require_tree(snapshot, component).root
        if root is not None and not path:
            target.set_root(root)
        run.result.warnings += target.finish()
    except BaseException:
        target.abort()
        raise
    return run.result


def _nodes(
    repository: Repository, snapshot: Snapshot, component: str, path: Place, lost: Lost
) -> Iterator[tuple[Place, Node]]:
    if not path:
        subtree = require_tree(snapshot, component).subtree or ()
        damaged: list[IntegrityError] = []

        def lost_here(place: Place, error: IntegrityError) -> None:
            damaged.append(error)
            lost(place, error)

        is_empty = True
        for found in walk_directory(repository, subtree, (), lost_here):
            is_empty = False
            yield found
        if is_empty and damaged:
            raise damaged[0]
        return
    # A part keeps its place: folders on the way are made, with their attributes.
    for depth in range(1, len(path)):
        yield path[:depth], find_node(repository, snapshot, component, path[:depth])
    node = find_node(repository, snapshot, component, path)
    yield path, node
    if node.type is NodeType.DIR:
        yield from walk_directory(repository, node.subtree, path, lost)


class _Run:
    def __init__(self, repository: Repository, target: Target, reporter: Reporter) -> None:
        self._repository = repository
        self._target = target
        self._reporter = reporter
        self._problems: list[tuple[Place, str]] = []
        self.result = RestoreResult()

    def note_lost(self, place: Place, error: IntegrityError) -> None:
        """Note a folder of which not all can be read."""
        self._problems.append((place, f"what else was in this folder is not known: {error}"))

    def restore(self, nodes: Iterator[tuple[Place, Node]], find: Callable[[Place], Node]) -> None:
        """Restore all nodes; ``find`` returns one again by its place."""
        while True:
            with Plan(self._repository.cache.locate_one) as plan:
                scatter = Scatter(self._repository, self._target, self._reporter)
                self._plan(plan, nodes, scatter.failed)
                scatter.run(plan)
                self.result.files += scatter.files
                self.result.bytes += scatter.bytes
                self._complete(plan, scatter.failed)
                unlinked = self._link(plan, scatter.failed)
            if not unlinked:
                break
            # The first name of these is damaged: what else they had is in their own nodes.
            nodes = ((place, find(place)) for place in unlinked)
        for place, reason in sorted(self._problems):
            self.result.problems.append((b"/".join(place), reason))
            self._reporter.warn(reason)

    def _plan(
        self,
        plan: Plan,
        nodes: Iterator[tuple[Place, Node]],
        failed: dict[int, IntegrityError],
    ) -> None:
        """Make all but the content of files, and note what files need.

        Files of records are written here: their blobs go to so many places that it is cheaper in
        the order of the file. Of those that ``failed`` the numbers and reasons are added to that.
        """
        for place, node in nodes:
            entry = TargetEntry(place, node.type, node.attributes, node.size_bytes, node.target)
            if node.content is None:
                self._target.make(entry)
                continue
            self._target.check_file(entry)
            a = node.attributes
            is_linked = a.links > 1 and a.inode is not None
            first = plan.first_name(a) if is_linked else None
            if first is not None:
                plan.add_name(entry, first)
                continue
            where = place[-1].decode("utf-8", "backslashreplace")
            extents = extents_of(self._repository, node.content, where)
            try:
                file = plan.add_file(entry, () if node.content.columns else extents)
            except (IntegrityError, UnknownLayout) as error:
                self._problems.append((place, str(error)))
                continue
            if is_linked:
                plan.remember_name(a, file)
            if node.content.columns:
                try:
                    self._write_records(entry, node.content, where)
                except IntegrityError as error:
                    failed[file] = error

    def _write_records(self, entry: TargetEntry, content: Content, where: str) -> None:
        at = written = 0
        with OrderedReader(self._repository, _FETCHERS) as reader:
            for part in read_records(self._repository, reader, content, where):
                if isinstance(part, int):
                    at += part
                    continue
                self._target.write_pieces(entry, [Piece(at, part)])
                self._reporter.advance(len(part), item=where)
                at, written = at + len(part), written + len(part)
        self.result.bytes += written

    def _complete(self, plan: Plan, failed: Mapping[int, IntegrityError]) -> None:
        for file in plan.files(also=failed):
            error = failed.get(file.number)
            if error is not None:
                self._problems.append((file.entry.path, str(error)))
                if not file.is_whole:
                    self._target.drop_file(file.entry)
                continue
            self._target.complete_file(file.entry)
            self.result.files += 1
            self.result.bytes += file.data_bytes

    def _link(self, plan: Plan, failed: Mapping[int, IntegrityError]) -> list[Place]:
        """Make further names of files; return those whose file could not be had."""
        unlinked = []
        for entry, file, first in plan.names():
            if file in failed:
                unlinked.append(entry.path)
                continue
            self._target.make(entry._replace(link_to=first.path))
            self.result.files += 1
        return unlinked
