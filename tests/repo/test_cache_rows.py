from dataclasses import replace

import pytest

from snap.repo.cache_file import CacheDamaged
from snap.repo.cache_rows import RowMac, require
from snap.repo.ids import BlobId, ObjectId
from snap.repo.index import PackColumns
from snap.repo.pack import PackEntry, PackSummary

MAC = RowMac(b"k" * 32)
INDEX = b"x" * 32
ENTRIES = tuple(PackEntry(BlobId(bytes([n]) * 32), 1, 1, 0, n, n, 90, 200) for n in range(3))
PACK = PackColumns.of(PackSummary(ObjectId(b"p" * 32), 1, 1000, 1, ENTRIES))
ROW = (7, PACK.id, 1, 1000, 1, 3, MAC.pack(INDEX, 7, PACK), INDEX, PACK.entries)


def test_a_row_that_is_as_it_was_written_gives_its_pack() -> None:
    assert MAC.verified_pack(ROW) == PACK


@pytest.mark.parametrize("column", range(len(ROW)))
def test_every_column_of_a_pack_is_proven(column: int) -> None:
    good = ROW[column]
    lies: list[object] = [None, "text", -1, 2.5, b"", b"short"]
    if isinstance(good, bytes):
        lies += [good[:-1], good + b"\0", bytes([good[0] ^ 1]) + good[1:]]
    else:
        lies += [good + 1, good + 2**70]
    for lie in lies:
        row = list(ROW)
        row[column] = lie
        with pytest.raises(CacheDamaged):
            MAC.verified_pack(row)


def test_hashes_of_another_key_or_of_another_table_prove_nothing() -> None:
    other = RowMac(b"o" * 32)
    assert other.pack(INDEX, 7, PACK) != MAC.pack(INDEX, 7, PACK)
    assert other.index(INDEX, 1, 1, 3) != MAC.index(INDEX, 1, 1, 3)
    assert other.limit(3) != MAC.limit(3)
    assert MAC.metadata(INDEX, 2, b"") != MAC.metadata(INDEX, 3, b"")
    assert MAC.metadata(INDEX, 2, b"a") != MAC.metadata(INDEX, 2, b"b")
    with pytest.raises(CacheDamaged):
        require(MAC.limit(3), lambda: MAC.limit(4))
    require(MAC.limit(3), lambda: MAC.limit(3))


def test_entries_of_another_number_of_blobs_have_no_hash() -> None:
    with pytest.raises(ValueError, match="number of blobs"):
        MAC.pack(INDEX, 7, replace(PACK, count=2))
