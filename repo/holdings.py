"""What the repository really holds: blobs whose pack is in the store, as large as it should be.

The index says where blobs lie; a pack may be lost all the same. A backup asks here before it
leaves something out, so that it stores again what the store lost.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from snap.backends.base import Backend, ObjectNotFound

from .cache import Cache
from .ids import BlobId, ObjectId, id_of_name, pack_name
from .index import PackColumns
from .pack import DATA_PACK, META_PACK

_STATS_BEFORE_LISTING = 64
"""Asking for one pack costs a request, listing a thousand costs one as well."""


class StoredPacks:
    """The packs that a listing of the store shows, by kind and id, with their sizes in bytes.

    Holds 130 bytes a pack: 52 MB for 400,000 packs, which hold 12 TB.
    """

    def __init__(self, backend: Backend) -> None:
        self._sizes: dict[int, dict[ObjectId, int]] = {}
        self._misplaced: list[str] = []
        for kind, prefix in ((DATA_PACK, "data/"), (META_PACK, "meta/")):
            sizes = self._sizes[kind] = {}
            for stat in backend.list(prefix):
                id_ = id_of_name(stat.name)
                if id_ is None:
                    continue
                if stat.name == pack_name(kind, id_):
                    sizes[id_] = stat.size_bytes
                else:
                    self._misplaced.append(stat.name)

    def size_bytes(self, kind: int, id_: ObjectId) -> int | None:
        """Return how large a pack is, None where it is not there."""
        return self._sizes[kind].get(id_)

    def all(self) -> Iterator[tuple[ObjectId, int, int]]:
        """Yield the packs: id, kind, size in bytes."""
        for kind, sizes in self._sizes.items():
            for id_, size in sizes.items():
                yield id_, kind, size

    def take(self, kind: int, id_: ObjectId) -> int | None:
        """Return how large a pack is and take it out; what is left at the end was in no index."""
        return self._sizes[kind].pop(id_, None)

    def names(self) -> list[str]:
        """Return the names of the packs that were not taken, sorted."""
        left = (pack_name(kind, id_) for kind, ids in self._sizes.items() for id_ in ids)
        return sorted(chain(left, self._misplaced))


class Holdings:
    """Answers whether a blob is held. Safe from several threads.

    ``warn`` is told once of each pack that the index names and that the store does not have.
    """

    def __init__(self, backend: Backend, cache: Cache, warn: Callable[[str], None]) -> None:
        self._backend = backend
        self._cache = cache
        self._warn = warn
        self._lock = threading.Lock()
        self._present: dict[ObjectId, bool] = {}
        self._stats = 0
        self._listed: StoredPacks | None = None
        self._told: set[ObjectId] = set()
        self._doomed: frozenset[ObjectId] = frozenset()

    def has(self, blob_id: BlobId) -> bool:
        """Return whether an index object names the blob and a pack that has it is in the store.

        Raises:
            BackendError: the store does not say.
        """
        if any(self._is_present(pack) for pack in self._cache.packs_with(blob_id)):
            return True
        # All places, so that every pack that is lost is told.
        return any([self._is_present(pack) for pack in self._cache.all_packs_with(blob_id)])

    def add(self, pack_ids: Iterable[ObjectId]) -> None:
        """Note packs that this process has put."""
        with self._lock:
            self._present.update(dict.fromkeys(pack_ids, True))

    def set_doomed(self, pack_ids: frozenset[ObjectId]) -> None:
        """Say which packs are to be deleted: what only they hold counts as not held."""
        self._doomed = pack_ids

    def is_doomed(self, pack_id: ObjectId) -> bool:
        """Return whether a pack is to be deleted."""
        return pack_id in self._doomed

    def forget(self) -> None:
        """Ask the store again from now on."""
        with self._lock:
            self._present.clear()
            self._stats = 0
            self._listed = None

    def _is_present(self, pack: PackColumns) -> bool:
        if pack.id in self._doomed:
            return False
        with self._lock:
            known = self._present.get(pack.id)
            if known is not None:
                return known
            known = self._size_in_store(pack) == pack.size_bytes
            if self._listed is None:
                self._present[pack.id] = known
            if not known and pack.id not in self._told:
                self._told.add(pack.id)
                self._tell(pack)
            return known

    def _size_in_store(self, pack: PackColumns) -> int | None:
        if self._listed is None and self._stats >= _STATS_BEFORE_LISTING:
            self._listed = StoredPacks(self._backend)
        if self._listed is not None:
            return self._listed.size_bytes(pack.kind, pack.id)
        self._stats += 1
        try:
            return self._backend.stat(pack_name(pack.kind, pack.id)).size_bytes
        except ObjectNotFound:
            return None

    def _tell(self, pack: PackColumns) -> None:
        name = pack_name(pack.kind, pack.id)
        self._warn(
            f"{name}: missing or not as long as it was: what this backup needs of it is stored "
            "again; 'snap check' says what older snapshots lost"
        )
