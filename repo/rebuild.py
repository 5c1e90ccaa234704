"""Repairing a repository from what it has itself (spec/FORMAT.md §2.1, spec/DESIGN.md).

What is written comes first: packs with what was saved of damaged ones, index objects that name
all that can be read. Only then are damaged and replaced objects set aside, each put aside before it
is deleted. So dying at any point leaves everything that could be read where it can be read, and the
next run goes on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from snap.backends.base import Backend, ObjectNotFound, ShortRead
from snap.errors import IntegrityError

from .aside import keep_aside, set_aside
from .catalog import Problem, readable_snapshots
from .check import check_key_slots, read_index_anew
from .codec import DecodeError
from .commit import PRUNE
from .crypto import Keys
from .doomed import list_doomed
from .examine import Examination, id_in
from .ids import BlobId, Kind, ObjectId, id_of_name, object_id, pack_name
from .index import PackColumns, join_columns
from .lease import Lease, Owner, RepositoryLocked, is_dead, list_leases
from .lost import Losses, collect_losses
from .pack import (
    DATA_PACK,
    META_PACK,
    PackSummary,
    open_blob,
    open_key_entry,
    rebuild_frame,
)
from .pack_check import Findings
from .progress import Reporter
from .repository import INDEX_PREFIX, SNAPSHOT_PREFIX, Repository
from .salvage import Salvaged, salvage, take_blob
from .slots import KEY_PREFIX
from .transfer import problem_of

OPERATION = "repair"
_INDEX_BLOBS = 50_000
"""Blobs that one new index object names: 52 bytes each in memory."""


@dataclass(frozen=True, slots=True)
class RebuildOptions:
    """How to repair.

    Attributes:
        read_data: Read data packs whole as well; without it those of a right size are believed.
        dry_run: Write nothing.
    """

    owner: Owner
    read_data: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class RebuildReport:
    """What a repair found and did, or with ``dry_run`` would do.

    Attributes:
        indexed: Packs that no index object named, and one names now.
        unread: How many of these were taken by their directory, their blobs not read.
        healed: Packs that have their very bytes again, and what was wrong with them.
        gone: Packs that the index named and the store does not have; it names them no more.
        aside: What was moved aside, and why.
        left: What is damaged still, and why.
        blobs_saved: Blobs of damaged packs that were put into new ones.
        blobs_lost: Blobs of damaged packs that no pack has whole.
        losses: What the snapshots lost, by path.
        snapshots: How many can be read.
        bytes_read: Bytes of packs read whole.
        bytes: Bytes put into packs.
    """

    indexed: list[str] = field(default_factory=list)
    unread: int = 0
    healed: list[Problem] = field(default_factory=list)
    gone: list[Problem] = field(default_factory=list)
    aside: list[Problem] = field(default_factory=list)
    left: list[Problem] = field(default_factory=list)
    blobs_saved: int = 0
    blobs_lost: int = 0
    losses: Losses = field(default_factory=Losses)
    snapshots: int = 0
    bytes_read: int = 0
    bytes: int = 0

    @property
    def ok(self) -> bool:
        """Return whether nothing is damaged any more and nothing was found to be lost."""
        gone = any(p.object.startswith((SNAPSHOT_PREFIX, KEY_PREFIX)) for p in self.aside)
        return not self.left and not self.losses.count and not gone


def run_rebuild(
    repository: Repository, options: RebuildOptions, reporter: Reporter
) -> RebuildReport:
    """Repair a repository without a copy. Nothing is deleted that is not kept aside.

    A writer key repairs the index and metadata packs; of damaged data packs it cannot tell which
    blobs are whole, so these are left as they are.

    Raises:
        RepositoryLocked: a prune runs, or the own lease ran out.
        BackendError: the store failed; what was done stays.
    """
    if options.dry_run:
        run = _Rebuild(repository, options, reporter)
        try:
            run.repair()
        finally:
            repository.cache.drop_indexes(run.supposed)
        return run.report
    with Lease(repository.backend, repository.keys, options.owner, repository.clock) as lease:
        refuse_beside_prune(repository.backend, repository.keys, lease, options.owner.hostname)
        # Not earlier: what is doomed once our lease can be seen must be seen by us.
        run = _Rebuild(repository, options, reporter)
        run.lease = lease
        run.repair()
    return run.report


def refuse_beside_prune(backend: Backend, keys: Keys, own: Lease, hostname: str) -> None:
    """Refuse while a prune runs: it decides by what the index said when it looked.

    Raises:
        RepositoryLocked: one runs, or somebody whose lease cannot be read.
    """
    store_now_ns = backend.stat(own.name).modified_ns
    for state in list_leases(backend, keys):
        if state.id == own.id or is_dead(state, store_now_ns, hostname):
            continue
        if state.owner is None:
            raise RepositoryLocked(
                f"{state.name} cannot be read: it may be a prune that runs",
                "a lease that is not renewed counts for nothing after 30 minutes: try again then",
            )
        if state.owner.operation == PRUNE:
            raise RepositoryLocked(
                f"a prune runs on {state.owner.hostname} (process {state.owner.pid})",
                "try again when it has ended",
            )


class _Readable:
    """Metadata blobs that a dry run has saved in memory."""

    def __init__(self) -> None:
        self.blobs: dict[BlobId, bytes] = {}

    def read_blob(self, id_: BlobId, kind: Kind) -> bytes | None:
        del kind
        return self.blobs.get(id_)


class _Rebuild:
    """One repair.

    Attributes:
        supposed: In a dry run, index objects that only the cache has.
    """

    def __init__(self, repository: Repository, options: RebuildOptions, reporter: Reporter) -> None:
        self._repository = repository
        self._backend = repository.backend
        self._options = options
        self._reporter = reporter
        doomed = list_doomed(repository.backend, repository.keys)
        self._doomed = doomed.pack_ids()
        self._damaged_marks = doomed.problems
        self._pending: list[PackColumns] = []
        self._found = Examination(repository, self._doomed, self._adopt)
        self._untrusted: set[str] = set()
        self.lease: Lease | None = None
        self.supposed: list[ObjectId] = []
        self._readable = _Readable()
        self.report = RebuildReport()

    def repair(self) -> None:
        """Do all of it."""
        self._repository.forget_content()
        findings = Findings()
        check_key_slots(self._repository, findings)
        read_index_anew(self._repository, findings)
        # What is added from now on is in the cache as well.
        self._repository.blobs.settle()
        indexes = self._repository.cache.index_ids()
        self._found.run(self._reporter, read_data=self._options.read_data)
        self.report.indexed += self._found.indexed
        self.report.gone += self._found.gone
        self.report.unread = self._found.unread
        self.report.bytes_read = self._found.bytes_read
        self._save()
        self._flush()
        self._confirm()
        self._replace_indexes(indexes)
        for problem in findings.errors:
            self._set_aside(problem)
        for name in sorted(self._found.bad):
            self._set_aside(self._found.bad[name])
        for problem in self._damaged_marks:
            self._set_mark_aside(problem)
        self._conclude()

    def _confirm(self) -> None:
        if self.lease is not None:
            self.lease.confirm()

    def _adopt(self, pack: PackSummary) -> None:
        """Have a new index object name a pack."""
        self._pending.append(PackColumns.of(pack))
        if sum(columns.count for columns in self._pending) >= _INDEX_BLOBS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._put_index(self._pending)
            self._pending = []

    def _put_index(self, packs: list[PackColumns]) -> None:
        self._confirm()
        body = join_columns(packs)
        if self._options.dry_run:
            id_ = object_id(b"".join(pack.id for pack in packs))
            self.supposed.append(id_)
        else:
            id_ = self._repository.put_object(INDEX_PREFIX, Kind.INDEX, body)
        self._repository.cache.add_index(id_, packs)

    def _save(self) -> None:
        """Save what is whole of damaged packs; leave those of which that cannot be told."""
        if not self._found.bad:
            return
        self._untrusted = set(self._found.bad)
        self._reporter.start("saving what is whole", None)
        misplaced = self._found.bad.keys() & self._found.misplaced
        for name in sorted(misplaced):
            self._put_in_place(name)
        for name in sorted(self._found.bad.keys() - misplaced):
            if not self._save_one(name):
                del self._found.bad[name]
        self._reporter.finish()

    def _put_in_place(self, name: str) -> None:
        """Put a whole pack that lies under a wrong name where it belongs, unless it is there."""
        stored = self._backend.get(name)
        id_ = object_id(stored)
        for proper in (pack_name(kind, id_) for kind in (DATA_PACK, META_PACK)):
            try:
                truth = self._found.truth(proper, stored)
            except DecodeError:
                continue
            known = self._found.known(id_)
            is_there = known is not None and id_ not in self._found.damage.sizes
            if is_there or id_ != id_of_name(name):
                return
            if proper not in self._found.bad:
                self._found.bad[proper] = Problem(proper, "missing: it lay under a wrong name")
            self._heal(proper, stored, truth, is_indexed=known is not None)
            del self._found.bad[proper]

    def _save_one(self, name: str) -> bool:
        """Return whether the damaged pack can be set aside."""
        try:
            stored = self._backend.get(name)
        except (ObjectNotFound, ShortRead) as error:
            self.report.left.append(problem_of(name, error))
            return False
        id_ = id_in(name)
        known = self._found.known(id_)
        if known is not None and object_id(stored) == id_ and len(stored) == known.size_bytes:
            told = f"{self._found.bad[name].problem}; it was whole when it was read again"
            self.report.left.append(Problem(name, told))
            return False
        is_indexed = known is not None
        if known is None:
            try:
                known = self._found.truth(name, stored)
            except DecodeError:
                # Nothing says what was in it.
                return True
        whole = rebuild_frame(self._repository.keys, known, stored)
        if whole is not None:
            self._heal(name, whole, known, is_indexed=is_indexed)
            return False
        if known.kind == DATA_PACK and self._repository.keys.private is None:
            problem = self._found.bad[name].problem
            told = f"{problem}; a writer key cannot tell which of its blobs are whole"
            self.report.left.append(Problem(name, told))
            return False
        found = salvage(self._repository.keys, known, stored, self._is_elsewhere)
        self._suppose(known, stored)
        self._note(name, id_, found)
        if is_indexed:
            self._found.drop.add(id_)
        elif self._options.dry_run:
            self._adopt(known)
        return True

    def _heal(self, name: str, whole: bytes, pack: PackSummary, *, is_indexed: bool) -> None:
        """Put a pack's very bytes; damaged ones are kept aside first."""
        if not self._options.dry_run:
            keep_aside(self._backend, name)
            self._backend.put(name, whole)
        self._suppose(pack, whole)
        self.report.healed.append(self._found.bad[name])
        self.report.gone = [problem for problem in self.report.gone if problem.object != name]
        self.report.bytes += len(whole)
        self._untrusted.discard(name)
        self._found.damage.sizes.pop(pack.id, None)
        self._found.drop.discard(pack.id)
        if not is_indexed:
            self.report.indexed.append(name)
            self._adopt(pack)

    def _suppose(self, pack: PackSummary, stored: bytes) -> None:
        """In a dry run, have the metadata at hand that would be readable afterwards."""
        if not self._options.dry_run or pack.kind != META_PACK:
            return
        keys, view = self._repository.keys, memoryview(stored)
        for entry in pack.entries:
            blob = take_blob(keys, pack, view, entry)
            if blob is not None:
                key = open_key_entry(keys, pack.kind, blob.sealed_key)
                self._readable.blobs[entry.id] = open_blob(keys, key, entry, blob.stored)
        self._repository.blobs.set_elsewhere(self._readable)

    def _note(self, name: str, id_: ObjectId, found: Salvaged) -> None:
        self.report.blobs_saved += found.saved
        self.report.blobs_lost += len(found.lost)
        self._found.damage.places.update((id_, blob) for blob in found.lost)
        problem = self._found.bad[name].problem
        self._found.bad[name] = Problem(
            name, f"{problem}; {found.whole} of its {found.whole + found.damaged} blobs are whole"
        )
        if found.pack is None or found.summary is None:
            return
        if not self._options.dry_run:
            self._backend.put(pack_name(found.summary.kind, found.summary.id), found.pack)
            self._adopt(found.summary)
        self.report.bytes += len(found.pack)

    def _is_elsewhere(self, blob: BlobId) -> bool:
        """Return whether a blob lies in a pack that stays and that nothing is known against."""
        for place in self._repository.cache.locate(blob):
            name = pack_name(place.pack_kind, place.pack_id)
            if name in self._untrusted or place.pack_id in self._found.damage.sizes:
                continue
            if place.pack_id not in self._doomed and place.pack_id not in self._found.drop:
                return True
        return False

    def _replace_indexes(self, indexes: Iterable[ObjectId]) -> None:
        """Replace those of these index objects that name packs of which they are wrong."""
        if not self._found.drop:
            return
        for id_ in indexes:
            name = f"{INDEX_PREFIX}{id_.hex()}"
            try:
                packs = self._repository.read_index(name)
            except (ObjectNotFound, IntegrityError):
                continue
            if not self._found.drop & {pack.id for pack in packs}:
                continue
            kept = [pack for pack in packs if pack.id not in self._found.drop]
            if kept and not self._options.dry_run:
                self._put_index(kept)
            self._set_aside(Problem(name, "named packs that are lost or damaged: replaced"))
            if not self._options.dry_run:
                self._repository.cache.drop_indexes([id_])

    def _set_aside(self, problem: Problem) -> None:
        even_whole = "hash in its name" not in problem.problem
        reason = ""
        if not self._options.dry_run:
            reason = set_aside(self._backend, problem.object, even_whole=even_whole)
        if reason:
            self.report.left.append(Problem(problem.object, f"{problem.problem}; {reason}"))
        else:
            self.report.aside.append(problem)

    def _set_mark_aside(self, problem: Problem) -> None:
        """Set a damaged doomed object aside, unless a prune read it when it was whole.

        Nobody can go by it but such a prune, and that one's lease was there before the damage
        that we saw, so it is looked for once more (spec/DESIGN.md).
        """
        problem = replace(problem, problem=problem.problem.removeprefix("damaged: "))
        if "hash in its name" not in problem.problem:
            told = f"{problem.problem}; it is what was written, perhaps by a newer snap"
            self.report.left.append(replace(problem, problem=told))
            return
        if self.lease is not None:
            host = self._options.owner.hostname
            try:
                refuse_beside_prune(self._backend, self._repository.keys, self.lease, host)
            except RepositoryLocked as error:
                told = f"{problem.problem}; {error}, which may go by it"
                self.report.left.append(replace(problem, problem=told))
                return
        self._set_aside(problem)

    def _conclude(self) -> None:
        """Set damaged snapshots aside, and say what is lost of the others."""
        snapshots, problems = readable_snapshots(self._repository)
        for problem in problems:
            self._set_aside(replace(problem, problem=problem.problem.removeprefix("damaged: ")))
        self._repository.holdings.forget()
        self.report.indexed.sort()
        self.report.snapshots = len(snapshots)
        self.report.losses = collect_losses(self._repository, snapshots, self._found.damage)
