import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from snap.errors import SnapError
from snap.repo.cache import Cache
from snap.repo.ids import BlobId, Kind, ObjectId
from snap.repo.index import PackColumns
from snap.repo.pack import PackEntry, PackSummary
from snap.repo.totals import blob_totals

INSTANCE = b"i" * 16
KEY = b"k" * 32
INDEX = ObjectId(b"x" * 32)


def blob(n: int) -> BlobId:
    return BlobId(bytes([n]) * 32)


def pack(n: int, *blobs: int) -> PackColumns:
    entries = tuple(
        PackEntry(blob(b), Kind.DATA, 1, 0, i, 100 * i, 90, 200) for i, b in enumerate(blobs)
    )
    return PackColumns.of(PackSummary(ObjectId(bytes([n]) * 32), 1, 1000, 1, entries))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "cache.sqlite"


def test_blobs_of_a_loaded_index_are_found_and_forgotten_with_it(path: Path) -> None:
    cache = Cache(path, INSTANCE, KEY)
    cache.add_index(INDEX, [pack(1, 10, 11), pack(2, 10)])
    cache.add_index(INDEX, [pack(3, 12)])
    assert cache.index_ids() == {INDEX}
    assert cache.has_blob(blob(10))
    assert not cache.has_blob(blob(12)), "an index is loaded once"
    assert [place.pack_id[0] for place in cache.locate(blob(10))] == [1, 2]
    assert [entry.id[0] for entry in cache.entries_of(pack(1).id)] == [10, 11]
    assert blob_totals(cache) == {1: (2, 180, 400)}
    assert [p.id[0] for p in cache.packs()] == [1, 2]
    cache.drop_indexes([INDEX])
    assert not cache.has_blob(blob(10))
    assert list(cache.packs()) == []
    cache.close()


def test_one_place_is_given_of_a_blob_that_has_several_or_none(path: Path) -> None:
    cache = Cache(path, INSTANCE, KEY)
    cache.add_index(INDEX, [pack(1, 10, 11), pack(2, 11, 12)])
    # The second time they are known from their packs, which were read for the others.
    for number in (10, 11, 12, 12, 11, 10):
        assert cache.locate_one(blob(number)) in cache.locate(blob(number))
    assert cache.locate_one(blob(13)) is None
    cache.drop_indexes([INDEX])
    assert cache.locate_one(blob(10)) is None
    cache.close()


def test_what_was_loaded_is_there_after_opening_again(path: Path) -> None:
    first = Cache(path, INSTANCE, KEY)
    first.add_index(INDEX, [pack(1, 10)])
    first.put_metadata(blob(5), Kind.TREE, b"tree")
    first.close()
    second = Cache(path, INSTANCE, KEY)
    assert second.has_blob(blob(10))
    assert second.get_metadata(blob(5), Kind.TREE) == b"tree"
    assert not second.rebuilt
    second.forget_metadata()
    assert second.get_metadata(blob(5), Kind.TREE) is None
    second.close()


@pytest.mark.parametrize(
    "damage", ["garbage", "truncated", "other version", "other instance", "no tables"]
)
def test_a_cache_that_is_damaged_or_not_ours_is_begun_anew(path: Path, damage: str) -> None:
    cache = Cache(path, INSTANCE, KEY)
    cache.add_index(INDEX, [pack(n, *range(n, n + 50)) for n in range(100)])
    cache.close()
    instance = INSTANCE
    if damage == "garbage":
        path.write_bytes(b"not a database" * 1000)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:20_000])
    elif damage == "other instance":
        instance = b"o" * 16
    else:
        with sqlite3.connect(path) as db:
            db.execute(
                "pragma user_version=99" if damage == "other version" else "drop table facts"
            )
        db.close()
    anew = Cache(path, instance, KEY)
    assert anew.rebuilt
    assert anew.index_ids() == set()
    anew.add_index(INDEX, [pack(1, 10)])
    assert anew.has_blob(blob(10))
    anew.close()


def test_damage_that_shows_only_later_also_begins_anew(path: Path) -> None:
    cache = Cache(path, INSTANCE, KEY)
    cache.add_index(INDEX, [pack(1, 10)])
    with sqlite3.connect(path) as db:
        db.execute("drop table keys")
    db.close()
    assert not cache.has_blob(blob(10))
    assert cache.rebuilt
    cache.close()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SnapError, match="cache") as caught:
        Cache(tmp_path / "file" / "cache.sqlite", INSTANCE, KEY)
    assert "--no-cache" in caught.value.hint


def test_many_may_open_a_new_cache_at_once(tmp_path: Path) -> None:
    for round_ in range(10):
        path = tmp_path / f"{round_}.sqlite"
        failures: list[BaseException] = []
        start = threading.Barrier(6)

        def open_and_use(
            path: Path = path,
            start: threading.Barrier = start,
            failures: list[BaseException] = failures,
        ) -> None:
            try:
                start.wait()
                cache = Cache(path, INSTANCE, KEY)
                cache.add_index(INDEX, [pack(1, 10)])
                assert cache.has_blob(blob(10))
                cache.close()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=open_and_use) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_a_blob_in_several_packs_counts_once_and_a_pack_named_twice_too(path: Path) -> None:
    cache = Cache(path, INSTANCE, KEY)
    cache.add_index(INDEX, [pack(1, 10, 11), pack(2, 10, 12)])
    cache.add_index(ObjectId(b"y" * 32), [pack(1, 10, 11), pack(3)])
    assert len(cache.locate(blob(10))) == 3
    assert blob_totals(cache) == {1: (3, 270, 600)}
    assert [p.id[0] for p in cache.packs()] == [1, 2, 3]
    assert [p.id for p in [cache.pack(pack(2).id)] if p] == [pack(2).id]
    assert cache.pack(pack(9).id) is None
    cache.close()


def test_index_objects_that_contradict_each_other_are_told(path: Path) -> None:
    other = ObjectId(b"a" * 32)
    cache = Cache(path, INSTANCE, KEY)
    cache.add_index(INDEX, [pack(1, 10), pack(2, 11)])
    cache.add_index(other, [replace(pack(1, 10), size_bytes=999), pack(2, 11)])
    assert cache.contradictions() == [(pack(1).id, other)]
    cache.close()


def test_an_index_is_held_only_if_it_says_just_the_same(path: Path) -> None:
    packs = [pack(1, 10, 11), pack(2, 12)]
    cache = Cache(path, INSTANCE, KEY)
    assert not cache.holds_index(INDEX, packs)
    cache.add_index(INDEX, packs)
    assert cache.holds_index(INDEX, packs)
    assert not cache.holds_index(INDEX, packs[:1])
    assert not cache.holds_index(INDEX, [*packs, pack(3, 13)])
    assert not cache.holds_index(INDEX, [packs[0], pack(2, 13)])
    assert cache.generation == 0
    cache.close()


def test_a_number_never_comes_to_mean_another_blob(path: Path) -> None:
    cache = Cache(path, INSTANCE, KEY)
    cache.add_index(INDEX, [pack(1, 10, 11), pack(2), pack(3, 12)])
    before = {n for b in (10, 11, 12) for n in cache.numbers_of(blob(b))}
    assert len(before) == 3
    assert max(before) < cache.number_limit()
    cache.drop_indexes([INDEX])
    cache.add_index(ObjectId(b"y" * 32), [pack(4, 13, 14)])
    after = {n for b in (13, 14) for n in cache.numbers_of(blob(b))}
    assert min(after) > max(before)
    cache.close()


def test_what_another_process_changes_is_seen_and_is_no_damage(path: Path) -> None:
    one, other = Cache(path, INSTANCE, KEY), Cache(path, INSTANCE, KEY)
    one.add_index(INDEX, [pack(1, 10, 11)])
    assert other.has_blob(blob(10))
    assert not other.has_blob(blob(12))
    one.drop_indexes([INDEX])
    one.add_index(ObjectId(b"y" * 32), [pack(2, 12), pack(3, 10)])
    assert not other.has_blob(blob(11))
    assert other.has_blob(blob(12))
    assert [place.pack_id[0] for place in other.locate(blob(10))] == [3]
    assert (one.generation, other.generation) == (0, 0)
    one.close()
    other.close()


def test_many_threads_may_ask_while_one_writes(path: Path) -> None:
    cache = Cache(path, INSTANCE, KEY)
    cache.add_index(INDEX, [pack(n, n) for n in range(100)])
    wrong: list[int] = []

    def ask() -> None:
        wrong.extend(n for n in range(100) if not cache.has_blob(blob(n)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(20):
        cache.add_index(ObjectId(bytes([n]) * 32), [pack(100 + n, 100 + n)])
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.generation == 0
    cache.close()


def test_blobs_whose_ids_begin_alike_are_told_apart(path: Path) -> None:
    def alike(n: int) -> PackEntry:
        return PackEntry(BlobId(b"same key" + bytes([n]) * 24), 1, 1, 0, n, 100 * n, 90, 200)

    summary = PackSummary(ObjectId(b"p" * 32), 1, 1000, 1, (alike(1), alike(2)))
    cache = Cache(path, INSTANCE, KEY)
    cache.add_index(INDEX, [PackColumns.of(summary)])
    assert [place.entry for place in cache.locate(alike(2).id)] == [alike(2)]
    assert not cache.has_blob(alike(3).id)
    assert cache.generation == 0
    cache.close()


def test_a_cache_of_another_secret_is_begun_anew_when_it_is_read(path: Path) -> None:
    cache = Cache(path, INSTANCE, KEY)
    cache.add_index(INDEX, [pack(1, 10)])
    cache.put_metadata(blob(5), Kind.TREE, b"tree")
    cache.close()
    other = Cache(path, INSTANCE, b"o" * 32)
    assert other.get_metadata(blob(5), Kind.TREE) is None
    assert other.generation == 1
    assert other.index_ids() == set()
    other.close()


def test_index_objects_without_packs_or_blobs_are_nothing_special(path: Path) -> None:
    cache = Cache(path, INSTANCE, KEY)
    cache.add_indexes([])
    cache.add_index(INDEX, [])
    cache.add_index(ObjectId(b"y" * 32), [pack(1)])
    cache.add_index(ObjectId(b"z" * 32), [pack(2, 10)])
    assert not cache.has_blob(blob(11))
    assert cache.has_blob(blob(10))
    assert len(cache.index_ids()) == 3
    assert cache.generation == 0
    cache.close()
