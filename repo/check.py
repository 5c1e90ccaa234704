"""Checking that a repository holds what its snapshots promise."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from snap.backends.base import ObjectNotFound, ShortRead
from snap.errors import IntegrityError

from .browse import walk_directory
from .catalog import Problem, readable_snapshots
from .content import extents_of
from .extents import Content, UnknownLayout
from .ids import BlobId, ObjectId, id_of_name, pack_name
from .pack import PackSummary
from .pack_check import Findings, PackCheck
from .progress import Reporter
from .repository import INDEX_PREFIX, KEY_PREFIX, SNAPSHOT_PREFIX, Repository, read_slot
from .snapshot import FAILED, Snapshot


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        errors: What is damaged or missing, by object.
        hints: What is unusual and harms nothing.
        bytes_read: Bytes of packs that were read whole.
    """

    errors: list[Problem]
    hints: list[str]
    packs: int
    blobs: int
    snapshots: int
    bytes_read: int

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
) -> CheckReport:
    """Check keys, index, snapshots, trees, and that every blob they need is in a pack that exists.

    ``read_fraction`` of the packs, chosen by ``chance``, are read whole and every blob in them
    opened; 1 reads all, 0 none. With a writer key data blobs cannot be opened: the packs' hashes
    and directories are checked, and a hint says so.

    Raises:
        BackendError: the store cannot be listed or does not answer.
    """
    findings = Findings()
    # What this machine remembers must not hide what is damaged in the store.
    repository.cache.forget_metadata()
    _check_key_slots(repository, findings)
    packs = _check_index(repository, findings)
    present, unindexed = _check_presence(repository, packs, findings)
    snapshots = _check_snapshots(repository, findings)
    reader = PackCheck(repository, findings)
    chosen = _choose(present, read_fraction, chance or random.SystemRandom())
    reporter.start("reading packs", sum(p.size_bytes for p in chosen))
    for pack in chosen:
        reader.check(pack)
        reporter.advance(pack.size_bytes, item=pack.id.hex()[:8])
    for name in unindexed if read_fraction >= 1 else ():
        reader.check_unindexed(name)
    reporter.finish()
    if chosen and repository.keys.private is None:
        findings.hints.append(
            "with a writer key the data blobs could not be opened: hashes and directories only"
        )
    return CheckReport(
        errors=findings.errors,
        hints=findings.hints,
        packs=len(packs),
        blobs=sum(count for count, _, _ in repository.cache.blob_totals().values()),
        snapshots=snapshots,
        bytes_read=reader.bytes_read,
    )


def _choose(
    packs: Sequence[PackSummary], fraction: float, chance: random.Random
) -> list[PackSummary]:
    if fraction >= 1:
        return list(packs)
    if fraction <= 0 or not packs:
        return []
    count = max(1, round(len(packs) * fraction))
    return chance.sample(list(packs), count)


def _check_key_slots(repository: Repository, findings: Findings) -> None:
    for name in repository.names(KEY_PREFIX):
        try:
            read_slot(repository.backend, name)
        except (IntegrityError, ObjectNotFound) as error:
            findings.add(name, error)


def _check_index(repository: Repository, findings: Findings) -> list[PackSummary]:
    """Read every index object afresh, whatever the cache says, and load the good ones."""
    repository.cache.drop_indexes(repository.cache.index_ids())
    seen: dict[ObjectId, PackSummary] = {}
    for name in repository.names(INDEX_PREFIX):
        try:
            packs = repository.read_index(name)
        except (IntegrityError, ObjectNotFound, ShortRead) as error:
            findings.add(name, error)
            continue
        repository.cache.add_index(ObjectId(bytes.fromhex(name[-64:])), packs)
        for pack in packs:
            summary = replace(pack, entries=())
            if seen.setdefault(pack.id, summary) != summary:
                findings.add(name, f"describes pack {pack.id.hex()} unlike another index object")
    return list(seen.values())


def _check_presence(
    repository: Repository, packs: Sequence[PackSummary], findings: Findings
) -> tuple[list[PackSummary], list[str]]:
    """Compare the index with the store; return the packs that are there, and names in no index."""
    stored: dict[str, int] = {}
    for prefix in ("data/", "meta/"):
        for stat in repository.backend.list(prefix):
            if id_of_name(stat.name) is not None:
                stored[stat.name] = stat.size_bytes
    present = []
    for pack in packs:
        name = pack_name(pack.kind, pack.id)
        size = stored.pop(name, None)
        if size is None:
            findings.add(name, "missing")
            continue
        present.append(pack)
        if size != pack.size_bytes:
            findings.add(name, f"{size} bytes long instead of {pack.size_bytes}")
    if stored:
        findings.hints.append(
            f"{len(stored)} packs are in no index that can be read: left by an interrupted backup, "
            "written by one that runs now, or an index object is lost; do not delete them"
        )
    return present, sorted(stored)


def _check_snapshots(repository: Repository, findings: Findings) -> int:
    snapshots, problems = readable_snapshots(repository)
    for problem in problems:
        findings.add(problem.object, problem.problem)
    needs = _Needs(repository, findings)
    for snapshot in snapshots:
        needs.check(snapshot)
    return len(snapshots)


class _Needs:
    """Follows snapshots to the blobs that they need; a component seen before is not read again."""

    def __init__(self, repository: Repository, findings: Findings) -> None:
        self._repository = repository
        self._findings = findings
        self._seen: set[tuple[BlobId, ...]] = set()

    def check(self, snapshot: Snapshot) -> None:
        name = f"{SNAPSHOT_PREFIX}{snapshot.id.hex()}"
        for component in snapshot.components:
            if component.subtree is None:
                if component.status != FAILED:
                    self._findings.add(name, f"component {component.name} has no tree")
            elif component.subtree not in self._seen:
                self._seen.add(component.subtree)
                where = f"snapshot {snapshot.short_id}:{component.name}"
                self._check_tree(where, component.subtree)

    def _check_tree(self, where: str, subtree: Sequence[BlobId]) -> None:
        try:
            for path, node in walk_directory(self._repository, subtree):
                if node.content is not None:
                    shown = b"/".join(path).decode("utf-8", "backslashreplace")
                    self._check_file(f"{where}/{shown}", node.content)
        except (IntegrityError, ShortRead, ObjectNotFound) as error:
            self._findings.blame(where, error)

    def _check_file(self, where: str, content: Content) -> None:
        try:
            for extent in extents_of(self._repository, content, where):
                if extent.blob is not None and not self._repository.cache.has_blob(extent.blob):
                    self._findings.add(where, f"needs blob {extent.blob.hex()}: in no index")
        except (IntegrityError, UnknownLayout) as error:
            self._findings.blame(where, error)
