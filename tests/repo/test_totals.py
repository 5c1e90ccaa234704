from pathlib import Path

from snap.repo.cache import Cache
from snap.repo.ids import Kind, ObjectId
from snap.repo.index import PackColumns
from snap.repo.pack import PackEntry, PackSummary
from snap.repo.totals import blob_totals

from .test_cache import INDEX, INSTANCE, KEY, blob, pack


def test_a_blob_in_several_packs_counts_once_and_a_pack_named_twice_too(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache.sqlite", INSTANCE, KEY)
    cache.add_index(INDEX, [pack(1, 10, 11), pack(2, 10, 12)])
    cache.add_index(ObjectId(b"y" * 32), [pack(1, 10, 11), pack(3)])
    assert blob_totals(cache) == {1: (3, 270, 600)}
    cache.close()


def test_totals_are_kept_apart_by_kind(tmp_path: Path) -> None:
    entries = tuple(
        PackEntry(blob(n), Kind.TREE if n % 2 else Kind.EXTENTS, 1, 0, n, 100 * n, 90, 200 + n)
        for n in range(5)
    )
    summary = PackSummary(ObjectId(b"m" * 32), 2, 1000, 1, entries)
    cache = Cache(tmp_path / "cache.sqlite", INSTANCE, KEY)
    cache.add_index(INDEX, [PackColumns.of(summary)])
    assert blob_totals(cache) == {Kind.TREE: (2, 180, 404), Kind.EXTENTS: (3, 270, 606)}
    cache.close()
