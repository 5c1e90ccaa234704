"""Writing the index anew: without packs that go, and fewer objects of it.

New objects are put before the old ones are deleted, and say everything of them but what goes, so
at every moment, and after a death at any, each pack that stays is named.
"""

from collections.abc import Set
from dataclasses import dataclass, field

from snap.backends.base import BackendError, BackendUnavailable, ObjectNotFound

from .ids import Kind, ObjectId
from .index import PackColumns, join_columns
from .repository import INDEX_PREFIX, Repository

_SMALL_BLOBS = 25_000
"""An index object of fewer is worth merging."""
_MANY_SMALL = 16
_MOST_BLOBS = 200_000
"""In one new index object: 10 MB before compression."""


@dataclass(slots=True)
class Reindexed:
    """What was done.

    Attributes:
        replaced: Index objects that are gone.
        written: New ones.
        refused: Those that the store keeps, and why; what they name is still named.
        still_named: Packs that were to go, and that such an object names.
    """

    replaced: int = 0
    written: int = 0
    refused: list[tuple[str, BackendError]] = field(default_factory=list)
    still_named: set[ObjectId] = field(default_factory=set)


def write_anew(repository: Repository, removed: Set[ObjectId]) -> Reindexed:
    """Take packs out of the index, and merge its objects where many are small.

    What the cache says has to be what the store has.

    Raises:
        IntegrityError: an index object that has to be written anew is damaged.
        BackendError: the store failed. Whatever was put or deleted leaves the index right.
    """
    by_index = repository.cache.packs_by_index()
    rewritten = _chosen(by_index, removed)
    report = Reindexed()
    if not rewritten:
        return report
    named = {pack for id_, packs in by_index.items() if id_ not in rewritten for pack, _ in packs}
    _write(repository, sorted(rewritten), removed, named, report)
    deleted = []
    for id_ in sorted(rewritten):
        name = INDEX_PREFIX + id_.hex()
        try:
            repository.backend.delete(name)
        except ObjectNotFound:
            # Another prune wrote it anew as well.
            pass
        except BackendUnavailable:
            raise
        except BackendError as error:
            report.refused.append((name, error))
            report.still_named |= {pack for pack, _ in by_index[id_] if pack in removed}
            continue
        deleted.append(id_)
    repository.cache.drop_indexes(deleted)
    report.replaced = len(deleted)
    return report


def _chosen(
    by_index: dict[ObjectId, list[tuple[ObjectId, int]]], removed: Set[ObjectId]
) -> set[ObjectId]:
    chosen = {id_ for id_, packs in by_index.items() if any(pack in removed for pack, _ in packs)}
    small = {
        id_ for id_, packs in by_index.items() if sum(blobs for _, blobs in packs) < _SMALL_BLOBS
    }
    # Those that a store kept when they were merged would else be merged anew by every run.
    merge = small - chosen - _superfluous(by_index)
    return chosen | small if len(merge) >= _MANY_SMALL else chosen


def _superfluous(by_index: dict[ObjectId, list[tuple[ObjectId, int]]]) -> set[ObjectId]:
    """Return those of which the others name all packs."""
    named: set[ObjectId] = set()
    found: set[ObjectId] = set()
    for id_, packs in sorted(by_index.items(), key=lambda one: (-len(one[1]), one[0])):
        ids = {pack for pack, _ in packs}
        if ids <= named:
            found.add(id_)
        named |= ids
    return found


def _write(
    repository: Repository,
    ids: list[ObjectId],
    removed: Set[ObjectId],
    named: set[ObjectId],
    report: Reindexed,
) -> None:
    batch: list[PackColumns] = []

    def flush() -> None:
        if batch:
            new = repository.put_object(INDEX_PREFIX, Kind.INDEX, join_columns(batch))
            repository.cache.add_index(new, batch)
            report.written += 1
            batch.clear()

    for id_ in ids:
        try:
            packs = repository.read_index(INDEX_PREFIX + id_.hex())
        except ObjectNotFound:
            # Whoever deleted it has put what it said elsewhere first.
            continue
        for pack in packs:
            if pack.id not in removed and pack.id not in named:
                named.add(pack.id)
                batch.append(pack)
        if sum(pack.count for pack in batch) >= _MOST_BLOBS:
            flush()
    flush()
