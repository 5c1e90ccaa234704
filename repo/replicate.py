"""Bringing a copy up to date: packs, then index objects, then snapshots, each as it is.

What is listed first is put last: the snapshots of the repository are listed before its index
objects, so those name every pack that the snapshots need, whatever is backed up meanwhile. A run
that was killed has put packs that nothing names yet; the next finds them in the listing.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field

from snap.backends.base import Backend, BackendError, ObjectNotFound, ShortRead
from snap.errors import IntegrityError

from .catalog import Problem, ProblemKind, latest_revisions, readable_snapshots, snapshot_at
from .commit import read_doomed
from .config import RepositoryConfig
from .copy import COPIED_PREFIXES, open_copy
from .copy_needs import CopyIndex, Needs
from .doomed import list_doomed
from .ids import ObjectId
from .index import PackColumns
from .lease import Lease, Owner, RepositoryLocked, lease_if_allowed, remove_dead
from .live import LiveSet
from .objects import WORKERS, StoredObject, list_sizes
from .progress import Reporter
from .repository import INDEX_PREFIX, SNAPSHOT_PREFIX, Repository
from .slots import KEY_PREFIX
from .snapshot import Snapshot
from .transfer import Reading, Transfer
from .verified import PackReadings, remember_named
from .whole import whole_snapshots

OPERATION = "replicate"
COPYING = frozenset({OPERATION, "repair"})
"""What leases are called whose owners write only whole objects under their own names."""
_PLANS = 4
"""So often what is to be put is found out anew, because the repository changed meanwhile."""


Keeps = Callable[[Sequence[Snapshot]], Set[ObjectId]]
"""Gives the ids of those snapshots that stay."""


@dataclass(frozen=True, slots=True)
class ReplicateOptions:
    """How a copy is brought up to date.

    Attributes:
        owner: Who does it, for the leases.
        verify: Read again all that the copy holds, and all that is put.
        dry_run: Only count what would be put.
        workers: How many objects are on their way at once; the bytes are bounded as well.
        keeps: Of all snapshots of the repository and the copy, those that the copy's own policy
            lets stay: others are not put, since they would be forgotten there again. None: all.
    """

    owner: Owner
    verify: bool = False
    dry_run: bool = False
    workers: int = WORKERS
    keeps: Keeps | None = None


@dataclass(slots=True)
class ReplicateReport:
    """What was done, or in a dry run would be.

    Attributes:
        packs: Packs put.
        bytes: Bytes put.
        snapshots: Snapshots put.
        bytes_read: Bytes that the copy held already and that were read again.
        ahead: Snapshots of the copy that the repository does not have.
        removed: Former revisions that were replaced.
        extra_slots: Key slots that only the copy has.
        held_back: Snapshots that were not put, because the copy does not have all they need.
        problems: What could not be had whole from the repository, or is damaged in the copy.
    """

    packs: int = 0
    bytes: int = 0
    snapshots: int = 0
    bytes_read: int = 0
    ahead: int = 0
    removed: int = 0
    extra_slots: list[str] = field(default_factory=list)
    held_back: list[Snapshot] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Return whether the copy now has all that the repository has."""
        return not self.problems and not self.held_back


def run_replicate(
    repository: Repository,
    backend: Backend,
    options: ReplicateOptions,
    reporter: Reporter,
    *,
    name: str = "",
) -> ReplicateReport:
    """Put into a copy all that it lacks; nothing of it is removed but replaced revisions.

    Needs the metadata secret only. Can be run at any time, also beside backups and twice at once,
    and again after it was cut short. ``name`` is the copy's, for the reporter.

    Raises:
        RepositoryNotFound, ForeignRepository, UsageError: there is no such copy.
        RepositoryLocked: it cannot be told what a prune that is at work in the copy deletes.
        BackendError: one of the stores failed; what was put stays and is not put again.
        IntegrityError: the copy's ``config`` is damaged, or it does not give back what was put.
    """
    config = open_copy(repository, backend)
    run = _Replication(repository, backend, config, options, reporter)
    try:
        return _run(run, name)
    finally:
        run.close()


def _run(run: "_Replication", name: str) -> ReplicateReport:
    repository, backend, options = run.repository, run.backend, run.options
    if options.dry_run:
        run.plan()
        return run.count()
    owner, keys, clock = options.owner, repository.keys, repository.clock
    with (
        lease_if_allowed(Lease(repository.backend, keys, owner, clock)) as own,
        Lease(backend, keys, owner, clock) as lease,
    ):
        for store, held in ((repository.backend, own), (backend, lease)):
            if held is not None:
                remove_dead(store, keys, held, owner.hostname, COPYING)
        run.lease = lease
        if options.verify:
            run.read_all(name)
        run.plan()
        run.put_packs(name)
        for _ in range(_PLANS):
            if not run.is_outdated():
                break
            run.plan()
            run.put_packs(name)
        if own is not None:
            own.confirm()
        lease.confirm()
        run.put_snapshots()
        run.make_sure(lease)
        run.remember()
    return run.report


class _Replication:
    """One run into one copy."""

    def __init__(
        self,
        repository: Repository,
        backend: Backend,
        config: RepositoryConfig,
        options: ReplicateOptions,
        reporter: Reporter,
    ) -> None:
        self._copy_index = CopyIndex(repository, backend, config)
        self.repository = repository
        self.backend = backend
        self._config = config
        self.options = options
        self._reporter = reporter
        self._damaged: dict[str, Problem] = {}
        self._there: dict[str, int] = {}
        self._doomed: frozenset[ObjectId] = frozenset()
        self._needs = Needs(LiveSet(repository.cache))
        self._generation = repository.cache.generation
        self._own: list[Snapshot] = []
        self._new: list[Snapshot] = []
        self._put_new: list[Snapshot] = []
        self._index: dict[str, int] = {}
        self._slots: dict[str, int] = {}
        self._snapshots: list[Snapshot] = []
        self._snapshot_sizes: dict[str, int] = {}
        self._readings = PackReadings(repository.clock)
        self.lease: Lease | None = None
        self.report = ReplicateReport()

    def close(self) -> None:
        """Close what is kept of the copy's index."""
        self._copy_index.close()

    def read_all(self, name: str) -> None:
        """Compare all that the copy holds with its names; what is damaged counts as not there."""
        objects = list(list_copied(self.backend).items())
        self._reporter.start(f"reading {name}", sum(size for _, size in objects))
        reading = self._reading()
        reading.run(StoredObject(*one) for one in objects)
        self._reporter.finish()
        self._damaged = reading.damaged
        self.report.bytes_read = reading.bytes

    def _reading(self) -> Reading:
        return Reading(
            self.backend,
            advance=self._advance,
            workers=self.options.workers,
            note=self._readings.note_name,
        )

    def _advance(self, count_bytes: int, name: str) -> None:
        self._reporter.advance(count_bytes, item=name[-64:][:8])

    def plan(self) -> None:
        """Find out what the copy lacks."""
        source = self.repository.backend
        self.report.problems.clear()
        self.report.warnings.clear()
        self._snapshot_sizes = list_sizes(source, SNAPSHOT_PREFIX)
        snapshots, problems = readable_snapshots(self.repository)
        self._index = list_sizes(source, INDEX_PREFIX)
        self.repository.load_readable_index()
        self._slots = list_sizes(source, KEY_PREFIX)
        # Before the packs: one that goes meanwhile is named here until it is gone.
        self._doomed = self._read_doomed()
        self._there = list_copied(self.backend)
        for name in self._damaged:
            self._there.pop(name, None)
        # What was stored since the listing is for the next run.
        listed = self._snapshot_sizes
        self._snapshots = [s for s in snapshots if SNAPSHOT_PREFIX + s.id.hex() in listed]
        self.report.problems += [p for p in problems if p.object not in self._there]
        self._own = self._own_snapshots()
        self._new = self._new_snapshots(self._own)
        self.report.warnings += [f"in the copy: {text}" for text in self._copy_index.load()]
        self._generation = self.repository.cache.generation
        self._needs = self._copy_index.needs(self._new, self._there, self._doomed)
        self.report.extra_slots = sorted(
            name for name in self._there if name.startswith(KEY_PREFIX) and name not in self._slots
        )

    def _read_doomed(self) -> frozenset[ObjectId]:
        if self.lease is None:
            return list_doomed(self.backend, self.repository.keys).pack_ids()
        doomed, warnings = read_doomed(self.backend, self.repository.keys, self.lease)
        self.report.warnings += [f"in the copy: {text}" for text in warnings]
        return doomed

    def is_outdated(self) -> bool:
        """Return whether something was gone for no other reason than that it was moved meanwhile.

        Or not needed any more: a snapshot was forgotten, and a prune was at work.
        """
        gone = [p for p in self.report.problems if p.kind == ProblemKind.MISSING]
        if not (gone or self._needs.missing):
            return False
        source = self.repository.backend
        return (
            list_sizes(source, INDEX_PREFIX) != self._index
            or list_sizes(source, SNAPSHOT_PREFIX) != self._snapshot_sizes
        )

    def _lacks(self, one: StoredObject) -> bool:
        return self._there.get(one.name) != one.size_bytes

    def _lacking(self, sizes: dict[str, int]) -> list[StoredObject]:
        return [one for one in map(StoredObject._make, sizes.items()) if self._lacks(one)]

    def count(self) -> ReplicateReport:
        """Return what there is to do."""
        packs = self._needs.packs
        names, _ = self._lacking_index()
        lacking = [
            *packs,
            *self._lacking(self._slots),
            *(StoredObject(name, self._index.get(name, 0)) for name in names),
            *map(self._stored, self._new),
        ]
        self.report.packs = len(packs)
        self.report.snapshots = len(self._new)
        self.report.bytes = sum(one.size_bytes for one in lacking)
        return self.report

    def _lacking_index(self) -> tuple[list[str], list[PackColumns]]:
        """Return what the copy's index lacks once all packs are there that are to be.

        One that could not be had is named as well: it is missing there as it is here.
        """
        there = self._there | {pack.name: pack.size_bytes for pack in self._needs.packs}
        for one in self._lacking(self._index):
            there.pop(one.name, None)
        return self._copy_index.lacking_index(there, self._doomed)

    def put_packs(self, name: str) -> None:
        """Put key slots, packs, then the index objects that name these."""
        packs, moved = self._needs.packs, self._needs.moved
        slots = self._lacking(self._slots)
        sizes = [one.size_bytes for one in (*slots, *packs, *self._lacking(self._index))]
        self._reporter.start(name, sum(sizes) + sum(use.size_bytes for use in moved))
        self._put(slots)
        self.report.packs += len(self._put(packs))
        if moved:
            self._move()
        if self.lease is not None:
            # Who took us for dead may have deleted what the index objects would name.
            self.lease.confirm()
        self._put_index()
        self._reporter.finish()

    def _move(self) -> None:
        """Put what is needed of packs that are deleted there, or were, into new ones."""
        moved = self._copy_index.move(self._needs, self._advance)
        self.report.packs += moved.packs
        self.report.bytes += moved.written_bytes
        for text in moved.damaged:
            name, _, problem = text.partition(": ")
            kind = ProblemKind.MISSING if name in moved.gone else ProblemKind.DAMAGED
            self.report.problems.append(Problem(name, problem, kind))

    def _put_index(self) -> None:
        """Put what the copy's index lacks, and what of it was damaged."""
        names, own = self._lacking_index()
        cut = [one.name for one in self._lacking(self._index) if one.name in self._there]
        damaged = [*cut, *(name for name in self._damaged if name in self._index)]
        wanted = dict.fromkeys([*names, *damaged])
        put = self._put(StoredObject(name, self._index.get(name, 0)) for name in wanted)
        self._copy_index.note(list(put))
        self.report.bytes += self._copy_index.put_index(own)

    def _put(self, objects: Iterable[StoredObject]) -> set[str]:
        transfer = Transfer(
            self.repository.backend,
            self.backend,
            advance=self._advance,
            workers=self.options.workers,
            read_back=self.options.verify,
        )
        transfer.run(objects)
        self.report.bytes += transfer.bytes
        self.report.problems += transfer.problems
        for name in transfer.moved:
            self._damaged.pop(name, None)
            if self.options.verify:
                self._readings.note_name(name, is_damaged=False)
            else:
                self._readings.forget(name)
        return set(transfer.moved)

    def remember(self) -> None:
        """Put down in the copy which of its packs were read, or put anew after they were."""
        names = self._there.keys() | {pack.name for pack in self._needs.packs}
        self.report.warnings += remember_named(
            self.backend,
            self.repository.keys,
            self._readings,
            names,
            clock=self.repository.clock,
        )

    def put_snapshots(self) -> None:
        """Put the snapshots that the copy lacks, then remove the revisions that they replace."""
        own, new = self._own, self._new
        is_known = self._generation == self.repository.cache.generation
        if not is_known:
            # The numbers of what was found before mean other blobs now.
            text = "the local cache was begun anew meanwhile: run it again if anything is held back"
            self.report.warnings.append(text)
        if new and (self.report.problems or self._needs.missing or not is_known):
            whole = whole_snapshots(self.repository, self.backend, self._config, new)
            self.report.held_back = [s for s in new if s not in whole]
            new = whole
        put = self._put(map(self._stored, new))
        self._put_new = [s for s in new if self._stored(s).name in put]
        self.report.snapshots = len(put)
        self._remove_replaced(own)
        # What is gone since it was listed was forgotten, or has another revision: the next run.
        self.report.problems = [
            p
            for p in self.report.problems
            if p.kind != ProblemKind.MISSING or not p.object.startswith(SNAPSHOT_PREFIX)
        ]
        self.report.problems += self._damaged.values()

    def make_sure(self, lease: Lease) -> None:
        """Make sure that nobody took us for dead, and what the new snapshots need, before that.

        Raises:
            RepositoryLocked: somebody did; snapshots that are not whole were removed again.
        """
        try:
            lease.confirm()
        except RepositoryLocked:
            new = self._put_new
            doomed = list_doomed(self.backend, self.repository.keys).pack_ids()
            whole = whole_snapshots(
                self.repository, self.backend, self._config, new, without=doomed
            )
            for snapshot in new:
                if snapshot not in whole:
                    self.backend.delete(SNAPSHOT_PREFIX + snapshot.id.hex())
            raise

    def _own_snapshots(self) -> list[Snapshot]:
        """Return the snapshots that only the copy has."""
        own = []
        for name in self._there:
            if name.startswith(SNAPSHOT_PREFIX) and name not in self._snapshot_sizes:
                try:
                    own.append(snapshot_at(self.repository.keys, self.backend, name))
                except ObjectNotFound:
                    continue
                except (IntegrityError, ShortRead) as error:
                    self.report.warnings.append(f"in the copy: {error}")
        return own

    def _new_snapshots(self, own: list[Snapshot]) -> list[Snapshot]:
        """Return what the copy lacks and does not have in a later revision."""
        later = {first_id(s): s.revision for s in latest_revisions(own)}
        here = {first_id(s): s.revision for s in self._snapshots}
        self.report.ahead = sum(
            1 for first, revision in later.items() if revision >= here.get(first, 0)
        )
        new = [
            s
            for s in self._snapshots
            if later.get(first_id(s), -1) <= s.revision and self._lacks(self._stored(s))
        ]
        if new and self.options.keeps is not None:
            stays = self.options.keeps(latest_revisions([*self._snapshots, *own]))
            new = [s for s in new if s.id in stays]
        return new

    def _stored(self, snapshot: Snapshot) -> StoredObject:
        name = SNAPSHOT_PREFIX + snapshot.id.hex()
        return StoredObject(name, self._snapshot_sizes[name])

    def _remove_replaced(self, own: list[Snapshot]) -> None:
        """Remove from the copy what a later revision there stands for."""
        held_back = set(map(first_id, self.report.held_back))
        failed = {problem.object for problem in self.report.problems}
        now = {
            first_id(s): s.revision
            for s in self._snapshots
            if first_id(s) not in held_back and self._stored(s).name not in failed
        }
        for old in own:
            if old.revision < now.get(first_id(old), 0):
                try:
                    self.backend.delete(SNAPSHOT_PREFIX + old.id.hex())
                    self.report.removed += 1
                except ObjectNotFound:
                    # Another run that brings this copy up to date was faster.
                    continue
                except BackendError as error:
                    text = f"the former revision of a snapshot stays in the copy: {error}"
                    self.report.warnings.append(text)


def first_id(snapshot: Snapshot) -> ObjectId:
    """Return the id that a snapshot had when it was first written, which all revisions share."""
    return snapshot.original or snapshot.id


def list_copied(backend: Backend) -> dict[str, int]:
    """Return all that a copy holds: 130 bytes of memory an object."""
    sizes: dict[str, int] = {}
    for prefix in COPIED_PREFIXES:
        sizes |= list_sizes(backend, prefix)
    return sizes
