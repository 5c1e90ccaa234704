"""Reading blobs by id, wherever they lie."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, TypeVar

from snap.backends.base import (
    Backend,
    BackendError,
    BackendUnavailable,
    ObjectNotFound,
    ShortRead,
)
from snap.errors import IntegrityError, SnapError

from .cache import Cache, Location
from .codec import DecodeError
from .crypto import Keys
from .ids import METADATA_BLOBS, BlobId, Kind, ObjectId, object_id, pack_name
from .keys import FullKeyRequired
from .pack import (
    DATA_PACK,
    HEADER_BYTES,
    PackHeader,
    header_length,
    key_entry_bytes,
    open_blob,
    open_pack_key,
    parse_header,
)

_K = TypeVar("_K")
_V = TypeVar("_V")
_OPEN_PACKS = 1024
"""How many packs' headers and keys are kept: 1.2 KiB each, an opening costs 0.1 ms."""

_SMALL_PACK_BYTES = 1 << 20
_SMALL_FAR_PACK_BYTES = 4 << 20
"""Metadata packs up to that size are read as a whole; larger ones where a request takes as long as
megabytes do. A backup of 1 GB leaves 2 MB, and a restore needs 27 blobs of them, in any order."""
_ASKED_OFTEN = 3
"""There any other is read as a whole as well once so many of its blobs were asked for."""
_WHOLE_PACKS_BYTES = 27 << 20
"""What is kept of them: three of the largest, or many small ones."""
_ASKING = 16
"""Headers and small packs that are asked for at once, of different packs."""


class Elsewhere(Protocol):
    """Where a blob is looked for that cannot be had here."""

    def read_blob(self, id_: BlobId, kind: Kind) -> bytes | None:
        """Return the blob's plaintext, None where it is not there either."""
        ...


class BlobReader:
    """Fetches, opens and checks blobs. Safe from several threads."""

    def __init__(
        self,
        backend: Backend,
        keys: Keys,
        cache: Cache,
        load_index: Callable[[], list[IntegrityError]],
    ) -> None:
        self._backend = backend
        self._keys = keys
        self._cache = cache
        self._load_index = load_index
        self._lock = threading.Lock()
        self._asking = [threading.Lock() for _ in range(_ASKING)]
        self._headers: OrderedDict[ObjectId, PackHeader] = OrderedDict()
        self._pack_keys: OrderedDict[tuple[ObjectId, int], bytes] = OrderedDict()
        self._whole_packs: OrderedDict[ObjectId, bytes] = OrderedDict()
        self._asked: OrderedDict[ObjectId, int] = OrderedDict()
        self._is_far = backend.parallel_requests > 1
        self._small_bytes = _SMALL_FAR_PACK_BYTES if self._is_far else _SMALL_PACK_BYTES
        self._loading = threading.Lock()
        self._loads = 0
        self._in_vain = 0
        self._index_problems: list[IntegrityError] = []
        self._elsewhere: Elsewhere | None = None
        self._is_down = False

    def set_elsewhere(self, elsewhere: Elsewhere | None) -> None:
        """Say where a blob is looked for that no place here gives.

        A store that has been unavailable once is then not asked again: each try takes minutes.
        """
        self._elsewhere = elsewhere
        self._is_down = False

    def settle(self) -> None:
        """Take the index as it is in the cache for all there is: a miss does not load it anew."""
        with self._loading:
            self._loads += 1

    def forget(self) -> None:
        """Read from the store again what was kept of packs."""
        with self._lock:
            for kept in (self._headers, self._pack_keys, self._whole_packs, self._asked):
                kept.clear()

    def read(self, id_: BlobId, kind: Kind) -> bytes:
        """Return a blob's plaintext, checked against its id.

        Every known place of the blob is tried. Where none serves, the index objects that are new
        are loaded, and the places that they name are tried.

        Raises:
            IntegrityError: the blob is missing or damaged everywhere; names the packs, or the
                damaged index object that may have known it.
            FullKeyRequired: a data blob, and the key in use is a writer's.
            BackendError: the store failed.
        """
        if kind is Kind.DATA and self._keys.private is None:
            raise FullKeyRequired(
                "a writer key reads no file content",
                "use the passphrase of a full key, or the recovery key",
            )
        if kind in METADATA_BLOBS:
            cached = self._cache.get_metadata(id_, kind)
            if cached is not None:
                return cached
        plain = self._fetch(id_, kind)
        if kind in METADATA_BLOBS:
            self._cache.put_metadata(id_, kind, plain)
        return plain

    def _fetch(self, id_: BlobId, kind: Kind) -> bytes:
        loads = self._loads
        locations = self._cache.locate(id_)
        failures: list[SnapError] = []
        plain = self._try_locations(locations, kind, failures)
        if plain is None and self._load_index_again(loads):
            again = [place for place in self._cache.locate(id_) if place not in locations]
            plain = self._try_locations(again, kind, failures)
            if plain is not None:
                self._in_vain = 0
        if plain is None and self._elsewhere is not None:
            plain = self._elsewhere.read_blob(id_, kind)
            # Where no copy helps, each try is worth its time.
            self._is_down = self._is_down and plain is not None
        if plain is not None:
            # An error holds the frames it went through, and these hold the list: without this the
            # blob would stay in memory until cycles are looked for, which is rarely.
            failures.clear()
            return plain
        unavailable = [f for f in failures if not isinstance(f, IntegrityError)]
        if unavailable:
            raise unavailable[0]
        if failures:
            raise failures[0]
        if self._index_problems:
            raise IntegrityError(
                f"{self._index_problems[0]}; nothing else says where blob {id_.hex()} is"
            )
        raise IntegrityError(f"blob {id_.hex()}: missing: no index object says where it is")

    def _try_locations(
        self, locations: list[Location], kind: Kind, failures: list[SnapError]
    ) -> bytes | None:
        for location in locations:
            if self._is_down:
                failures.append(BackendUnavailable(f"{self._backend.location} did not answer"))
                continue
            try:
                return self.read_at(location, kind)
            except (IntegrityError, BackendError) as error:
                failures.append(error)
                self._note_failure(error)
        return None

    def _note_failure(self, error: SnapError) -> None:
        if self._elsewhere is not None and isinstance(error, BackendUnavailable):
            self._is_down = True

    def read_at(self, location: Location, kind: Kind) -> bytes:
        """Return the blob at one place.

        Raises:
            IntegrityError: what lies there is not the blob, or nothing does.
            BackendError: the store failed.
        """
        entry = location.entry
        name = pack_name(location.pack_kind, location.pack_id)
        try:
            stored = self._stored(location, name)
        except ObjectNotFound as error:
            raise IntegrityError(f"{name}: missing: blob {entry.id.hex()} was in it") from error
        except ShortRead as error:
            raise IntegrityError(f"{name}: damaged: blob {entry.id.hex()}: {error}") from error
        return self.open_at(location, kind, stored)

    def _stored(self, location: Location, name: str) -> bytes:
        entry = location.entry
        pack = self._whole_pack(location, name) if entry.kind in METADATA_BLOBS else None
        if pack is not None:
            return pack[entry.offset : entry.offset + entry.stored_length]
        return self._backend.get(name, entry.offset, entry.stored_length)

    def _whole_pack(self, location: Location, name: str) -> bytes | None:
        """Return a metadata pack as a whole, None where it is too large or not whole.

        What a day's backup adds is one small pack, and a restore needs most of it.
        """
        id_ = location.pack_id
        with self._asking_for(id_):
            with self._lock:
                kept = self._whole_packs.get(id_)
                asked = self._asked.get(id_, 0) + 1
                _keep(self._asked, id_, asked)
            if kept is None and asked in (1, _ASKED_OFTEN):
                kept = self._read_whole_pack(location, name, is_asked_often=asked > 1)
                self._keep_whole_pack(id_, kept)
            return kept or None

    def _keep_whole_pack(self, id_: ObjectId, pack: bytes | None) -> None:
        if pack is None:
            return
        with self._lock:
            _keep(self._whole_packs, id_, pack)
            while sum(map(len, self._whole_packs.values())) > _WHOLE_PACKS_BYTES:
                self._whole_packs.popitem(last=False)

    def _read_whole_pack(
        self, location: Location, name: str, *, is_asked_often: bool
    ) -> bytes | None:
        """Return a pack that is what its name says, nothing where it is to be read by blobs.

        None where that is only so until more of it is asked for.
        """
        summary = self._cache.pack(location.pack_id)
        if summary is None or summary.size_bytes > _WHOLE_PACKS_BYTES // 3:
            return b""
        if summary.size_bytes > self._small_bytes and not is_asked_often:
            return None if self._is_far else b""
        try:
            pack = self._backend.get(name, 0, summary.size_bytes)
        except ShortRead:
            return b""
        if object_id(pack) != location.pack_id:
            return b""
        self._note_header(location, pack)
        return pack

    def read_range(self, location: Location, offset: int, length: int) -> bytes:
        """Return stored bytes of the pack in which a blob lies; others may lie beside it.

        A range that begins with the pack has its header too, which is then not asked for again.

        Raises:
            BackendError: the store failed, or the pack is missing or too short.
        """
        if self._is_down:
            raise BackendUnavailable(f"{self._backend.location} did not answer")
        try:
            name = pack_name(location.pack_kind, location.pack_id)
            stored = self._backend.get(name, offset, length)
        except BackendUnavailable as error:
            self._note_failure(error)
            raise
        if offset == 0:
            self._note_header(location, stored)
        return stored

    def open_at(self, location: Location, kind: Kind, stored: bytes | memoryview) -> bytes:
        """Return the plaintext of a blob of which the stored form is at hand.

        Raises:
            IntegrityError: this is not the blob.
            BackendError: the store failed: the pack's header is read once.
        """
        entry = location.entry
        name = pack_name(location.pack_kind, location.pack_id)
        try:
            if entry.kind != kind:
                raise DecodeError(
                    f"a {Kind(entry.kind).name.lower()} blob, not {kind.name.lower()}"
                )
            pack_key = self._pack_key(location, entry.key)
            return open_blob(self._keys, pack_key, entry, stored)
        except ObjectNotFound as error:
            raise IntegrityError(f"{name}: missing: blob {entry.id.hex()} was in it") from error
        except (DecodeError, ValueError, ShortRead) as error:
            raise IntegrityError(f"{name}: damaged: blob {entry.id.hex()}: {error}") from error

    def _pack_key(self, location: Location, number: int) -> bytes:
        pack_id = location.pack_id
        with self._lock:
            known = self._pack_keys.get((pack_id, number))
        if known is not None:
            return known
        header = self._header(location)
        key = open_pack_key(self._keys, header, number)
        with self._lock:
            _keep(self._pack_keys, (pack_id, number), key)
        return key

    def _header(self, location: Location) -> PackHeader:
        with self._asking_for(location.pack_id):
            with self._lock:
                known = self._headers.get(location.pack_id)
            if known is not None:
                return known
            name = pack_name(location.pack_kind, location.pack_id)
            # All but those that prune has put together have one key: one request, not two.
            start = self._backend.get(name, 0, HEADER_BYTES + key_entry_bytes(location.pack_kind))
            length = header_length(start)
            if length > len(start):
                start = self._backend.get(name, 0, length)
            return self._keep_header(location, start[:length])

    def _asking_for(self, pack_id: ObjectId) -> threading.Lock:
        """Return what has threads wait for the one that asks for what they all need of a pack."""
        return self._asking[pack_id[0] % _ASKING]

    def _note_header(self, location: Location, start: bytes) -> None:
        # One that is damaged is read by itself, and complained of, where it is needed.
        with contextlib.suppress(DecodeError):
            self._keep_header(location, start[: header_length(start)])

    def _keep_header(self, location: Location, raw: bytes) -> PackHeader:
        header = parse_header(raw)
        if (header.kind == DATA_PACK) != (location.pack_kind == DATA_PACK):
            raise DecodeError("a pack of the wrong kind")
        with self._lock:
            _keep(self._headers, location.pack_id, header)
        return header

    def _load_index_again(self, loads_seen: int) -> bool:
        """Return whether the index was loaded since ``loads_seen``, by us or another thread.

        A prune may have moved a blob at any time. Where loading did not help, it is done again
        only for the second blob that is missing, the fourth, the eighth.
        """
        with self._loading:
            if self._loads != loads_seen:
                return True
            self._in_vain += 1
            if self._in_vain & (self._in_vain - 1):
                return False
            self._index_problems = self._load_index()
            self._loads += 1
            return True


def _keep(store: OrderedDict[_K, _V], key: _K, value: _V, most: int = _OPEN_PACKS) -> None:
    store[key] = value
    while len(store) > most:
        store.popitem(last=False)
