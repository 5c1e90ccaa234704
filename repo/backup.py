"""The backup engine: sources in, one snapshot out."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from snap import __version__
from snap.errors import IntegrityError, SnapError, SourceError, UsageError

from .adopt import adopt_interrupted
from .ahead import OpenAhead
from .anomaly import collapses, last_good
from .browse import Place, walk_directory
from .catalog import BEFORE_RESTORE_TAG, readable_snapshots
from .commit import avoid_doomed, make_sure_of
from .compare import Comparer
from .compression import Compression
from .extents import Content
from .file_writer import FileWriter, PendingFile, Tally
from .ids import BlobId, Kind
from .layout import Hints
from .lease import Lease, Owner
from .previous import PreviousTree, is_stored_alike, is_unchanged, previous_component
from .progress import Reporter
from .repository import SNAPSHOT_PREFIX, Repository
from .reuse import CLEAN_BELOW, Reuse
from .snapshot import (
    FAILED,
    PARTIAL,
    QUARANTINED,
    SUCCESS,
    Component,
    Snapshot,
    SnapshotStatistics,
    encode_snapshot,
)
from .source import Attributes, Entry, NodeType, Source, Unchanged, View
from .tree import Node, is_plain_name
from .tree_writer import PendingNode, TreeWriter
from .unsorted import PreviousNodes, UnsortedTrees
from .writer import BlobWriter, WriterOptions

Trees = TreeWriter | UnsortedTrees
PROGRAM = f"snap-backup {__version__}"


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """Who backs up, and how.

    Attributes:
        service: What retention groups by; stable over hosts.
        time_ns: Given to the snapshot instead of now.
        dry_run: Read and count everything, store nothing.
        extra_verify: Open every pack again before it is uploaded.
        full: Read every file, also those that look unchanged.
        accept_changes: A collapse since the last good snapshot is meant.
        compression: How hard to try.
        clean_below: The share of a blob below which what a file still uses of it is stored anew.
    """

    service: str
    hostname: str
    username: str
    tags: tuple[str, ...] = ()
    time_ns: int | None = None
    dry_run: bool = False
    extra_verify: bool = True
    full: bool = False
    accept_changes: bool = False
    compression: Compression = Compression.DEFAULT
    clean_below: float = CLEAN_BELOW


def run_backup(
    repository: Repository,
    sources: Sequence[Source],
    options: BackupOptions,
    reporter: Reporter,
) -> Snapshot:
    """Back up all sources into one snapshot; durable on return.

    A source that fails does not stop the others: its component says why, and the snapshot is
    ``partial``. A dry run returns the snapshot that would be written, unstored.

    Raises:
        SourceError: no source could be backed up; there is no snapshot.
        SnapError: the repository cannot be used or written.
        KeyboardInterrupt: interrupted; what was stored so far is indexed for the next run.
    """
    _check_names([printable(source.name) for source in sources])
    owner = Owner("backup", options.hostname, os.getpid())
    if options.dry_run:
        repository.load_index()
        return _Run(repository, options, reporter).run(sources, confirm=lambda: None)
    with Lease(repository.backend, repository.keys, owner, repository.clock) as lease:
        # In this order: what is doomed once our lease can be seen must be seen by us.
        avoid_doomed(repository, lease)
        repository.load_index()
        adopt_interrupted(repository, options.hostname, lease)
        snapshot = _Run(repository, options, reporter).run(sources, confirm=lease.confirm)
        make_sure_of(repository, snapshot, lease)
        return snapshot


def _check_names(names: Sequence[str]) -> None:
    """Refuse before any work what would make a snapshot that cannot be read again."""
    if len(set(names)) != len(names):
        raise SnapError("two sources have the same name", "give each its own with --name")
    for name in names:
        if not is_plain_name(name.encode()):
            raise UsageError(f"not a name for a component: {name!r}", "give another with --name")


class _Run:
    def __init__(self, repository: Repository, options: BackupOptions, reporter: Reporter) -> None:
        self._repository = repository
        self._options = options
        self._reporter = reporter
        self._clock = repository.clock
        self._is_alone = False
        self._snapshots, _ = readable_snapshots(repository)
        self._writer = BlobWriter(
            repository,
            WriterOptions(
                dry_run=options.dry_run,
                extra_verify=options.extra_verify,
                compression=options.compression,
                workers=max(2, os.cpu_count() or 2),
            ),
        )
        self._comparer = Comparer(repository.keys, max(2, os.cpu_count() or 2))
        self._reuse = Reuse(repository, repository.holdings.has, options.clean_below)
        self._files = FileWriter(repository, self._writer, self._reuse, self._comparer)
        self._before: Component | None = None
        self._previous: PreviousTree | PreviousNodes | None = None
        self._previous_started_ns = 0
        self._is_quarantined = False

    def run(self, sources: Sequence[Source], confirm: Callable[[], None]) -> Snapshot:
        started = self._clock()
        self._is_alone = len(sources) == 1
        ahead = OpenAhead(sources)
        try:
            components = [self._component(source, ahead) for source in sources]
            self._writer.finish()
            snapshot = self._snapshot(components, started)
            if self._options.dry_run:
                return snapshot
            confirm()
            id_ = self._repository.put_object(
                SNAPSHOT_PREFIX, Kind.SNAPSHOT, encode_snapshot(snapshot)
            )
            return snapshot.with_id(id_)
        except KeyboardInterrupt:
            self._writer.abandon()
            raise
        except SourceError:
            # No component succeeded; what was read is stored and may serve the next run.
            self._writer.abandon()
            raise
        finally:
            ahead.close()
            self._comparer.close()
            self._writer.close()

    def _snapshot(self, components: list[Component], started: int) -> Snapshot:
        good = [c for c in components if c.status != FAILED]
        if not good:
            raise _nothing_backed_up(components)
        complete = all(c.status == SUCCESS for c in components)
        points = [c.point_ns for c in good]
        return Snapshot(
            time_ns=started if self._options.time_ns is None else self._options.time_ns,
            service=printable(self._options.service),
            hostname=printable(self._options.hostname),
            username=printable(self._options.username),
            program=PROGRAM,
            status=QUARANTINED if self._is_quarantined else SUCCESS if complete else PARTIAL,
            components=tuple(sorted(components, key=lambda c: c.name.encode())),
            tags=tuple(sorted({printable(tag) for tag in self._options.tags})),
            skew_ns=max(points) - min(points),
            statistics=SnapshotStatistics(
                bytes_processed=sum(c.bytes for c in components),
                bytes_new=sum(c.bytes_new for c in components),
                bytes_stored=sum(c.bytes_stored for c in components),
                blobs_new=self._writer.blobs_new,
                duration_ns=self._clock() - started,
            ),
        )

    def _component(self, source: Source, ahead: OpenAhead) -> Component:
        started = self._clock()
        tally = Tally()
        component = Component(
            name=printable(source.name),
            kind=source.kind,
            place=printable(source.place),
            status=FAILED,
            started_ns=started,
            point_ns=started,
        )
        self._reporter.start(component.name, None)
        self._find_previous(component.name)
        try:
            with ahead.open(source) as view:
                component = self._store_view(view, component, tally)
        except Unchanged as unchanged:
            component = self._carry_over(component, str(unchanged), tally)
        except (SourceError, OSError) as error:
            hint = getattr(error, "hint", "")
            message = f"{error} ({hint})" if hint else str(error)
            if not self._is_alone:
                # The only component's error is the run's; saying it once is enough.
                self._reporter.warn(f"{component.name}: {message}")
            component = replace(component, status=FAILED, subtree=None, error=printable(message))
        finally:
            self._reporter.finish()
        component = replace(
            component,
            files=tally.files,
            bytes=tally.bytes,
            bytes_new=tally.bytes_new,
            bytes_stored=tally.bytes_stored,
            finished_ns=self._clock(),
        )
        return component if component.status == FAILED else self._examine(component)

    def _carry_over(self, component: Component, reason: str, tally: Tally) -> Component:
        """Return the last snapshot's component as that of this run, if all it needs is there."""
        before = self._before
        if before is None or before.status != SUCCESS or not self._is_whole(before):
            return replace(
                component,
                error=f"{reason}, but the last snapshot of it is not whole: dump it again",
            )
        self._reporter.warn(f"{component.name}: {reason}: taken over from the last snapshot")
        tally.files, tally.bytes = before.files, before.bytes
        return replace(
            before,
            place=component.place,
            started_ns=component.started_ns,
            downtime_ns=0,
            warnings=(*before.warnings, printable(reason)),
        )

    def _is_whole(self, component: Component) -> bool:
        """Return whether the repository holds all trees and contents of a component."""
        subtree = component.subtree or ()
        try:
            return all(map(self._reuse.is_held, subtree)) and all(
                all(map(self._reuse.is_held, node.subtree))
                and (node.content is None or self._reuse.has_all(node.content))
                for _, node in walk_directory(self._repository, subtree)
            )
        except IntegrityError:
            return False

    def _find_previous(self, name: str) -> None:
        """Choose what this component is compared with."""
        service = printable(self._options.service)
        before = self._before = previous_component(self._snapshots, service, name)
        self._previous = None
        if before is not None:
            self._previous_started_ns = before.started_ns

    def _store_view(self, view: View, component: Component, tally: Tally) -> Component:
        sorted_trees = TreeWriter(self._writer, tally, self._stored_tree)
        trees = sorted_trees if view.is_sorted else UnsortedTrees(sorted_trees)
        self._look_into_previous(is_sorted=view.is_sorted)
        problems: list[tuple[bytes, str]] = []
        entries = 0
        for entry in view.entries():
            entries += 1
            problem = entry.problem or self._store_entry(entry, trees, tally)
            if problem:
                problems.append((b"/".join(entry.path), printable(problem)))
                self._reporter.warn(f"{printable_path(entry.path)}: {problem}")
            if entry.problem and entry.type is NodeType.DIR and entry.attributes is not None:
                trees.add_directory(entry.path, entry.attributes)
        subtree = trees.finish()
        report = view.finish()
        if entries == 0:
            raise SourceError(
                "nothing there to back up", "is it mounted, and is this the right place?"
            )
        if len(problems) == entries:
            raise SourceError(f"nothing could be read: {problems[0][1]}")
        warnings = [*report.warnings, *(f"damaged: {damage}" for damage in report.damaged)]
        self._is_quarantined |= bool(report.damaged)
        for warning in warnings:
            self._reporter.warn(f"{component.name}: {warning}")
        return replace(
            component,
            status=PARTIAL if problems else SUCCESS,
            subtree=subtree,
            root=report.root,
            consistency=str(report.consistency),
            point_ns=report.point_ns,
            downtime_ns=report.downtime_ns,
            statistics=printable_tree(dict(report.statistics)),
            versions=printable_tree(dict(report.versions)),
            problems=tuple(problems),
            warnings=tuple(printable(w) for w in warnings),
        )

    def _examine(self, component: Component) -> Component:
        """Compare a component with the last good one; a collapse quarantines the snapshot."""
        if self._options.accept_changes or BEFORE_RESTORE_TAG in self._options.tags:
            return component
        service = printable(self._options.service)
        before = last_good(self._snapshots, service, component.name, component.kind)
        found = [] if before is None else collapses(before, component)
        warnings = [f"since the last good snapshot it collapsed: {what}" for what in found]
        for warning in warnings:
            self._reporter.warn(f"{component.name}: {warning}")
        self._is_quarantined |= bool(found)
        return replace(component, warnings=(*component.warnings, *warnings))

    def _look_into_previous(self, *, is_sorted: bool) -> None:
        """Open the last version's trees, for paths that come in order or not."""
        if self._before is not None:
            find = PreviousTree if is_sorted else PreviousNodes
            self._previous = find(self._repository, self._before.subtree or ())

    def _store_entry(self, entry: Entry, trees: Trees, tally: Tally) -> str:
        """Store one entry; return why it could not be read, empty if it could."""
        attributes = entry.attributes
        previous = self._previous.find(entry.path) if self._previous is not None else None
        if attributes is None:
            return "its attributes could not be read"
        if entry.type is NodeType.DIR:
            trees.add_directory(entry.path, attributes)
            return ""
        if entry.type is NodeType.FILE:
            return self._store_file(entry, previous, trees, tally)
        node = Node(entry.path[-1], entry.type, attributes, target=entry.target)
        trees.add_node(entry.path, lambda: node)
        return ""

    def _store_file(self, entry: Entry, previous: Node | None, trees: Trees, tally: Tally) -> str:
        attributes = entry.attributes
        if entry.open is None or attributes is None:
            return "it has no content that could be read"
        known = self._unread(entry, attributes, previous)
        if known is not None:
            tally.files += 1
            tally.bytes += known.size_bytes
            self._reporter.advance(known.size_bytes, item=printable_path(entry.path))
            # The same node again where it is: its directory may then be known as a whole.
            same = (
                previous
                if previous is not None and is_stored_alike(previous, attributes)
                else Node(entry.path[-1], NodeType.FILE, attributes, content=known)
            )
            trees.add_node(entry.path, lambda: same)
            return ""
        self._reporter.advance(0, item=printable_path(entry.path))
        before = previous.content if previous is not None else None
        hints = Hints(entry.page_bytes, entry.record_widths)
        try:
            with entry.open() as reader:
                content = self._files.store(reader, before, hints, tally, self._reporter)
                changed = reader.is_changed()
        except OSError as error:
            return error.strerror or str(error)
        tally.files += 1
        if changed:
            self._reporter.warn(f"{printable_path(entry.path)}: changed while it was read")

        trees.add_node(
            entry.path, _pending_file(entry.path[-1], attributes, content, changed=changed)
        )
        return ""

    def _stored_tree(self, path: Place, nodes: Sequence[Node]) -> BlobId | None:
        """Return the tree blob of the previous version that holds just these nodes."""
        known = self._previous.blob_of(path, nodes) if self._previous is not None else None
        return known if known is not None and self._reuse.is_held(known) else None

    def _unread(
        self, entry: Entry, attributes: Attributes, previous: Node | None
    ) -> Content | None:
        """Return the content of a file that need not be read, because it looks unchanged."""
        if self._options.full or previous is None or previous.content is None:
            return None
        looked_ns = self._previous_started_ns
        if not is_unchanged(previous, entry.size_bytes, attributes, looked_ns):
            return None
        return previous.content if self._reuse.has_all(previous.content) else None


def _pending_file(
    name: bytes, attributes: Attributes, content: PendingFile, *, changed: bool
) -> PendingNode:
    def node() -> Node:
        return Node(name, NodeType.FILE, attributes, content=content.result(), changed=changed)

    return node


def _nothing_backed_up(components: Sequence[Component]) -> SourceError:
    if len(components) == 1:
        return SourceError(f"{components[0].name}: {components[0].error}")
    reasons = "; ".join(f"{c.name}: {c.error}" for c in components)
    return SourceError(f"no source could be backed up: {reasons}")


def printable(text: str) -> str:
    """Return text that can be stored as UTF-8; bytes that are none become escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def printable_path(path: Sequence[bytes]) -> str:
    """Return a path for people."""
    return b"/".join(path).decode("utf-8", "backslashreplace")


def printable_tree(value: Any) -> Any:
    """Return statistics with all their texts made storable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(key)): printable_tree(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_tree(item) for item in value]
    return value
