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

from . import codec
from .clock import MINUTE_NS
from .codec import DecodeError
from .ids import BlobId, Kind, pack_name
from .pack import META_PACK, PackBuilder, PackSummary, PendingBlob, pack_kind_of
from .repository import Repository

MIB = 1 << 20
_IN_FLIGHT_BYTES = 16 * MIB
_PER_BLOB_OVERHEAD_BYTES = 4096
_META_PACK_BYTES = 8 * MIB
_SEALING_PACKS = 1
"""Packs that wait or are sealed while the next is filled: each is 32 MiB of memory."""
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
        self._filling: dict[int, PackBuilder] = {}
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
            blob = self._compressed(id_, kind, plain)
            if not self._options.dry_run:
                self._add(blob)
            return StoredBlob(id_, len(plain), len(blob.body) + _STORED_OVERHEAD_BYTES)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._budget.give(cost)

    def _compressed(self, id_: BlobId, kind: Kind, plain: bytes | memoryview) -> PendingBlob:
        # One a thread: a compressor's state must not be used from two at once.
        compressor = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = zstandard.ZstdCompressor(level=self._options.compression_level)
            self._local.compressor = compressor
        frame = compressor.compress(plain)
        if len(frame) >= len(plain):
            return PendingBlob(id_, kind, 0, plain, len(plain))
        if self._options.extra_verify:
            # By hash, which runs without the GIL; comparing with a memoryview would not.
            again = codec.decompress(frame, len(plain))
            if self._keys.blob_id(kind, again) != id_:
                raise self._machine_fault(id_, "it does not decompress to what it was")
        return PendingBlob(id_, kind, 1, frame, len(plain))

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
        pack_kind = pack_kind_of(blob.kind)
        with self._lock:
            pack = self._filling.get(pack_kind)
            if pack is None:
                pack = self._filling[pack_kind] = PackBuilder(self._keys, pack_kind)
            nonce = pack.reserve(blob)
            if pack.reserved_bytes >= self._pack_limit_bytes(pack_kind):
                pack.closed = True
                del self._filling[pack_kind]
        stored = pack.encrypt(blob, nonce)
        with self._lock:
            pack.add(blob, nonce, stored)
            complete = pack.is_complete()
        if complete:
            self._start_sealing(pack)

    def _pack_limit_bytes(self, pack_kind: int) -> int:
        limit = self._repository.config.parameters.pack_bytes
        return min(limit, _META_PACK_BYTES) if pack_kind == META_PACK else limit

    def _start_sealing(self, pack: PackBuilder) -> None:
        self._sealing.acquire()
        future = self._sealers.submit(self._seal, pack)
        with self._lock:
            self._sealing_futures = [f for f in self._sealing_futures if not f.done()]
            self._sealing_futures.append(future)

    def _seal(self, pack: PackBuilder) -> None:
        try:
            if self._failure is None:
                self._store_pack(pack)
                self._index_if_due()
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._sealing.release()

    def _store_pack(self, pack: PackBuilder) -> None:
        stored, summary = pack.finish(self._shuffle)
        name = pack_name(pack.kind, summary.id)
        if self._options.extra_verify:
            try:
                pack.check_tags(stored, summary.entries)
            except DecodeError as error:
                raise self._machine_fault(summary.id, str(error)) from error
        self._repository.backend.put(name, stored)
        with self._lock:
            self._unindexed.append(summary)
            self.bytes_packed += len(stored)

    def _machine_fault(self, id_: bytes, problem: str) -> IntegrityError:
        return IntegrityError(
            f"{id_.hex()}: damaged before it was stored: {problem}",
            "this machine's memory or processor makes errors: test it before anything else",
        )

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
        with self._lock:
            packs = list(self._filling.values())
            self._filling.clear()
            for pack in packs:
                pack.closed = True
        for pack in packs:
            self._start_sealing(pack)
        for future in list(self._sealing_futures):
            future.result()
        self._raise_failure()
        self._store_index()

    def abandon(self) -> None:
        """Stop after an interruption; what was submitted is indexed, so the next run reuses it.

        What is on its way is bounded, a fraction of a second's work, so it is finished.
        """
        self._pool.shutdown(wait=True)
        if self._failure is None:
            self.finish()

    def close(self) -> None:
        """Release the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._sealers.shutdown(wait=True)
