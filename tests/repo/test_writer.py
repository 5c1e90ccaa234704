import random

import pytest

from snap.backends.base import BackendUnavailable
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.clock import MINUTE_NS
from snap.repo.ids import Kind
from snap.repo.repository import Repository
from snap.repo.writer import BlobWriter, WriterOptions

from .conftest import FakeClock, Opener

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
    for _ in range(3):
        for _ in range(20):
            writer.submit(Kind.DATA, CHANCE.randbytes(9000)).result()
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
