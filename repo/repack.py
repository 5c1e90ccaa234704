"""Moving what is needed of mostly unused packs into new ones.

Blobs move in their stored form with the keys that open them, so a writer's key suffices, and what
the off-site host cannot read it can still tidy up.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from snap.backends.base import ObjectNotFound, ShortRead
from snap.errors import IntegrityError

from .codec import DecodeError
from .doomed import DoomedPack
from .ids import ObjectId, pack_name
from .index import PackColumns
from .live import LiveSet
from .objects import get_verified, in_order
from .pack import DATA_PACK, META_PACK, MovedPack, header_length, parse_header
from .repository import Repository
from .survey import Use

_MOST_KEYS = 2048
"""In one pack's table: 1,168 bytes each."""
META_PACK_BYTES = 8 << 20
_INDEX_EVERY_PACKS = 64
_INDEX_EVERY_BLOBS = 50_000
_AHEAD_BYTES = 40 << 20
"""Of packs that are read while others are taken apart."""


@dataclass(slots=True)
class Repacked:
    """What was moved.

    Attributes:
        sources: Packs of which everything needed lies in a new one now.
        damaged: Packs that are not what their names say: nothing was taken from them.
        gone: Names of those of them that are not there.
        read_bytes: Bytes of packs that were read.
        written_bytes: Bytes of new packs.
    """

    sources: dict[ObjectId, DoomedPack] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    packs: int = 0
    index_ids: set[ObjectId] = field(default_factory=set)
    read_bytes: int = 0
    written_bytes: int = 0


class Repacking:
    """Repacks some packs, here or into a copy; what is stored is indexed when `run` returns.

    ``needed`` says by their numbers in the repository's cache which blobs are moved, ``full_bytes``
    how large new packs become, by their kind; as large as those of backups where it does not.

    A pack is read whole and compared with its name before anything is taken from it: a copy of
    damaged bytes must not take the place of whatever can still be saved.
    """

    def __init__(
        self,
        repository: Repository,
        needed: LiveSet,
        advance: Callable[[int, str], None],
        target: Repository | None = None,
        full_bytes: Mapping[int, int] | None = None,
    ) -> None:
        self._repository = repository
        self._target = target or repository
        limit = self._target.config.parameters.pack_bytes
        usual = {DATA_PACK: limit, META_PACK: min(limit, META_PACK_BYTES)}
        self._full_bytes = usual | dict(full_bytes or {})
        self._needed = needed
        self._advance = advance
        self._filling: dict[int, MovedPack] = {}
        self._unindexed: list[PackColumns] = []
        self._moved: dict[ObjectId, DoomedPack] = {}
        self.report = Repacked()

    def run(self, packs: Iterable[Use]) -> Repacked:
        """Move what is needed of these packs.

        Raises:
            BackendError: the store failed; what was put stays, and the old packs as well.
        """
        for one in self._read(packs):
            self._move(*one)
            # A pack is not kept in memory while the next is waited for.
            del one
        for pack in list(self._filling.values()):
            self._store(pack)
        self._store_index()
        # Only now does everything that was taken have another place, and that an index object.
        self.report.sources = self._moved
        return self.report

    def _move(self, use: Use, stored: bytes | None) -> None:
        if stored is not None and self._take(use, stored):
            self._moved[use.id] = DoomedPack(use.kind, use.size_bytes)
        self._advance(use.size_bytes, use.id.hex()[:8])

    def _read(self, packs: Iterable[Use]) -> Iterator[tuple[Use, bytes | None]]:
        """Yield the packs in their order, a few read ahead; None for one that is damaged."""
        backend = self._repository.backend

        def read(use: Use) -> bytes | None:
            name = pack_name(use.kind, use.id)
            try:
                return get_verified(backend, name)
            except (IntegrityError, ObjectNotFound, ShortRead) as error:
                self.report.damaged.append(str(error))
                if isinstance(error, ObjectNotFound):
                    self.report.gone.add(name)
                return None

        return in_order(
            packs,
            read,
            size_of=lambda use: use.size_bytes,
            workers=max(2, backend.parallel_requests),
            in_flight_bytes=_AHEAD_BYTES,
        )

    def _take(self, use: Use, stored: bytes) -> bool:
        self.report.read_bytes += len(stored)
        try:
            header = parse_header(stored[: header_length(stored)])
        except DecodeError as error:
            name = pack_name(use.kind, use.id)
            self.report.damaged.append(f"{name}: damaged: {error}")
            return False
        columns = self._repository.cache.pack_at(use.first)
        first, has, table = use.first, self._needed.has, header.table
        view = memoryview(stored)
        pack = self._filling.get(use.kind)
        for number, entry in enumerate(columns.each_entry(), first):
            if has(number):
                length = entry.stored_length
                if pack is None or self._is_full(pack, length):
                    pack = self._begin(use.kind)
                pack.add(entry, table[entry.key], view[entry.offset : entry.offset + length])
        return True

    def _begin(self, kind: int) -> MovedPack:
        """Return an empty pack, after storing the one that is full."""
        if kind in self._filling:
            self._store(self._filling[kind])
        self._filling[kind] = MovedPack(self._target.keys, kind)
        return self._filling[kind]

    def _is_full(self, pack: MovedPack, more_bytes: int) -> bool:
        is_long = pack.stored_bytes + more_bytes > self._full_bytes[pack.kind]
        return is_long or pack.key_count >= _MOST_KEYS

    def _store(self, pack: MovedPack) -> None:
        self._unindexed.append(self._put(pack))
        blobs = sum(pack.count for pack in self._unindexed)
        if len(self._unindexed) >= _INDEX_EVERY_PACKS or blobs >= _INDEX_EVERY_BLOBS:
            self._store_index()

    def _put(self, pack: MovedPack) -> PackColumns:
        """Put a pack; neither it nor its entries are in memory when the index is written."""
        del self._filling[pack.kind]
        stored, summary = pack.finish()
        self._target.backend.put(pack_name(summary.kind, summary.id), stored)
        self.report.packs += 1
        self.report.written_bytes += len(stored)
        # There may be many entries, and this is when the most is in memory.
        del stored
        return PackColumns.of(summary)

    def _store_index(self) -> None:
        if self._unindexed:
            self.report.index_ids.add(self._target.store_columns(self._unindexed))
            self._unindexed = []
