"""What a copy lacks for the snapshots that it is to have: packs, and entries in its index.

A copy that forgets and prunes by itself has its own packs and index objects in time; blobs are
what both have in common. Where it has not, it ends with the repository's own objects, byte by byte.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from snap.backends.base import Backend
from snap.errors import SnapError

from .cache import Cache
from .config import RepositoryConfig
from .crypto import derive
from .doomed import list_doomed, replace_doomed, without
from .ids import BlobId, Kind, ObjectId, pack_name
from .index import PackColumns, join_columns
from .live import LiveBlobs, LiveSet
from .objects import StoredObject
from .repository import INDEX_PREFIX, Repository
from .snapshot import Snapshot

_MOST_BLOBS = 200_000


@dataclass(slots=True)
class Needs:
    """What is to be put.

    Attributes:
        packs: Packs that the copy does not have, or not as long as they should be.
        doomed: Packs that it is about to delete and that are needed.
        missing: What the snapshots need and the repository's index does not name.
    """

    packs: list[StoredObject] = field(default_factory=list)
    doomed: set[ObjectId] = field(default_factory=set)
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

    def needs(
        self, snapshots: Sequence[Snapshot], there: Mapping[str, int], doomed: Set[ObjectId]
    ) -> Needs:
        """Return what the copy lacks for these snapshots, and of what its own index names.

        ``there`` are its objects with their sizes, ``doomed`` the packs that it may delete.
        """
        found = Needs()

        def is_there(pack: PackColumns) -> bool:
            return there.get(pack_name(pack.kind, pack.id)) == pack.size_bytes

        def is_held(blob: BlobId) -> bool:
            places = self._copy.cache.all_packs_with(blob)
            return any(is_there(pack) and pack.id not in doomed for pack in places)

        live = self._follow(snapshots, found)
        self._choose_places(live, is_there)
        for first, pack in self._repository.cache.numbered_packs():
            is_named = self._copy.cache.pack(pack.id) is not None
            is_used = live.count(first, pack.count) > 0
            if is_there(pack) and is_named and pack.id not in doomed:
                continue
            # What the copy's own index leads to is made whole as well.
            is_lost = is_named and not is_there(pack)
            is_needed = is_used and not self._has_all(live, first, pack, is_held)
            if is_needed and pack.id in doomed:
                found.doomed.add(pack.id)
            if is_lost or (is_needed and not is_there(pack)):
                found.packs.append(StoredObject(pack_name(pack.kind, pack.id), pack.size_bytes))
        return found

    def _follow(self, snapshots: Sequence[Snapshot], found: Needs) -> LiveSet:
        live = LiveBlobs(self._repository, lambda where, _: found.missing.append(where))
        for snapshot in snapshots:
            for component in snapshot.components:
                if component.subtree is not None:
                    live.follow(component.name, component.subtree)
        return live.live

    def _has_all(
        self, live: LiveSet, first: int, pack: PackColumns, is_held: Callable[[BlobId], bool]
    ) -> bool:
        return all(
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
        copy's own, since what else their index object names is not there.
        """
        cache = self._repository.cache
        named = {pack.id for pack in self._copy.cache.packs()}
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
                if found is not None and there.get(pack_name(found.kind, pack)) == found.size_bytes
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

    def rescue(self, packs: Set[ObjectId]) -> None:
        """Take packs out of the copy's doomed objects; no prune may be at work there.

        Raises:
            SnapError: they do not stay out.
        """
        backend, keys = self._copy.backend, self._copy.keys
        for record in list_doomed(backend, keys).records:
            if record.packs.keys() & packs:
                replace_doomed(backend, keys, record, without(record, packs))
        if list_doomed(backend, keys).pack_ids() & packs:
            raise SnapError(
                f"{backend.location}: packs that are needed are about to be deleted there",
                "run it again when no prune is at work there",
            )
