"""Giving space back, in two steps, so that nothing that is needed can go (spec/DESIGN.md).

*Mark*: packs that no snapshot needs are named in a doomed object; backups that begin from now on
take them as not there. *Sweep*, later: once everything has ended that was running at the mark,
what is needed is computed anew, and what still is not is deleted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from snap.backends.base import BackendError, BackendUnavailable, ObjectNotFound, ObjectStat

from .clock import MINUTE_NS
from .commit import PRUNE
from .doomed import (
    Doomed,
    DoomedList,
    DoomedPack,
    delete_doomed,
    list_doomed,
    put_doomed,
)
from .ids import ObjectId, id_of_name, pack_name
from .lease import (
    DEAD_AFTER_NS,
    Lease,
    LeaseState,
    Owner,
    RepositoryLocked,
    list_leases,
    ran_out,
    remove_dead,
    remove_ended,
)
from .objects import StoredObject, each_object
from .progress import Reporter
from .prune_plan import Limits, Plan, make_plan
from .reindex import Reindexed, write_anew
from .repack import Repacked, Repacking
from .repository import Repository
from .survey import Survey, is_current, survey

RIPE_AFTER_NS = DEAD_AFTER_NS
"""A doomed object is at least so old, by the store's clock, before anything it names is deleted."""
TOMBSTONE_NS = 7 * 24 * 60 * MINUTE_NS
"""It stays so long: a prune that sleeps with a deletion in its hand must not meet a pack that was
put again under its old name (spec/DESIGN.md)."""
_PUT_NO_PACKS = frozenset({"forget", "hold", "tag"})
"""Operations that leave no packs when they are killed. Where no backup is made, as in a copy,
nobody else removes their leases, and while one is there packs in no index are left alone."""
_CONFIRM_EVERY = 256
_MANY_MARKS = 16
_YOUNG_NS = 10 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """How space is given back.

    Attributes:
        owner: Who does it, for the lease.
        now: Delete in this run what is marked in it; refused while anything else is at work.
        dry_run: Change nothing.
        limits: What is worth moving.
    """

    owner: Owner
    now: bool = False
    dry_run: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Packs that are not needed and were not deleted yet, and why.

    Attributes:
        until_ns: By the store's clock when the earliest, 0 where that depends on others only.
        is_marked: False for packs that a later prune has to mark first.
    """

    packs: int
    size_bytes: int
    reason: str
    until_ns: int = 0
    is_marked: bool = True


@dataclass(slots=True)
class PruneReport:
    """What was done, or in a dry run would be. Sizes in bytes.

    Attributes:
        deleted: Packs that are gone.
        marked: Packs that were marked in this run; those that were repacked among them.
        rescued: Packs that were marked, and are needed again: what is has new places.
        waiting: What is not needed and not deleted yet.
        refused: What the store did not let go, and why.
        lost: What snapshots need and nobody has.
        unused_bytes: What lies unused in packs that stay.
        kept_bytes: What the packs that stay take.
        keeps_deleted: The store keeps what was deleted as old versions, and so its space.
    """

    deleted: int = 0
    deleted_bytes: int = 0
    marked: int = 0
    marked_bytes: int = 0
    rescued: int = 0
    repacked: Repacked = field(default_factory=Repacked)
    repack_packs: int = 0
    repack_bytes: int = 0
    reindexed: Reindexed = field(default_factory=Reindexed)
    waiting: list[Waiting] = field(default_factory=list)
    refused: list[tuple[str, BackendError]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unused_bytes: int = 0
    kept_bytes: int = 0
    keeps_deleted: bool = False


def run_prune(repository: Repository, options: PruneOptions, reporter: Reporter) -> PruneReport:
    """Delete what was marked long enough ago, and mark what is not needed now.

    Needs the metadata secret only. Whatever it is cut short at, every snapshot keeps what it
    needs, and the next run goes on.

    Raises:
        RepositoryLocked: another prune is at work, or with ``now`` anything; or the own lease ran
            out.
        NeedsUnknown: something that is damaged hides what is needed.
        BackendError: the store failed.
    """
    run = _Prune(repository, options, reporter)
    if options.dry_run:
        run.look(None)
        run.foresee()
        return run.report
    backend, keys = repository.backend, repository.keys
    with Lease(backend, keys, options.owner, repository.clock) as lease:
        remove_ended(backend)
        remove_dead(backend, keys, lease, options.owner.hostname, {PRUNE})
        remove_dead(backend, keys, lease, None, _PUT_NO_PACKS)
        run.refuse_others(lease)
        run.look(lease)
        run.mark(lease)
        run.sweep(lease)
    run.report.keeps_deleted = backend.keeps_deleted
    return run.report


class _Prune:
    """One run. The steps are called in the order of `run_prune`."""

    def __init__(self, repository: Repository, options: PruneOptions, reporter: Reporter) -> None:
        self._repository = repository
        self._backend = repository.backend
        self._keys = repository.keys
        self._options = options
        self._reporter = reporter
        self._now_ns = 0
        self._others: list[LeaseState] = []
        self._doomed = DoomedList()
        self._ripe: list[Doomed] = []
        self._unripe: list[tuple[Doomed, str, int]] = []
        self._found: Survey | None = None
        self._plan = Plan()
        self._moved: set[ObjectId] = set()
        self._deleted: set[ObjectId] = set()
        self.report = PruneReport()

    def refuse_others(self, lease: Lease) -> None:
        """Refuse to work beside what works on the same, or with ``now`` beside anything."""
        for other in self._live_leases(lease):
            operation = "" if other.owner is None else other.owner.operation
            if operation == PRUNE:
                raise RepositoryLocked(
                    f"another prune is at work here: {other.words}", "wait until it has ended"
                )
            if self._options.now:
                raise RepositoryLocked(
                    f"--now is for a repository that nothing else uses: {other.words}",
                    "run it without --now, or when that has ended",
                )

    def _live_leases(self, own: Lease | None) -> list[LeaseState]:
        self._now_ns = self._repository.clock() if own is None else own.renewed_ns
        self._others = [
            state
            for state in list_leases(self._backend, self._keys)
            if own is None or state.id != own.id
        ]
        return [state for state in self._others if not ran_out(state, self._now_ns)]

    # Looking

    def look(self, lease: Lease | None) -> None:
        """Find out what is doomed and ripe, then what is needed, then what there is to do.

        In this order: what is needed counts only after everything has ended that may have come
        to need a pack.
        """
        self._doomed = list_doomed(self._backend, self._keys)
        for problem in self._doomed.problems:
            self.report.warnings.append(
                f"{problem.object}: {problem.problem}: what it named is looked at anew; "
                "'snap repair' sets it aside"
            )
        if lease is not None:
            self._tidy()
        live = {state.id: state for state in self._live_leases(lease)}
        for record in self._doomed.records:
            self._judge(record, live)
        doomed = self._doomed.pack_ids()
        self._found = found = survey(self._repository, doomed, self._reporter)
        self.report.lost = found.lost
        for record, reason, until_ns in self._unripe:
            self._wait(record, reason, until_ns)
        young = self._young(live.values())
        self._plan = make_plan(
            self._repository,
            found,
            doomed,
            self._options.limits,
            spare=lambda id_: id_ in young,
            take_unindexed=not self._others and not found.lost,
        )
        spared = [use for use in self._plan.spared if use.blobs]
        self.report.kept_bytes = self._plan.kept_bytes + sum(u.size_bytes for u in spared)
        self.report.unused_bytes = self._plan.unused_bytes + sum(u.unused_bytes for u in spared)
        self._tell_of_spared(live.values())
        self.report.repack_packs = len(self._plan.repack)
        self.report.repack_bytes = sum(use.size_bytes for use in self._plan.repack)
        self.report.marked = len(self._plan.unneeded) + len(self._plan.repack)
        self.report.marked_bytes = self.report.repack_bytes + sum(
            pack.size_bytes for pack in self._plan.unneeded.values()
        )

    def foresee(self) -> None:
        """Count what would be deleted."""
        there = self._there(self._ripe_packs())
        self.report.deleted = len(there)
        self.report.deleted_bytes = sum(pack.size_bytes for pack in there.values())
        self.report.rescued = len(self._plan.rescue)

    def _tidy(self) -> None:
        """Finish doomed objects that are half made, and merge what was forgotten."""
        self._merge_forgotten()
        for number, record in enumerate(self._doomed.records):
            if record.packs and record.leases is None:
                self._doomed.records[number] = self._finish(record)

    def _merge_forgotten(self) -> None:
        """Have one object say which snapshots were forgotten; each forgetting left one."""
        marks = [record for record in self._doomed.records if not record.packs]
        if len(marks) < _MANY_MARKS:
            return
        ids = frozenset(id_ for mark in marks for id_ in mark.snapshots)
        # Of what these replaced themselves only what is still there: else the list grows for ever.
        left = frozenset(self._doomed.replaced).intersection(
            id_ for mark in marks for id_ in mark.replaces
        )
        replaced = left | {mark.id for mark in marks}
        one = Doomed(self._repository.clock(), snapshots=ids, replaces=replaced)
        put_doomed(self._backend, self._keys, one)
        delete_doomed(self._backend, replaced)

    def _finish(self, record: Doomed) -> Doomed:
        """Store beside a doomed object, which is already to be seen, which leases there are.

        The first one stays as long as its packs: a listing may miss what is put while it is made.
        """
        leases = frozenset(state.id for state in list_leases(self._backend, self._keys))
        finished = replace(record, leases=leases, replaces=frozenset({record.id}))
        return put_doomed(self._backend, self._keys, finished)

    def _judge(self, record: Doomed, live: dict[ObjectId, LeaseState]) -> None:
        """Put a doomed object among the ripe, or say what it waits for."""
        if not record.packs:
            return
        left = [live[id_] for id_ in record.leases or () if id_ in live]
        ripe_ns = record.stored_ns + RIPE_AFTER_NS
        if left:
            self._unripe.append((record, f"perhaps in use by {left[0].words}", 0))
        elif record.leases is None:
            self._unripe.append((record, "its mark is not finished", 0))
        elif self._now_ns < ripe_ns and not self._options.now:
            self._unripe.append((record, "marked not long ago", ripe_ns))
        else:
            self._ripe.append(record)

    def _wait(self, record: Doomed, reason: str, until_ns: int) -> None:
        stored = self._surveyed.stored
        sizes = [
            pack.size_bytes
            for id_, pack in record.packs.items()
            if stored.size_bytes(pack.kind, id_) is not None
        ]
        if sizes:
            self.report.waiting.append(Waiting(len(sizes), sum(sizes), reason, until_ns))

    def _tell_of_spared(self, live: Iterable[LeaseState]) -> None:
        """Say what would be marked, were it not as young as something that is at work."""
        unneeded = [use.size_bytes for use in self._plan.spared if not use.blobs]
        if unneeded:
            words = ", ".join(sorted(state.words for state in live))
            reason = f"not marked while it may be of use to {words}"
            self.report.waiting.append(
                Waiting(len(unneeded), sum(unneeded), reason, is_marked=False)
            )

    def _young(self, live: Iterable[LeaseState]) -> set[ObjectId]:
        """Return the packs that were put since the oldest backup that is at work began.

        They are safe without this; but to mark what is needed in a minute helps nobody.
        """
        started = [state.started_ns for state in live if state.owner is not None]
        if not started:
            return set()
        age_ns = max(0, self._repository.clock() - min(started)) + _YOUNG_NS
        return {
            id_
            for stat in self._pack_stats()
            if stat.modified_ns >= self._now_ns - age_ns
            and (id_ := id_of_name(stat.name)) is not None
        }

    def _pack_stats(self) -> Iterable[ObjectStat]:
        for prefix in ("data/", "meta/"):
            yield from self._backend.list(prefix)

    # Mark

    def mark(self, lease: Lease) -> None:
        """Move what is needed out of mostly unused packs, and doom all that is not needed."""
        packs = dict(self._plan.unneeded)
        if self._plan.repack or self._plan.rescue:
            rescued = {use.id for use in self._plan.rescue}
            moved = self._repack(lease)
            self.report.rescued = len(moved.keys() & rescued)
            packs |= {id_: pack for id_, pack in moved.items() if id_ not in rescued}
        self.report.marked = len(packs)
        self.report.marked_bytes = sum(pack.size_bytes for pack in packs.values())
        if not packs:
            return
        lease.confirm()
        record = put_doomed(self._backend, self._keys, Doomed(self._repository.clock(), packs))
        record = self._finish(record)
        is_alone = record.leases is not None and record.leases <= {lease.id}
        if self._options.now and is_alone and self._is_current():
            self._ripe.append(record)
            self._moved |= packs.keys()
        else:
            others = len((record.leases or frozenset()) - {lease.id})
            reason = "marked now" + (f", while {others} others were at work" if others else "")
            self._wait(record, reason, record.stored_ns + RIPE_AFTER_NS)

    def _repack(self, lease: Lease) -> dict[ObjectId, DoomedPack]:
        found = self._surveyed
        repack = [*self._plan.rescue, *self._plan.repack]
        self._reporter.start("moving what is needed", sum(use.size_bytes for use in repack))

        def advance(count_bytes: int, name: str) -> None:
            self._reporter.advance(count_bytes, item=name)

        lease.confirm()
        full_bytes = self._plan.full_bytes
        moved = Repacking(self._repository, found.needed, advance, full_bytes=full_bytes).run(
            repack
        )
        self._reporter.finish()
        self.report.repacked = moved
        self.report.warnings += [
            f"left as it is: {problem}: 'snap repair' saves what can be saved"
            for problem in moved.damaged
        ]
        found.index_ids |= moved.index_ids
        return moved.sources

    @property
    def _surveyed(self) -> Survey:
        if self._found is None:
            raise RuntimeError("nothing was looked at yet")
        return self._found

    def _is_current(self) -> bool:
        return is_current(self._repository, self._surveyed)

    # Sweep

    def sweep(self, lease: Lease) -> None:
        """Delete what is ripe and not needed."""
        packs = self._ripe_packs()
        gone = self._plan.absent - self._plan.needed
        lease.confirm()
        self.report.reindexed = write_anew(self._repository, packs.keys() | gone)
        self.report.refused += self.report.reindexed.refused
        there = self._there(packs)
        self._delete(
            {i: p for i, p in there.items() if i not in self.report.reindexed.still_named}, lease
        )
        for record in self._ripe:
            self._close(record, there.keys() - self._deleted)

    def _ripe_packs(self) -> dict[ObjectId, DoomedPack]:
        """Return what may be deleted now."""
        packs: dict[ObjectId, DoomedPack] = {}
        for record in self._ripe:
            packs |= record.packs
        if self.report.lost:
            # What is in no index that can be read may be just what is missing.
            packs = {id_: pack for id_, pack in packs.items() if id_ in self._plan.named}
        needed = self._plan.needed - self._moved
        return {id_: pack for id_, pack in packs.items() if id_ not in needed}

    def _there(self, packs: dict[ObjectId, DoomedPack]) -> dict[ObjectId, DoomedPack]:
        """Return those packs that the store has."""
        stored = self._surveyed.stored
        return {
            id_: pack
            for id_, pack in packs.items()
            if stored.size_bytes(pack.kind, id_) is not None
        }

    def _delete(self, packs: dict[ObjectId, DoomedPack], lease: Lease) -> None:
        """Delete packs that no index object names any more."""
        there = list(packs.items())
        self._reporter.start("deleting", sum(pack.size_bytes for _, pack in there))
        for start in range(0, len(there), _CONFIRM_EVERY):
            lease.confirm()
            some = there[start : start + _CONFIRM_EVERY]
            objects = [StoredObject(pack_name(p.kind, id_), p.size_bytes) for id_, p in some]
            refused = self._delete_some(objects)
            gone = {id_: p for id_, p in some if pack_name(p.kind, id_) not in refused}
            self._deleted |= gone.keys()
            self.report.deleted_bytes += sum(pack.size_bytes for pack in gone.values())
        self.report.deleted = len(self._deleted)
        self._reporter.finish()

    def _delete_some(self, objects: Sequence[StoredObject]) -> set[str]:
        """Delete objects; return the names of those that the store keeps."""
        refused: list[tuple[str, BackendError]] = []

        def delete(one: StoredObject) -> None:
            try:
                self._backend.delete(one.name)
            except ObjectNotFound:
                pass
            except BackendUnavailable:
                raise
            except BackendError as error:
                refused.append((one.name, error))
            self._reporter.advance(one.size_bytes, item=one.name[-64:][:8])

        each_object(objects, delete, in_flight_bytes=1 << 62)
        self.report.refused += refused
        return {name for name, _ in refused}

    def _close(self, record: Doomed, kept: set[ObjectId]) -> None:
        """Be done with a doomed object when its packs are gone, and it is old enough."""
        stored = self._surveyed.stored
        left = {
            id_
            for id_, pack in record.packs.items()
            if id_ not in self._deleted and stored.size_bytes(pack.kind, id_) is not None
        }
        if left & kept:
            self._wait(record, "the store does not let all of it go yet", 0)
        elif left:
            self._wait(record, "needed again, and moved now", 0)
        else:
            delete_doomed(self._backend, record.replaces)
            if self._now_ns - record.stored_ns > TOMBSTONE_NS:
                delete_doomed(self._backend, [record.id])
