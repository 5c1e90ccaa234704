"""Checking that a repository holds what its snapshots promise."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snap.backends.base import ObjectNotFound, ShortRead
from snap.errors import IntegrityError

from .catalog import Problem, ProblemKind, readable_snapshots
from .commit import doomed_warning
from .doomed import list_doomed
from .holdings import StoredPacks
from .ids import ID_BYTES, ObjectId, id_of_name, pack_name
from .live import LiveBlobs
from .lost import Losses, collect_losses
from .pack import PackSummary
from .pack_check import Findings, PackCheck
from .progress import Reporter
from .repository import INDEX_PREFIX, SNAPSHOT_PREFIX, Repository
from .slots import KEY_PREFIX, read_slot
from .snapshot import FAILED, Snapshot
from .totals import blob_totals
from .verified import CheckMemory, Coverage, choose

_LOOKS = 5
"""So often is looked again where a prune or forget beside it changes what is looked at."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        errors: What is damaged or missing, by object.
        losses: What that costs the snapshots, by path.
        hints: What is unusual and harms nothing.
        bytes_read: Bytes of packs that were read whole.
        verified: How far the packs that the index names were read, by this check and before.
    """

    errors: list[Problem]
    losses: Losses
    hints: list[str]
    packs: int
    blobs: int
    snapshots: int
    bytes_read: int
    verified: Coverage

    @property
    def ok(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.errors


def run_check(
    repository: Repository,
    *,
    read_fraction: float,
    reporter: Reporter,
    chance: random.Random | None = None,
    older_than_ns: int | None = None,
    remember: bool = False,
) -> CheckReport:
    """Check keys, index, snapshots, trees, and that every blob they need is in a pack that exists.

    What prunes marked and cannot be read is a hint, and so is a pack that is gone, if a prune
    marked it and no snapshot needs it.

    ``read_fraction`` of the packs are read whole and every blob in them opened; 1 reads all, 0
    none. Those come first that were not read for longest, ``chance`` decides between equal ones;
    and all are read that were not found whole since ``older_than_ns``. With a writer key data
    blobs cannot be opened: the packs' hashes and directories are checked, and a hint says so.

    ``remember``: put down in the repository what was read (`verified`), every ten minutes and at
    the end; where that fails, the repository gets a warning.

    Raises:
        BackendError: the store cannot be listed or does not answer.
    """
    findings = Findings()
    # What this machine remembers must not hide what is damaged in the store.
    repository.forget_content()
    check_key_slots(repository, findings)
    marks = list_doomed(repository.backend, repository.keys)
    # No error: nothing that is stored depends on them.
    findings.hints += map(doomed_warning, marks.problems)
    read_index_anew(repository, findings)
    _check_contradictions(repository, findings)
    presence = _Presence(repository, findings)
    snapshots = _check_snapshots(repository, findings)
    reader = PackCheck(repository, findings)
    memory = CheckMemory(repository, is_kept=remember)
    findings.hints += memory.known.problems
    chosen = choose(
        memory.known.rows,
        presence.ids(),
        fraction=read_fraction,
        older_than_ns=older_than_ns,
        chance=chance or random.SystemRandom(),
    )
    reporter.start("reading packs", sum(pack.size_bytes for pack in presence.take(chosen)))
    for pack in presence.take(chosen):
        is_whole = reader.check(pack)
        if is_whole is not None:
            memory.note(pack.id, is_damaged=not is_whole, errors=len(findings.errors))
        reporter.advance(pack.size_bytes, item=pack.id.hex()[:8])
    for name in presence.unindexed if read_fraction >= 1 else ():
        reader.check_unindexed(name)
    reporter.finish()
    _confirm_missing(repository, findings, reader.vanished)
    if chosen and repository.keys.private is None:
        findings.hints.append(
            "with a writer key the data blobs could not be opened: hashes and directories only"
        )
    losses = _losses(repository, snapshots, findings)
    if not losses.count:
        _excuse_swept(repository, findings)
    memory.note_absent(id_ for id_, size in findings.damage.sizes.items() if size is None)
    memory.keep(len(findings.errors))
    return CheckReport(
        errors=findings.errors,
        losses=losses,
        hints=findings.hints,
        packs=presence.packs,
        blobs=sum(count for count, _, _ in blob_totals(repository.cache).values()),
        snapshots=len(snapshots),
        bytes_read=reader.bytes_read,
        verified=memory.coverage(),
    )


def check_key_slots(repository: Repository, findings: Findings) -> None:
    """Read all key slots; none is opened."""
    for name in repository.names(KEY_PREFIX):
        try:
            read_slot(repository.backend, name)
        except (IntegrityError, ObjectNotFound) as error:
            findings.add(name, error)


def read_index_anew(repository: Repository, findings: Findings) -> None:
    """Read every index object afresh, and have the cache say what the good ones say.

    A prune replaces index objects: where one vanished, its successor is looked for.
    """
    for _ in range(_LOOKS):
        if not _read_listed_indexes(repository, findings):
            return


def _read_listed_indexes(repository: Repository, findings: Findings) -> bool:
    """Return whether an index object was gone when it was read."""
    is_any_gone = False
    gone = repository.cache.index_ids()
    for name in repository.names(INDEX_PREFIX):
        try:
            packs = repository.read_index(name)
        except ObjectNotFound:
            is_any_gone = True
            continue
        except (IntegrityError, ShortRead) as error:
            findings.add(name, error)
            continue
        id_ = ObjectId(bytes.fromhex(name[-64:]))
        gone.discard(id_)
        if not repository.cache.holds_index(id_, packs):
            repository.cache.drop_indexes([id_])
            repository.cache.add_index(id_, packs)
    # Also what only a damaged one says: it is lost to everybody else.
    repository.cache.drop_indexes(gone)
    return is_any_gone


def _check_contradictions(repository: Repository, findings: Findings) -> None:
    for pack_id, index_id in repository.cache.contradictions():
        name = f"{INDEX_PREFIX}{index_id.hex()}"
        text = f"describes pack {pack_id.hex()} unlike another index object"
        findings.add(name, text, ProblemKind.INCONSISTENT)


class _Presence:
    """Compares the index with the store.

    Attributes:
        packs: How many packs the index names.
        unindexed: Names of packs in the store that no index object names.
    """

    def __init__(self, repository: Repository, findings: Findings) -> None:
        self._cache = repository.cache
        self.packs = 0
        # Joined, 32 bytes each: there may be hundreds of thousands.
        self._present = bytearray()
        suspects: list[PackSummary] = []
        stored = StoredPacks(repository.backend)
        for pack in repository.cache.packs():
            self.packs += 1
            size = stored.take(pack.kind, pack.id)
            if size != pack.size_bytes:
                suspects.append(pack)
            if size is not None:
                self._present += pack.id
        self.unindexed = stored.names()
        _confirm_missing(repository, findings, suspects)
        if self.unindexed:
            findings.hints.append(
                f"{len(self.unindexed)} packs are in no index that can be read: left by an "
                "interrupted backup, written by one that runs now, or an index object is lost; "
                "do not delete them"
            )

    def ids(self) -> Iterator[ObjectId]:
        """Yield the ids of the packs that are there, ascending."""
        return map(self._id_at, range(len(self._present) // ID_BYTES))

    def _id_at(self, number: int) -> ObjectId:
        return ObjectId(bytes(self._present[ID_BYTES * number : ID_BYTES * (number + 1)]))

    def take(self, numbers: Sequence[int]) -> Iterator[PackSummary]:
        """Yield some of the packs that are there."""
        for number in numbers:
            pack = self._cache.pack(self._id_at(number))
            if pack is not None:
                yield pack


def _confirm_missing(
    repository: Repository, findings: Findings, suspects: Sequence[PackSummary]
) -> None:
    """Look again at packs that are gone or have another size, by the index as it is now.

    A prune deletes a pack after no index object names it any more; then nothing is missing.
    """
    if not suspects:
        return
    read_index_anew(repository, findings)
    for suspect in suspects:
        pack = repository.cache.pack(suspect.id)
        if pack is None:
            continue
        name = pack_name(pack.kind, pack.id)
        try:
            size = repository.backend.stat(name).size_bytes
        except ObjectNotFound:
            findings.add(name, "missing", ProblemKind.MISSING)
            findings.damage.sizes[pack.id] = None
            continue
        if size != pack.size_bytes:
            is_short = size < pack.size_bytes
            kind = ProblemKind.TRUNCATED if is_short else ProblemKind.DAMAGED
            findings.add(name, f"{size} bytes long instead of {pack.size_bytes}", kind)
            findings.damage.sizes[pack.id] = size


def _check_snapshots(repository: Repository, findings: Findings) -> list[Snapshot]:
    """Follow all snapshots; where something is wrong again, by the lists as they are then.

    A forget or a prune beside it may have taken what was looked for.
    """
    before: list[str] | None = None
    for _ in range(_LOOKS):
        listed = repository.names(SNAPSHOT_PREFIX)
        found = Findings()
        snapshots = _follow_snapshots(repository, found)
        if not found.errors or listed == before:
            break
        before = listed
        read_index_anew(repository, findings)
    for problem in found.errors:
        findings.add(problem.object, problem.problem, problem.kind)
    return snapshots


def _follow_snapshots(repository: Repository, findings: Findings) -> list[Snapshot]:
    snapshots, problems = readable_snapshots(repository)
    for problem in problems:
        findings.add(problem.object, problem.problem)
    live = LiveBlobs(repository, findings.blame)
    for snapshot in snapshots:
        name = f"{SNAPSHOT_PREFIX}{snapshot.id.hex()}"
        for component in snapshot.components:
            if component.subtree is not None:
                live.follow(f"snapshot {snapshot.short_id}:{component.name}", component.subtree)
            elif component.status != FAILED:
                findings.add(name, f"component {component.name} has no tree")
    return snapshots


def _losses(repository: Repository, snapshots: Sequence[Snapshot], findings: Findings) -> Losses:
    if not findings.errors:
        return Losses()
    return collect_losses(repository, snapshots, findings.damage)


def _excuse_swept(repository: Repository, findings: Findings) -> None:
    """Have it be a hint that packs are gone which a prune deleted, where nothing else is wrong.

    A backup that slept for longer than a lease lives may have named them after that, before it
    noticed (spec/DESIGN.md, the prune protocol). Only where nothing is lost: then no snapshot needs
    them.
    """
    sizes = findings.damage.sizes
    gone = {error: id_of_name(error.object) for error in findings.errors}
    if not gone or any(id_ is None or sizes.get(id_, 0) is not None for id_ in gone.values()):
        return
    swept = list_doomed(repository.backend, repository.keys).pack_ids()
    excused = {error: id_ for error, id_ in gone.items() if id_ is not None and id_ in swept}
    if not excused:
        return
    findings.errors = [error for error in findings.errors if error not in excused]
    for id_ in excused.values():
        sizes.pop(id_, None)
    findings.hints.append(
        f"{len(excused)} packs that a prune deleted are named by the index again, by what had "
        "slept for long meanwhile; no snapshot needs them, and the next prune takes the names away"
    )
