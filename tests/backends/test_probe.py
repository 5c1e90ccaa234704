"""Stores that keep all promises, and stores that break one each."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Unpack

import pytest

from snap.backends.base import (
    Backend,
    BackendUnavailable,
    Buffer,
    ObjectRetained,
    ObjectStat,
    PermissionDenied,
    PutOptions,
    StorageFull,
)
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.local import LocalBackend
from snap.backends.location import open_backend
from snap.backends.memory import MemoryBackend
from snap.backends.probe import Level, ProbeReport, probe_store
from snap.backends.readonly import ReadOnlyBackend
from snap.backends.wrapper import Wrapper
from tests.servers.s3 import Bucket, S3Server

from .unfaithful import LetsBothWin, ReadsElsewhere

LOCK = "objects can be protected from deletion"


def probed(store: Backend) -> ProbeReport:
    return probe_store(store, clock=time.time_ns, sleep=lambda _: None)


def broken(store: Backend) -> dict[str, str]:
    return {p.name: p.words for p in probed(store).promises if not p.kept}


def test_stores_without_locks_keep_all_other_promises_and_are_left_empty(tmp_path: Path) -> None:
    for store in (MemoryBackend(), LocalBackend(tmp_path / "store")):
        report = probed(store)
        assert report.ok
        assert [p.name for p in report.promises if not p.kept] == [LOCK]
        assert abs(report.skew_seconds or 0) < 60
        assert list(store.list("")) == []
        report.require()


def test_a_bucket_keeps_all_promises_but_the_lock_it_does_not_have(bucket: Bucket) -> None:
    store = open_backend(bucket.url + "&data_class=STANDARD_IA")
    assert list(broken(store)) == [LOCK]
    assert bucket.listed() == []
    store.close()


def test_a_bucket_with_object_lock_keeps_all_promises(s3_user: S3Server) -> None:
    with s3_user.bucket(lock=True) as bucket:
        store = open_backend(bucket.url)
        assert broken(store) == {}
        assert bucket.listed() == []
        store.close()


def test_a_storage_class_that_is_not_there_is_found(bucket: Bucket) -> None:
    store = open_backend(bucket.url + "&data_class=NONSENSE")
    report = probed(store)
    assert not report.ok
    (promise,) = report.broken(Level.ESSENTIAL)
    assert "InvalidStorageClass" in promise.words
    store.close()


class LosesContent(MemoryBackend):
    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return super().get(name, offset, length)[:100]


class NeverReplaces(Wrapper):
    def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
        if name not in [stat.name for stat in self.list("")]:
            super().put(name, data)


class NeverDeletes(MemoryBackend):
    def delete(self, name: str) -> None:
        pass


class ForgetsInListings(MemoryBackend):
    def list(self, prefix: str) -> Iterator[ObjectStat]:
        return (stat for stat in super().list(prefix) if not stat.name.endswith("list-1"))


class ListsLate(MemoryBackend):
    """Shows an object from the second listing on."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: set[str] = set()

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        found = list(super().list(prefix))
        yield from (stat for stat in found if stat.name in self.shown)
        self.shown |= {stat.name for stat in found}


class LivesInThePast(MemoryBackend):
    def __init__(self) -> None:
        super().__init__(clock=lambda: time.time_ns() - 3 * 3600 * 10**9)


class LivesInTheFuture(MemoryBackend):
    def __init__(self) -> None:
        super().__init__(clock=lambda: time.time_ns() + 3 * 3600 * 10**9)


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (LosesContent, "objects are stored and read", "not what was stored"),
        (lambda: NeverReplaces(MemoryBackend()), "objects are replaced whole", "old content"),
        (lambda: ReadsElsewhere(MemoryBackend()), "parts of objects are read", "another part"),
        (ForgetsInListings, "listings are complete", "one is missing"),
    ],
)
def test_a_store_that_breaks_an_essential_promise_is_refused_in_words(
    make: Callable[[], Backend], name: str, words: str
) -> None:
    report = probed(make())
    assert not report.ok
    assert words in {p.name: p.words for p in report.promises if not p.kept}[name]
    with pytest.raises(Exception, match=f"cannot hold a repository: .*{name}") as caught:
        report.require()
    assert getattr(caught.value, "hint", "")


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (ListsLate, "listings show what is new at once", "stores it again"),
        (
            lambda: LetsBothWin(MemoryBackend()),
            "of two that create one object, one wins",
            "2 of 2 won",
        ),
        (LivesInThePast, "the store's clock is ours", "behind this machine's"),
        (LivesInTheFuture, "the store's clock is ours", "ahead of this machine's"),
    ],
)
def test_a_store_that_breaks_another_promise_can_be_used_with_care(
    make: Callable[[], Backend], name: str, words: str
) -> None:
    report = probed(make())
    assert report.ok
    assert {p.name: words in p.words for p in report.broken(Level.WANTED)} == {name: True}


def test_a_store_that_does_not_delete_can_be_used_with_care() -> None:
    names = [p.name for p in probed(NeverDeletes()).broken(Level.WANTED)]
    assert names == ["objects that are deleted are gone", "listings show what is new at once"]
    kept = Fault("delete", error=lambda: ObjectRetained("kept until tomorrow"), times=None)
    report = probed(FaultyBackend(MemoryBackend(), kept))
    assert report.ok
    (promise,) = report.broken(Level.WANTED)
    assert "kept until tomorrow" in promise.words


def test_how_far_the_stores_clock_is_off_is_told() -> None:
    assert abs((probed(LivesInThePast()).skew_seconds or 0) + 3 * 3600) < 60
    assert abs((probed(LivesInTheFuture()).skew_seconds or 0) - 3 * 3600) < 60


@pytest.mark.parametrize(
    "error",
    [
        lambda: PermissionDenied("no"),
        lambda: StorageFull("no"),
        lambda: BackendUnavailable("no"),
    ],
)
def test_what_the_store_says_itself_is_what_is_said(
    error: Callable[[], PermissionDenied | StorageFull | BackendUnavailable],
) -> None:
    faulty = FaultyBackend(MemoryBackend(), Fault("put", error=error, times=None))
    report = probed(faulty)
    assert len(report.promises) == 1
    with pytest.raises(type(error())):
        report.require()


def test_a_store_for_reading_only_is_refused() -> None:
    with pytest.raises(PermissionDenied):
        probed(ReadOnlyBackend(MemoryBackend())).require()
