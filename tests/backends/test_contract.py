"""The contract suite on every store and every wrapper."""

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import pytest

from snap.backends.base import Backend, BackendUnavailable, Buffer, ObjectNotFound, PutOptions
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.local import LocalBackend
from snap.backends.location import open_backend
from snap.backends.memory import MemoryBackend
from snap.backends.readonly import ReadOnlyBackend
from snap.backends.retry import RetryingBackend, RetryPolicy
from snap.backends.s3 import S3Backend
from snap.backends.s3_place import parse_place
from tests.servers.s3 import Bucket, S3Server

from .contract import BackendContract


class TestMemory(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return MemoryBackend()


class TestLocal(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return LocalBackend(tmp_path / "new" / "store")


class TestByLocation(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return open_backend(f"file://{tmp_path}/store")


class TestS3(BackendContract):
    """The store itself, without the retries around it."""

    @pytest.fixture
    def backend(self, bucket: Bucket) -> Iterator[Backend]:
        store = S3Backend(parse_place(bucket.url))
        yield store
        store.close()


class TestS3ByLocation(BackendContract):
    """At the top of a bucket that keeps every version and protects it for a day."""

    @pytest.fixture
    def backend(self, s3_user: S3Server) -> Iterator[Backend]:
        with s3_user.bucket(lock_days=1) as bucket:
            store = open_backend(bucket.url.replace("/some/prefix", ""))
            yield store
            store.close()


class TestFaultyWithoutFaults(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return FaultyBackend(MemoryBackend())


class TestSlow(BackendContract):
    """Every call takes an hour, on a clock that nobody has to wait for."""

    @pytest.fixture
    def backend(self) -> Backend:
        slow = Fault("*", times=None, error=None, delay_seconds=3600)
        return FaultyBackend(MemoryBackend(), slow, sleep=lambda _: None)


class TestReadOnly(BackendContract):
    """Read through the wrappers in their order; written beside the outermost."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        class WrittenBeside(ReadOnlyBackend):
            def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
                self._inner.put(name, data, **options)

            def delete(self, name: str) -> None:
                self._inner.delete(name)

        return WrittenBeside(RetryingBackend(LocalBackend(tmp_path)))


class TestRetryOverTroubles(BackendContract):
    """Every third call fails for now, before or after it was carried out."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        def unavailable() -> BackendUnavailable:
            return BackendUnavailable("injected")

        class EveryThird(Fault):
            def strikes(self, operation: str, name: str) -> bool:
                self.calls += 1
                return self.calls % 3 == 0

        early = EveryThird("*", error=unavailable)
        late = EveryThird("*", error=unavailable, late=True, calls=1)
        faulty = FaultyBackend(LocalBackend(tmp_path), early, late)
        return RetryingBackend(faulty, RetryPolicy(attempts=40), sleep=lambda _: None)

    def test_missing_objects_are_not_found(self, backend: Backend) -> None:
        """All but deletes: one that is not there after a doubtful attempt counts as done."""
        for name in ("a", "d/a"):
            with pytest.raises(ObjectNotFound):
                backend.get(name)
            with pytest.raises(ObjectNotFound):
                backend.stat(name)
