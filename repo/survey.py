"""What a repository holds, and what of it is needed: on that prune decides (spec/DESIGN.md).

Everything that could hide a need stops it: a snapshot, an index object, a tree that cannot be read.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from snap.backends.base import ObjectNotFound, ShortRead
from snap.errors import IntegrityError, SnapError

from .catalog import load_snapshot
from .holdings import StoredPacks
from .ids import ObjectId
from .index import PackColumns
from .lease import RepositoryLocked
from .live import BlobUnknown, LiveSet
from .needs import Following
from .progress import Reporter
from .repository import INDEX_PREFIX, SNAPSHOT_PREFIX, Repository
from .snapshot import Snapshot
from .verified import damaged_packs

_LOOKS = 5
"""So often is looked again where something is missing and the lists are other ones by now."""
_LISTINGS = 50
"""A listing that others change each time it is made is given up at last."""


class NeedsUnknown(SnapError):
    """What the snapshots need cannot be told, so nothing may be deleted."""

    exit_code = 4


@dataclass(slots=True)
class Survey:
    """What there is, at one moment.

    Attributes:
        snapshots: All of them, former revisions as well.
        index_ids: The index objects.
        stored: The packs that the store has.
        needed: The places of the blobs that are needed: one of each, but for packs that several
            index objects name.
        generation: The cache's by whose numbers they are told.
        lost: Blobs that are needed and that no pack in the store has, with a place that needs them.
    """

    snapshots: list[Snapshot]
    snapshot_names: frozenset[str]
    index_ids: frozenset[ObjectId]
    stored: StoredPacks
    needed: LiveSet
    generation: int
    lost: list[str] = field(default_factory=list)

    def is_there(self, pack: "PackColumns | Use") -> bool:
        """Return whether the store has the pack, as long as it should be."""
        return self.stored.size_bytes(pack.kind, pack.id) == pack.size_bytes


def survey(repository: Repository, doomed: Collection[ObjectId], reporter: Reporter) -> Survey:
    """Look at everything: snapshots, then index, then packs, then follow all trees.

    Of a blob in several packs one place is kept: not one that was found damaged, rather one that is
    in no doomed object, and of several the pack with the smallest id, so that two who look at the
    same keep the same. Where something is missing and the lists have changed, it looks again.

    Raises:
        NeedsUnknown: something that cannot be read keeps the needs from being known.
        RepositoryLocked: others change the lists without an end.
    """
    for _ in range(_LOOKS):
        found, problems = _follow_all(repository, reporter)
        if not problems:
            _keep_one_place_each(repository, found, doomed)
            _find_lost(repository, found)
        # What a forget and a prune took away while it was looked for is not missing.
        if not (problems or found.lost) or is_current(repository, found):
            break
    if problems:
        raise NeedsUnknown(
            f"nothing is deleted: what is needed cannot be told: {problems[0]}",
            "mend it with 'snap repair', or forget the snapshots that are lost anyhow",
        )
    if found.generation != repository.cache.generation:
        # The numbers of what was found before mean other blobs now.
        raise RepositoryLocked("the local cache was begun anew meanwhile", "run it again")
    return found


def _follow_all(repository: Repository, reporter: Reporter) -> tuple[Survey, list[str]]:
    """Return what there is and what is needed of it, and what hides more that is needed."""
    names, snapshots = _stable_snapshots(repository)
    index_ids = _stable_index(repository)
    repository.holdings.forget()
    stored = StoredPacks(repository.backend)
    problems: list[str] = []
    lost: list[str] = []

    def report(where: str, error: SnapError) -> None:
        # A tree or a list of extents that is missing hides what else is needed.
        (lost if isinstance(error, BlobUnknown) else problems).append(f"{where}: {error}")

    generation = repository.cache.generation
    live = Following(repository, report)
    reporter.start("following snapshots", None)
    for snapshot in snapshots:
        for component in snapshot.components:
            if component.subtree is not None:
                where = f"snapshot {snapshot.short_id}:{component.name}"
                live.follow(where, component.subtree)
        reporter.advance(0, item=snapshot.short_id)
    reporter.finish()
    found = Survey(snapshots, names, index_ids, stored, live.live, generation, lost)
    return found, problems


def is_current(repository: Repository, found: Survey) -> bool:
    """Return whether snapshots and index are still those that were looked at."""
    names = frozenset(repository.names(SNAPSHOT_PREFIX))
    return names == found.snapshot_names and found.index_ids == _listed_index(repository)


def _listed_index(repository: Repository) -> frozenset[ObjectId]:
    return frozenset(ObjectId(bytes.fromhex(name[-64:])) for name in repository.names(INDEX_PREFIX))


def _stable_snapshots(repository: Repository) -> tuple[frozenset[str], list[Snapshot]]:
    """Return the snapshots of one moment: a listing may miss what is exchanged while it is made."""
    read: dict[str, Snapshot] = {}
    before: frozenset[str] | None = None
    for _ in range(_LISTINGS):
        names = frozenset(repository.names(SNAPSHOT_PREFIX))
        if names == before and names <= read.keys():
            return names, [read[name] for name in sorted(names)]
        for name in sorted(names - read.keys()):
            try:
                read[name] = load_snapshot(repository, name)
            except ObjectNotFound:
                continue
            except (IntegrityError, ShortRead) as error:
                raise NeedsUnknown(
                    f"nothing is deleted: what is needed cannot be told: {error}",
                    "mend it with 'snap repair'; nothing else says what this snapshot needs",
                ) from error
        before = names
    raise _unsettled("snapshots")


def _stable_index(repository: Repository) -> frozenset[ObjectId]:
    for _ in range(_LISTINGS):
        problems = repository.load_readable_index()
        if problems:
            raise NeedsUnknown(
                f"nothing is deleted: {problems[0]}", "mend it first with 'snap repair'"
            )
        listed = _listed_index(repository)
        if listed == repository.cache.index_ids():
            return listed
    raise _unsettled("index objects")


def _unsettled(what: str) -> RepositoryLocked:
    return RepositoryLocked(
        f"others change the list of {what} all the time", "try again when less is going on"
    )


def _keep_one_place_each(
    repository: Repository, found: Survey, doomed: Collection[ObjectId]
) -> None:
    """Take all places but one of each needed blob out of the needed ones."""
    cache = repository.cache
    bad = damaged_packs(repository.backend, repository.keys, repository.clock())
    for id_ in cache.repeated_ids():
        places = cache.numbered_places(id_)
        if len(places) < 2 or not found.needed.has(places[0][0]):
            continue
        ids = {pack.id: pack for _, pack in places}
        present = [pack.id for pack in ids.values() if found.is_there(pack)]
        if not present or len(ids) < 2:
            continue
        kept = min(present, key=lambda pack_id: (pack_id in bad, pack_id in doomed, pack_id))
        for number, pack in places:
            if pack.id != kept:
                found.needed.drop(number)


def _find_lost(repository: Repository, found: Survey) -> None:
    """Note what is needed of packs that are gone."""
    for first, pack in repository.cache.numbered_packs():
        if not found.is_there(pack):
            count = found.needed.count(first, pack.count)
            if count:
                found.lost.append(f"pack {pack.id.hex()}: missing, with {count} blobs in need")


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a pack is needed.

    Attributes:
        first: The number of its first blob in the cache.
        used_bytes: Stored bytes of the blobs that are needed.
    """

    id: ObjectId
    kind: int
    size_bytes: int
    first: int
    blobs: int
    used_bytes: int

    @property
    def unused_bytes(self) -> int:
        """Return what would be saved by moving what is needed elsewhere, roughly."""
        return self.size_bytes - self.used_bytes


def uses(repository: Repository, found: Survey) -> Iterator[Use]:
    """Yield each pack that the index names with how much of it is needed."""
    if repository.cache.index_ids() != found.index_ids:
        raise RuntimeError("the index is not the one that was looked at: its numbers differ")
    for first, pack in repository.cache.numbered_packs():
        blobs = found.needed.count(first, pack.count)
        if blobs == pack.count:
            used = pack.size_bytes
        elif blobs == 0:
            used = 0
        else:
            stored = pack.numbers("stored")
            used = sum(n for i, n in enumerate(stored) if found.needed.has(first + i))
        yield Use(pack.id, pack.kind, pack.size_bytes, first, blobs, used)
