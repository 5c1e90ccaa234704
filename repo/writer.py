"""Storing blobs: hash, look up, compress, pack, encrypt, verify, upload, index.

Bounded memory whatever the input: plaintext waiting for a worker, one data pack and one metadata
pack being filled, and the packs being sealed are all limited. zstandard, blake3 and cryptography
release the GIL, so workers use all cores.
"""

import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import zstandard

from snap.errors import IntegrityError

from .clock import MINUTE_NS
from .codec import DecodeError
from .ids import BlobId, Kind, object_id, pack_name
from .pack import (
    DATA_PACK,
    META_PACK,
    PackSummary,
    PendingBlob,
    build_pack,
    open_blob,
    pack_kind_of,
)
from .repository import Repository

MIB = 1 << 20
_IN_FLIGHT_BYTES = 24 * MIB
_PER_BLOB_OVERHEAD_BYTES = 4096
_META_PACK_BYTES = 8 * MIB
_SEALING_PACKS = 2
_INDEX_EVERY_PACKS = 64
_INDEX_EVERY_NS = 3 * MINUTE_NS
_STORED_OVERHEAD_BYTES = 16 + 52
"""A blob's tag and its entry in the directory (spec/FORMAT.md §6.2, §7.3)."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """What became of one blob. ``stored_bytes`` is 0 where it was there already."""

    id: BlobId
    raw_bytes: int
    stored_bytes: int

    @property
    def is_new(self) -> bool:
        """Return whether this run stored it."""
        return self.stored_bytes > 0


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How blobs are stored.

    Attributes:
        dry_run: Do all the work but store nothing.
        extra_verify: Open every pack again and compare, before it is uploaded.
        compression_level: zstd's; 3 gives 144 MB/s a core on text here, 1 gives 236 and 25 % more.
        workers: Threads that hash and compress.
    """

    dry_run: bool = False
    extra_verify: bool = True
    compression_level: int = 3
    workers: int = 2


class _BytesBudget:
    """Lets at most so many bytes be in flight; one request larger than that passes alone."""

    def __init__(self, limit_bytes: int) -> None:
        self._free = limit_bytes
        self._limit = limit_bytes
        self._changed = threading.Condition()

    def take(self, count: int) -> None:
        with self._changed:
            while self._free < min(count, self._limit):
                self._changed.wait()
            self._free -= count

    def give(self, count: int) -> None:
        with self._changed:
            self._free += count
            self._changed.notify_all()


class BlobWriter:
    """Stores blobs; call `finish` for durability, `abandon` to stop.

    After a failure every further call raises it: what was claimed to be on its way may not have
    arrived.
    """

    def __init__(self, repository: Repository, options: WriterOptions) -> None:
        self._repository = repository
        self._keys = repository.keys
        self._options = options
        self._pool = ThreadPoolExecutor(options.workers, "snap-blob")
        self._sealers = ThreadPoolExecutor(1, "snap-pack")
        self._sealing = threading.BoundedSemaphore(_SEALING_PACKS)
        self._budget = _BytesBudget(_IN_FLIGHT_BYTES)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._claimed: set[BlobId] = set()
        self._filling: dict[int, list[PendingBlob]] = {DATA_PACK: [], META_PACK: []}
        self._filling_bytes = {DATA_PACK: 0, META_PACK: 0}
        self._unindexed: list[PackSummary] = []
        self._indexed_ns = repository.clock()
        self._failure: BaseException | None = None
        self._sealing_futures: list[Future[None]] = []
        self._shuffle = random.SystemRandom().shuffle
        self.blobs_new = 0
        self.bytes_packed = 0

    def submit(self, kind: Kind, plain: bytes | memoryview) -> "Future[StoredBlob]":
        """Hand a blob to the workers; waits while too much is on its way.

        Raises:
            SnapError: an earlier blob could not be stored.
        """
        self._raise_failure()
        cost = len(plain) + _PER_BLOB_OVERHEAD_BYTES
        self._budget.take(cost)
        return self._pool.submit(self._work, kind, plain, cost)

    def _work(self, kind: Kind, plain: bytes | memoryview, cost: int) -> StoredBlob:
        try:
            id_ = self._keys.blob_id(kind, plain)
            if not self._claim(id_):
                return StoredBlob(id_, len(plain), 0)
            frame = self._compressor().compress(plain)
            if len(frame) < len(plain):
                blob = PendingBlob(id_, kind, 1, frame, len(plain))
            else:
                blob = PendingBlob(id_, kind, 0, bytes(plain), len(plain))
            self._add(blob)
            return StoredBlob(id_, len(plain), len(blob.body) + _STORED_OVERHEAD_BYTES)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._budget.give(cost)

    def _compressor(self) -> zstandard.ZstdCompressor:
        # One a thread: a compressor's state must not be used from two at once.
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = zstandard.ZstdCompressor(level=self._options.compression_level)
            self._local.compressor = compressor
        return compressor

    def _claim(self, id_: BlobId) -> bool:
        """Return whether this blob is new and now ours to store."""
        with self._lock:
            if id_ in self._claimed:
                return False
        if self._repository.cache.has_blob(id_):
            return False
        with self._lock:
            if id_ in self._claimed:
                return False
            self._claimed.add(id_)
            self.blobs_new += 1
            return True

    def _add(self, blob: PendingBlob) -> None:
        if self._options.dry_run:
            return
        pack_kind = pack_kind_of(blob.kind)
        limit = self._repository.config.parameters.pack_bytes
        if pack_kind == META_PACK:
            limit = min(limit, _META_PACK_BYTES)
        full: list[PendingBlob] | None = None
        with self._lock:
            self._filling[pack_kind].append(blob)
            self._filling_bytes[pack_kind] += len(blob.body)
            if self._filling_bytes[pack_kind] >= limit:
                full = self._take_filling(pack_kind)
        if full:
            self._start_sealing(pack_kind, full)

    def _take_filling(self, pack_kind: int) -> list[PendingBlob]:
        blobs = self._filling[pack_kind]
        self._filling[pack_kind] = []
        self._filling_bytes[pack_kind] = 0
        return blobs

    def _start_sealing(self, pack_kind: int, blobs: list[PendingBlob]) -> None:
        self._sealing.acquire()
        future = self._sealers.submit(self._seal, pack_kind, blobs)
        with self._lock:
            self._sealing_futures = [f for f in self._sealing_futures if not f.done()]
            self._sealing_futures.append(future)

    def _seal(self, pack_kind: int, blobs: list[PendingBlob]) -> None:
        try:
            if self._failure is None:
                self._store_pack(pack_kind, blobs)
                self._index_if_due()
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._sealing.release()

    def _store_pack(self, pack_kind: int, blobs: list[PendingBlob]) -> None:
        # The order of blobs in a pack must not tell which follow each other in a file.
        self._shuffle(blobs)
        pack, entries, pack_key = build_pack(self._keys, pack_kind, blobs)
        summary = PackSummary(object_id(pack), pack_kind, len(pack), 1, entries)
        if self._options.extra_verify:
            self._verify(pack, summary, pack_key)
        self._repository.backend.put(pack_name(pack_kind, summary.id), pack)
        with self._lock:
            self._unindexed.append(summary)
            self.bytes_packed += len(pack)

    def _verify(self, pack: bytearray, summary: PackSummary, pack_key: bytes) -> None:
        """Open every blob again: a fault of memory or processor must not reach the store."""
        view = memoryview(pack)
        for entry in summary.entries:
            stored = view[entry.offset : entry.offset + entry.stored_length]
            try:
                open_blob(self._keys, pack_key, entry, stored)
            except DecodeError as error:
                raise IntegrityError(
                    f"blob {entry.id.hex()}: damaged before it was stored: {error}",
                    "this machine's memory or processor makes errors: test it before anything else",
                ) from error

    def _index_if_due(self) -> None:
        now = self._repository.clock()
        with self._lock:
            due = (
                len(self._unindexed) >= _INDEX_EVERY_PACKS
                or not 0 <= now - self._indexed_ns < _INDEX_EVERY_NS
            )
        if due:
            self._store_index()

    def _store_index(self) -> None:
        with self._lock:
            packs, self._unindexed = self._unindexed, []
            self._indexed_ns = self._repository.clock()
        if not packs:
            return
        self._repository.store_index(packs)
        with self._lock:
            # They are in the cache now, which does not grow in memory.
            for pack in packs:
                self._claimed.difference_update(entry.id for entry in pack.entries)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """Make all submitted blobs durable and indexed.

        All futures of `submit` must be done.

        Raises:
            SnapError: something could not be stored.
        """
        self._raise_failure()
        for pack_kind in (DATA_PACK, META_PACK):
            with self._lock:
                blobs = self._take_filling(pack_kind)
            if blobs:
                self._start_sealing(pack_kind, blobs)
        for future in list(self._sealing_futures):
            future.result()
        self._raise_failure()
        self._store_index()

    def abandon(self) -> None:
        """Stop after an interruption; what is complete is indexed, so the next run reuses it."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._failure is None:
            self.finish()

    def close(self) -> None:
        """Release the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._sealers.shutdown(wait=True)
