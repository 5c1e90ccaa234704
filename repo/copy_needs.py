"""What a copy lacks for the snapshots that it is to have: packs, and entries in its index.

A copy that forgets and prunes by itself has its own packs and index objects in time; blobs are
what both have in common. Where it has not, it ends with the repository's own objects, byte by byte.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from snap.backends.base import Backend

from .cache import Cache
from .config import RepositoryConfig
from .crypto import derive
from .ids import BlobId, Kind, ObjectId, pack_name
from .index import PackColumns, join_columns
from .live import LiveBlobs, LiveSet
from .objects import StoredObject
from .repack import Repacked, Repacking
from .repository import INDEX_PREFIX, Repository
from .snapshot import Snapshot
from .survey import Use

_MOST_BLOBS = 200_000


@dataclass(slots=True)
class Needs:
    """What is to be put.

    Attributes:
        packs: Packs that the copy does not have, or not as long as they should be.
        moved: Packs whose names the copy's doomed objects name: what is needed of them goes there
            in new packs, since those names may be deleted at any time.
        live: What is needed of them, by its numbers in the repository's cache.
        missing: What the snapshots need and the repository's index does not name.
    """

    live: LiveSet
    packs: list[StoredObject] = field(default_factory=list)
    moved: list[Use] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class CopyIndex:
    """A copy's index, kept in a cache beside that of the repository."""

    def __init__(self, repository: Repository, backend: Backend, config: RepositoryConfig) -> None:
        self._repository = repository
        keys = repository.keys
        path = repository.cache.path.with_name(f"{config.instance_id.hex()}.sqlite")
        cache = Cache(path, config.instance_id, derive("cache", keys.metadata_secret))
        self._copy = Repository(
            backend, config, keys, repository.slot, cache=cache, clock=repository.clock
        )

    def close(self) -> None:
        """Close the cache."""
        self._copy.cache.close()

    def load(self) -> list[str]:
        """Load what is new; return what cannot be read, which counts as not there."""
        return [str(problem) for problem in self._copy.load_readable_index()]

    def named(self) -> set[ObjectId]:
        """Return the packs that it names."""
        return {pack.id for pack in self._copy.cache.packs()}

    def needs(
        self, snapshots: Sequence[Snapshot], there: Mapping[str, int], doomed: Set[ObjectId]
    ) -> Needs:
        """Return what the copy lacks for these snapshots, and of what its own index names.

        ``there`` are its objects with their sizes, ``doomed`` the packs that it may delete.
        """

        def is_there(pack: PackColumns) -> bool:
            return there.get(pack_name(pack.kind, pack.id)) == pack.size_bytes

        def is_held(blob: BlobId) -> bool:
            places = self._copy.cache.all_packs_with(blob)
            return any(is_there(pack) and pack.id not in doomed for pack in places)

        missing: list[str] = []
        live = LiveBlobs(self._repository, lambda where, _: missing.append(where))
        for snapshot in snapshots:
            for component in snapshot.components:
                if component.subtree is not None:
                    live.follow(component.name, component.subtree)
        found = Needs(live.live, missing=missing)
        self._choose_places(live.live, is_there)
        for first, pack in self._repository.cache.numbered_packs():
            is_named = self._copy.cache.pack(pack.id) is not None
            is_used = live.live.count(first, pack.count) > 0
            if pack.id in doomed:
                found.moved += self._rest_of(live.live, first, pack, is_held) if is_used else []
            elif is_there(pack) and is_named:
                continue
            # What the copy's own index leads to is made whole as well.
            elif (is_named and not is_there(pack)) or (
                is_used and not is_there(pack) and self._lacks(live.live, first, pack, is_held)
            ):
                found.packs.append(StoredObject(pack_name(pack.kind, pack.id), pack.size_bytes))
        return found

    def _rest_of(
        self, live: LiveSet, first: int, pack: PackColumns, is_held: Callable[[BlobId], bool]
    ) -> list[Use]:
        """Return a pack whose needed blobs are to be moved, if there is one that is not held."""
        for position in range(pack.count):
            if live.has(first + position) and is_held(pack.id_at(position)):
                live.drop(first + position)
        count = live.count(first, pack.count)
        use = Use(pack.id, pack.kind, pack.size_bytes, first, count, 0)
        return [use] if count else []

    def _lacks(
        self, live: LiveSet, first: int, pack: PackColumns, is_held: Callable[[BlobId], bool]
    ) -> bool:
        return not all(
            is_held(pack.id_at(position))
            for position in range(pack.count)
            if live.has(first + position)
        )

    def _choose_places(self, live: LiveSet, is_there: Callable[[PackColumns], bool]) -> None:
        """Of a blob in several packs only one need be put: one that is there already, if any."""
        cache = self._repository.cache
        for id_ in cache.repeated_ids():
            places = cache.numbered_places(id_)
            if len(places) < 2 or not live.has(places[0][0]):
                continue
            kept = min((not is_there(pack), pack.id) for _, pack in places)[1]
            for number, pack in places:
                if pack.id != kept:
                    live.drop(number)

    def lacking_index(
        self, there: Mapping[str, int], doomed: Set[ObjectId]
    ) -> tuple[list[str], list[PackColumns]]:
        """Return what the copy's index has to say, once the packs are there.

        Index objects of the repository that can be put as they are, and packs that need one of the
        copy's own, since what else their index object names is not there, or not for long: a prune
        that has rewritten the copy's index is about to delete what is doomed.
        """
        cache = self._repository.cache
        named = self.named()
        as_they_are: list[str] = []
        own: list[PackColumns] = []
        for id_, packs in sorted(cache.packs_by_index().items()):
            name = INDEX_PREFIX + id_.hex()
            fresh = [pack for pack, _ in packs if pack not in named and pack not in doomed]
            if name in there or not fresh:
                continue
            columns = {pack: cache.columns_of(pack) for pack, _ in packs}
            present = {
                pack
                for pack, found in columns.items()
                if found is not None
                and pack not in doomed
                and there.get(pack_name(found.kind, pack)) == found.size_bytes
            }
            if present == columns.keys():
                as_they_are.append(name)
            else:
                own += [c for pack in fresh if pack in present and (c := columns[pack])]
            named.update(pack for pack in fresh if pack in present)
        return as_they_are, own

    def note(self, names: Sequence[str]) -> None:
        """Load index objects of the repository that the copy has now, without reading them."""
        cache = self._repository.cache
        by_index = cache.packs_by_index()
        for name in names:
            id_ = ObjectId(bytes.fromhex(name[-64:]))
            columns = [cache.columns_of(pack) for pack, _ in by_index.get(id_, ())]
            if all(c is not None for c in columns):
                self._copy.cache.add_index(id_, [c for c in columns if c is not None])

    def put_index(self, packs: Sequence[PackColumns]) -> int:
        """Store index objects of the copy's own; return how many bytes were put."""
        count_bytes, batch = 0, list[PackColumns]()
        for number, pack in enumerate(packs):
            batch.append(pack)
            if sum(p.count for p in batch) >= _MOST_BLOBS or number == len(packs) - 1:
                id_ = self._copy.put_object(INDEX_PREFIX, Kind.INDEX, join_columns(batch))
                self._copy.cache.add_index(id_, batch)
                count_bytes += self._copy.backend.stat(INDEX_PREFIX + id_.hex()).size_bytes
                batch = []
        return count_bytes

    def move(self, needs: Needs, advance: Callable[[int, str], None]) -> Repacked:
        """Put what is needed of packs that must not be put as they are into new ones there."""
        return Repacking(self._repository, needs.live, advance, self._copy).run(needs.moved)
