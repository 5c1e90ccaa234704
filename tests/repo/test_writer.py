import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import Unpack

import pytest

from snap.backends.base import BackendUnavailable, Buffer, PutOptions
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.clock import MINUTE_NS
from snap.repo.ids import Kind, pack_name
from snap.repo.keys import MINIMUM_COST
from snap.repo.pack import PackBuilder, PendingBlob
from snap.repo.repository import Repository, create_repository, open_repository
from snap.repo.writer import BlobWriter, WriterOptions

from .conftest import PASSPHRASE, SMALL, FakeClock, Opener

CHANCE = random.Random(13)


def test_blobs_are_durable_and_indexed_after_finish(
    repository: Repository, open_again: Opener
) -> None:
    writer = BlobWriter(repository, WriterOptions())
    plains = [CHANCE.randbytes(CHANCE.randrange(1, 9000)) for _ in range(100)]
    stored = [writer.submit(Kind.DATA, plain) for plain in plains]
    assert all(future.result().is_new for future in stored)
    writer.finish()
    assert writer.blobs_new == 100
    assert not writer.submit(Kind.DATA, plains[0]).result().is_new
    writer.close()
    fresh = open_again()
    fresh.load_index()
    for plain, future in zip(plains, stored, strict=True):
        assert fresh.load_blob(future.result().id, Kind.DATA) == plain


def test_finish_waits_for_blobs_whose_tickets_nobody_waits_for(
    repository: Repository, open_again: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypt = PackBuilder.encrypt

    def slow(self: PackBuilder, blob: PendingBlob, nonce: int) -> bytes:
        time.sleep(0.2)
        return encrypt(self, blob, nonce)

    monkeypatch.setattr(PackBuilder, "encrypt", slow)
    writer = BlobWriter(repository, WriterOptions())
    ticket = writer.submit(Kind.DATA, b"given up")
    writer.finish()
    writer.close()
    fresh = open_again()
    fresh.load_index()
    assert fresh.load_blob(ticket.result().id, Kind.DATA) == b"given up"


def test_equal_bytes_of_different_kinds_are_different_blobs(repository: Repository) -> None:
    writer = BlobWriter(repository, WriterOptions())
    data = writer.submit(Kind.DATA, b"same").result()
    tree = writer.submit(Kind.TREE, b"same").result()
    writer.finish()
    writer.close()
    assert data.id != tree.id
    assert repository.load_blob(tree.id, Kind.TREE) == b"same"


def test_a_failed_upload_is_raised_by_every_later_call(
    repository: Repository, backend: MemoryBackend
) -> None:
    repository.backend = FaultyBackend(backend, Fault("put", times=None))
    writer = BlobWriter(repository, WriterOptions())
    with pytest.raises(BackendUnavailable):
        for _ in range(1000):
            writer.submit(Kind.DATA, CHANCE.randbytes(9000)).result()
    with pytest.raises(BackendUnavailable):
        writer.finish()
    writer.close()


def test_the_index_is_written_every_few_minutes(
    repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    writer = BlobWriter(repository, WriterOptions())
    for round_ in range(3):
        for _ in range(20):
            writer.submit(Kind.DATA, CHANCE.randbytes(9000)).result()
        # The clock jumps once packs of this round are stored, not while they wait for their turn.
        ends = time.monotonic() + 60
        while len(list(backend.list("data/"))) < 2 * (round_ + 1):
            assert time.monotonic() < ends
            time.sleep(0.001)
        clock.now_ns += 4 * MINUTE_NS
    writer.finish()
    writer.close()
    assert len(list(backend.list("index/"))) >= 3


def test_incompressible_blobs_are_stored_as_they_are(repository: Repository) -> None:
    writer = BlobWriter(repository, WriterOptions())
    noise = writer.submit(Kind.DATA, CHANCE.randbytes(5000)).result()
    text = writer.submit(Kind.DATA, b"a" * 5000).result()
    writer.finish()
    writer.close()
    compressions = {
        entry.id: entry.compression
        for pack in repository.cache.packs()
        for entry in repository.cache.entries_of(pack.id)
    }
    assert compressions == {noise.id: 0, text.id: 1}
    assert noise.stored_bytes == 5000 + 16 + 52
    assert text.stored_bytes < 200


def test_memory_errors_of_the_machine_are_noticed_before_anything_is_stored(
    repository: Repository, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snap.errors import IntegrityError
    from snap.repo import pack

    class Faulty(pack.PackBuilder):
        def encrypt(self, blob: pack.PendingBlob, nonce: int) -> bytes:
            stored = bytearray(super().encrypt(blob, nonce))
            stored[0] ^= 1
            return bytes(stored)

    monkeypatch.setattr("snap.repo.writer.PackBuilder", Faulty)
    for verify in (True, False):
        writer = BlobWriter(repository, WriterOptions(extra_verify=verify))
        writer.submit(Kind.DATA, b"x" * 100 + bytes([verify])).result()
        if verify:
            with pytest.raises(IntegrityError, match="before it was stored"):
                writer.finish()
            assert list(backend.list("data/")) == []
        else:
            writer.finish()
        writer.close()


class Busy(MemoryBackend):
    """A store that likes four puts at once, and looks at what it gets."""

    parallel_requests = 4

    def __init__(self, meet: int) -> None:
        super().__init__()
        self.meeting = threading.Barrier(meet)
        self.lock = threading.Lock()
        self.flying = 0
        self.most = 0
        self.looks: list[Callable[[str], None]] = []

    def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
        is_pack = name.startswith(("data/", "meta/"))
        with self.lock:
            self.flying += is_pack
            self.most = max(self.most, self.flying)
        if is_pack:
            # So many at the same time, or this one waits for nothing. The first ones are made
            # meanwhile, which may take a while.
            with contextlib.suppress(threading.BrokenBarrierError):
                self.meeting.wait(2 if self.most >= self.meeting.parties else 60)
        super().put(name, data, **options)
        with self.lock:
            self.flying -= is_pack
        if name.startswith("index/"):
            for look in self.looks:
                look(name)


def busy_repository(store: Busy) -> Repository:
    _, recovery_key = create_repository(
        store, PASSPHRASE, label="", cost=MINIMUM_COST, parameters=SMALL
    )
    return open_repository(store, recovery_key, cache_dir=None)


def store_noise(repository: Repository, blobs: int) -> None:
    writer = BlobWriter(repository, WriterOptions())
    for _ in range(blobs):
        writer.submit(Kind.DATA, CHANCE.randbytes(9000))
    writer.hand_over()
    writer.abandon()
    writer.close()


def test_as_many_packs_are_on_their_way_as_the_store_likes_and_the_index_comes_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("snap.repo.writer._INDEX_EVERY_PACKS", 2)
    store = Busy(meet=4)
    with busy_repository(store) as repository:
        named: list[str] = []

        def look(index: str) -> None:
            for pack in repository.read_index(index):
                name = pack_name(pack.kind, pack.id)
                store.stat(name)
                named.append(name)

        store.looks.append(look)
        store_noise(repository, 200)
        assert store.most == 4
        assert sorted(named) == sorted(
            stat.name for prefix in ("data/", "meta/") for stat in store.list(prefix)
        )
        assert len(list(store.list("index/"))) > 3


def test_packs_on_their_way_take_no_more_memory_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("snap.repo.writer.PACKS_IN_FLIGHT_BYTES", 2 * SMALL.pack_bytes + 20_000)
    store = Busy(meet=2)
    with busy_repository(store) as repository:
        store_noise(repository, 100)
    assert store.most == 2


def test_no_pack_is_filled_while_a_full_one_waits_for_a_slow_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[int] = []
    held_at_first_put: list[int] = []
    reserve = PackBuilder.reserve

    def counted(self: PackBuilder, blob: PendingBlob) -> int:
        held.append(len(blob.body))
        return reserve(self, blob)

    class Slow(MemoryBackend):
        def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
            if name.startswith("data/") and not held_at_first_put:
                # Time for the others to fill packs, as they did before.
                time.sleep(1)
                held_at_first_put.append(sum(held))
            super().put(name, data, **options)

    monkeypatch.setattr(PackBuilder, "reserve", counted)
    store = Slow()
    _, key = create_repository(store, PASSPHRASE, label="", cost=MINIMUM_COST, parameters=SMALL)
    with open_repository(store, key, cache_dir=None) as repository:
        writer = BlobWriter(repository, WriterOptions(workers=4))
        for _ in range(200):
            writer.submit(Kind.DATA, CHANCE.randbytes(9000))
        writer.finish()
        writer.close()
    # The one that is put, the one that waits, and what each worker had begun.
    assert held_at_first_put[0] < 2 * (SMALL.pack_bytes + 9000) + 4 * 9000
    assert sum(held) == 200 * 9000
