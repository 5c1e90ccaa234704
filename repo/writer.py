"""Storing blobs: hash, look up, compress, pack, encrypt, verify, upload, index.

Bounded memory whatever the input: plaintext waiting for a worker, one data pack and one metadata
pack being filled, and the packs on their way are all limited. zstandard, blake3 and cryptography
release the GIL, so workers use all cores.
"""

import contextlib
import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import NamedTuple

import zstandard

from snap.backends.pause import Interrupted
from snap.errors import IntegrityError

from . import codec
from .clock import MINUTE_NS
from .codec import MIB, DecodeError
from .compression import Compression, compressor
from .config import PACKS_IN_FLIGHT_BYTES
from .digests import Chunks
from .ids import BlobId, Kind, pack_name
from .pack import META_PACK, PackBuilder, PackSummary, PendingBlob, pack_kind_of
from .repository import Repository

Plain = bytes | bytearray | memoryview
_IN_FLIGHT_BYTES = 8 * MIB
_BATCH_BYTES = 512 << 10
_BATCH_BLOBS = 64
_PER_BLOB_OVERHEAD_BYTES = 4096
_META_PACK_BYTES = 8 * MIB
_INDEX_EVERY_PACKS = 64
_INDEX_EVERY_BLOBS = 50_000
"""So many entries of packs wait in memory at most, 350 bytes each; small files make many a pack."""
_INDEX_EVERY_NS = 3 * MINUTE_NS
_STORED_OVERHEAD_BYTES = 16 + 52
"""A blob's tag and its entry in the directory (spec/FORMAT.md §6.2, §7.3)."""


class StoredBlob(NamedTuple):
    """What became of one blob. ``stored_bytes`` is 0 where it was there already.

    ``companion_bytes`` is what the digests stored with it took.
    """

    id: BlobId
    raw_bytes: int
    stored_bytes: int
    companion_bytes: int = 0

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
        compression: How hard to try.
        workers: Threads that hash and compress.
    """

    dry_run: bool = False
    extra_verify: bool = True
    compression: Compression = Compression.DEFAULT
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


class _Rooms:
    """Memory that packs are put together in, each the room of one pack at a time.

    Kept for the next pack, since the system zeroes what is new; not more than ``limit_bytes``. A
    room never changes its size: something may still refer to the pack that was in it.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._free: list[bytearray] = []

    def take(self, size_bytes: int) -> bytearray:
        """Return at least so many bytes."""
        with self._lock:
            for number, room in enumerate(self._free):
                if len(room) >= size_bytes:
                    return self._free.pop(number)
            # It is too small, and what is made instead is not.
            del self._free[:1]
        return bytearray(-(-size_bytes // MIB) * MIB)

    def give(self, room: bytearray) -> None:
        with self._lock:
            self._free.append(room)
            self._free.sort(key=len)
            while sum(map(len, self._free)) > self._limit:
                self._free.pop(0)


@dataclass(slots=True)
class _Item:
    kind: Kind
    plain: Plain
    chunks: Chunks | None


class _Batch:
    """Blobs that one worker takes together: handing over costs more than hashing a small one."""

    def __init__(self) -> None:
        self.items: list[_Item] = []
        self.cost = 0
        self.future: Future[list[StoredBlob]] | None = None


class Ticket:
    """Stands for a blob that is being stored."""

    __slots__ = ("_batch", "_number", "_writer")

    def __init__(self, writer: "BlobWriter", batch: _Batch, number: int) -> None:
        self._writer = writer
        self._batch = batch
        self._number = number

    def result(self) -> StoredBlob:
        """Wait for the blob.

        Raises:
            SnapError: it could not be stored.
        """
        if self._batch.future is None:
            self._writer.hand_over()
        if self._batch.future is None:
            raise RuntimeError("a batch of blobs was neither filled nor handed over")
        return self._batch.future.result()[self._number]


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
        # Packs that are sealed and uploaded while the next is filled.
        uploads = repository.backend.parallel_requests
        self._sealers = ThreadPoolExecutor(uploads, "snap-pack")
        self._sealing = threading.BoundedSemaphore(uploads)
        self._sealing_bytes = _BytesBudget(PACKS_IN_FLIGHT_BYTES)
        # Held while a full pack waits for room among them; none is filled meanwhile, or each worker
        # would hold another full one where the store is slower than they are.
        self._full = threading.Lock()
        self._budget = _BytesBudget(_IN_FLIGHT_BYTES)
        self._batch = _Batch()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._claimed: set[BlobId] = set()
        self._filling: dict[int, PackBuilder] = {}
        self._unindexed: list[PackSummary] = []
        self._indexed_ns = repository.clock()
        self._failure: BaseException | None = None
        self._working: list[Future[list[StoredBlob]]] = []
        self._sealing_futures: list[Future[None]] = []
        self._rooms = _Rooms(PACKS_IN_FLIGHT_BYTES)
        self._shuffle = random.SystemRandom().shuffle
        self.blobs_new = 0

    def submit(self, kind: Kind, plain: Plain) -> Ticket:
        """Hand a blob to the workers; waits while too much is on its way.

        ``plain`` must not change any more.

        Raises:
            SnapError: an earlier blob could not be stored.
        """
        return self._submit(kind, plain, None)

    def submit_data(self, plain: Plain, chunks: Chunks) -> Ticket:
        """Hand a data blob to the workers, to be stored with its companion."""
        return self._submit(Kind.DATA, plain, chunks)

    def _submit(self, kind: Kind, plain: Plain, chunks: Chunks | None) -> Ticket:
        self._raise_failure()
        batch = self._batch
        batch.items.append(_Item(kind, plain, chunks))
        batch.cost += len(plain) + _PER_BLOB_OVERHEAD_BYTES
        ticket = Ticket(self, batch, len(batch.items) - 1)
        if batch.cost >= _BATCH_BYTES or len(batch.items) >= _BATCH_BLOBS:
            self.hand_over()
        return ticket

    def hand_over(self) -> None:
        """Give the workers what was submitted and still waits for more."""
        batch, self._batch = self._batch, _Batch()
        if batch.items:
            self._budget.take(batch.cost)
            batch.future = self._pool.submit(self._work, batch)
            with self._lock:
                self._working = [f for f in self._working if not f.done()]
                self._working.append(batch.future)

    def _work(self, batch: _Batch) -> list[StoredBlob]:
        stored = []
        try:
            for item in batch.items:
                stored.append(self._store_item(item))
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            # The plaintext is not needed any more; the tickets keep the batch alive.
            batch.items = []
            self._budget.give(batch.cost)
        return stored

    def _store_item(self, item: _Item) -> StoredBlob:
        plain, chunks = item.plain, item.chunks
        id_ = self._keys.blob_id(item.kind, plain)
        stored = self._store(id_, item.kind, plain)
        beside = 0 if chunks is None else self._store_companion(id_, plain, chunks)
        return StoredBlob(id_, len(plain), stored, beside)

    def _store(self, id_: BlobId, kind: Kind, plain: Plain) -> int:
        """Store a blob unless it is there already; return the bytes that it takes."""
        if not self._claim(id_):
            return 0
        blob = self._compressed(id_, kind, plain)
        if not self._options.dry_run:
            self._add(blob)
        return len(blob.body) + _STORED_OVERHEAD_BYTES

    def _store_companion(self, id_: BlobId, plain: Plain, chunks: Chunks) -> int:
        companion_id = self._keys.digests_id(id_, chunks.unit)
        if not self._claim(companion_id):
            return 0
        companion = chunks.companion(self._keys, plain).encode()
        blob = self._compressed(companion_id, Kind.DIGESTS, companion)
        if not self._options.dry_run:
            self._add(blob)
        return len(blob.body) + _STORED_OVERHEAD_BYTES

    def _compressed(self, id_: BlobId, kind: Kind, plain: Plain) -> PendingBlob:
        frame = self._compress(plain)
        if frame is None or len(frame) >= len(plain):
            return PendingBlob(id_, kind, 0, plain, len(plain))
        if self._options.extra_verify:
            # By hash, which runs without the GIL; comparing with a memoryview would not.
            again = codec.decompress(frame, len(plain))
            if not self._is_same(id_, kind, plain, again):
                raise self._machine_fault(id_, "it does not decompress to what it was")
        return PendingBlob(id_, kind, 1, frame, len(plain))

    def _is_same(self, id_: BlobId, kind: Kind, plain: Plain, again: bytes) -> bool:
        if kind is Kind.DIGESTS:
            # Short, and its id does not tell what is in it.
            return bytes(plain) == again
        return self._keys.blob_id(kind, again) == id_

    def _compress(self, plain: Plain) -> bytes | None:
        # One a thread: a compressor's state must not be used from two at once.
        if not hasattr(self._local, "compressor"):
            self._local.compressor = compressor(self._options.compression)
        engine: zstandard.ZstdCompressor | None = self._local.compressor
        return None if engine is None else engine.compress(plain)

    def _claim(self, id_: BlobId) -> bool:
        """Return whether this blob is new and now ours to store."""
        with self._lock:
            if id_ in self._claimed:
                return False
        if self._repository.holdings.has(id_):
            return False
        with self._lock:
            if id_ in self._claimed:
                return False
            self._claimed.add(id_)
            self.blobs_new += 1
            return True

    def _add(self, blob: PendingBlob) -> None:
        pack_kind = pack_kind_of(blob.kind)
        with self._full:
            pass
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
        with self._full:
            self._sealing.acquire()
            self._sealing_bytes.take(pack.reserved_bytes)
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
            self._sealing_bytes.give(pack.reserved_bytes)
            self._sealing.release()

    def _store_pack(self, pack: PackBuilder) -> None:
        stored, summary, room = pack.finish(self._shuffle, self._rooms.take)
        name = pack_name(pack.kind, summary.id)
        if self._options.extra_verify:
            try:
                pack.check_tags(stored, summary.entries)
            except DecodeError as error:
                raise self._machine_fault(summary.id, str(error)) from error
        self._repository.backend.put(name, stored)
        with self._lock:
            self._unindexed.append(summary)
        # Not after a failure: the store may not be done with it.
        self._rooms.give(room)

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
                or sum(len(pack.entries) for pack in self._unindexed) >= _INDEX_EVERY_BLOBS
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

        Waits for all that was submitted, also where nobody waits for the ticket: a file that
        changes while it is read gives up what it began, and a pack must not be closed under it.

        Raises:
            SnapError: something could not be stored.
        """
        self._raise_failure()
        self.hand_over()
        wait(self._working)
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

        What is on its way is bounded, a fraction of a second's work, so it is finished; but not
        what waits for a line that is limited, or for the server.
        """
        if self._failure is None:
            self.hand_over()
        self._pool.shutdown(wait=True)
        with contextlib.suppress(Interrupted):
            if self._failure is None:
                self.finish()
        self._sealers.shutdown(wait=True)
        if isinstance(self._failure, Interrupted):
            self._store_index()

    def close(self) -> None:
        """Release the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._sealers.shutdown(wait=True)
