import random
from collections.abc import Iterator

import pytest

from snap.backends.base import BackendUnavailable, ObjectStat
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.dump import dump_file
from snap.repo.holdings import Holdings, StoredPacks
from snap.repo.ids import BlobId, Kind, pack_name
from snap.repo.repository import Repository

from .conftest import Opener, back_up
from .dictsource import DictSource

NOISE = random.Random(40).randbytes(300_000)


def blobs_of(repository: Repository) -> dict[BlobId, str]:
    """All data blobs, with the names of their packs."""
    repository.load_index()
    return {
        entry.id: pack_name(pack.kind, pack.id)
        for pack in repository.cache.packs()
        for entry in repository.cache.entries_of(pack.id)
        if entry.kind == Kind.DATA
    }


def test_what_was_stored_is_held_and_what_was_not_is_not(
    repository: Repository, open_again: Opener
) -> None:
    back_up(repository, DictSource({b"a": NOISE}))
    fresh = open_again()
    assert all(fresh.holdings.has(id_) for id_ in blobs_of(fresh))
    assert not fresh.holdings.has(BlobId(b"?" * 32))
    assert fresh.warnings == []


@pytest.mark.parametrize("damage", ["gone", "cut", "longer"])
def test_a_pack_that_the_store_lost_holds_nothing_and_is_told_once(
    repository: Repository, open_again: Opener, backend: MemoryBackend, damage: str
) -> None:
    back_up(repository, DictSource({b"a": NOISE}))
    lost = next(iter(backend.list("data/"))).name
    good = backend.get(lost)
    if damage == "gone":
        backend.delete(lost)
    else:
        backend.put(lost, good[:-1] if damage == "cut" else good + b"x")
    fresh = open_again()
    places = blobs_of(fresh)
    assert {places[id_] for id_ in places if not fresh.holdings.has(id_)} == {lost}
    (warning,) = fresh.warnings
    assert warning.startswith(f"{lost}: ")
    assert "snap check" in warning


def test_a_backup_stores_again_what_the_store_lost(
    repository: Repository, open_again: Opener, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"a": NOISE}))
    for stat in [*backend.list("data/"), *backend.list("meta/")]:
        backend.delete(stat.name)
    second = back_up(open_again(), DictSource({b"a": NOISE}))
    assert second.statistics.bytes_new >= len(NOISE)
    (component,) = second.components
    assert b"".join(dump_file(open_again(), second, component.name, (b"a",))) == NOISE


class Counting(MemoryBackend):
    stats = 0
    lists = 0

    def stat(self, name: str) -> ObjectStat:
        self.stats += 1
        return super().stat(name)

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        self.lists += 1
        return super().list(prefix)


def test_after_64_packs_the_store_is_listed_instead(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"a": random.Random(41).randbytes(6_000_000)}))
    places = blobs_of(repository)
    assert len(set(places.values())) > 70
    counting = Counting()
    for stat in backend.list(""):
        counting.put(stat.name, backend.get(stat.name))
    lost = sorted(set(places.values()))[0]
    counting.delete(lost)
    told: list[str] = []
    holdings = Holdings(counting, repository.cache, told.append)
    for _ in range(2):
        held = {id_ for id_ in places if holdings.has(id_)}
        assert held == {id_ for id_ in places if places[id_] != lost}
    assert (counting.stats, counting.lists) == (64, 2)
    assert len(told) == 1


def test_what_this_run_has_put_is_not_asked_for(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"a": b"small"}))
    id_ = repository.keys.blob_id(Kind.DATA, b"small")
    (place,) = repository.cache.locate(id_)
    silent = FaultyBackend(backend, Fault("stat", times=None))
    holdings = Holdings(silent, repository.cache, repository.warnings.append)
    with pytest.raises(BackendUnavailable):
        holdings.has(id_)
    holdings.add([place.pack_id])
    assert holdings.has(id_)
    holdings.forget()
    with pytest.raises(BackendUnavailable):
        holdings.has(id_)


def test_a_listing_knows_sizes_and_what_nobody_asked_for(backend: MemoryBackend) -> None:
    digits = "ab" * 32
    backend.put(f"data/ab/{digits}", b"12345")
    backend.put(f"meta/cd/{digits}", b"misplaced")
    backend.put("data/ab/other", b"foreign")
    id_ = next(iter(StoredPacks(backend)._sizes[1]))
    stored = StoredPacks(backend)
    assert stored.size_bytes(1, id_) == 5
    assert stored.size_bytes(2, id_) is None
    assert stored.names() == [f"data/ab/{digits}", f"meta/cd/{digits}"]
    assert stored.take(1, id_) == 5
    assert stored.take(1, id_) is None
    assert stored.names() == [f"meta/cd/{digits}"]
