import sqlite3
from collections.abc import Iterator

import pytest

from snap.repo.cache_file import CacheDamaged
from snap.repo.cache_keys import SCHEMA, KeyTable, joined, key_of, keys_of, part_of
from snap.repo.cache_rows import RowMac
from snap.repo.ids import BlobId, ObjectId
from snap.repo.index import PackColumns
from snap.repo.pack import PackEntry, PackSummary

ENTRIES = tuple(
    PackEntry(BlobId(bytes([37 * n % 256]) * 32), 1, 1, 0, n, n, 9, 9) for n in range(9)
)
PACK = PackColumns.of(PackSummary(ObjectId(b"p" * 32), 1, 1000, 1, ENTRIES))
FIRST = PackColumns.of(PackSummary(ObjectId(b"q" * 32), 1, 1000, 1, ENTRIES[:4]))
PARTS = {part_of(key_of(entry.id)) for entry in ENTRIES}


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    yield db
    db.close()


@pytest.fixture
def table(db: sqlite3.Connection) -> KeyTable:
    table = KeyTable(RowMac(b"k" * 32))
    table.prepare(db)
    table.insert(db, keys_of(100, PACK))
    return table


def prove_all(table: KeyTable, db: sqlite3.Connection) -> None:
    for part in PARTS:
        table.prove(db, part)


def test_every_blob_of_a_pack_has_its_key_and_its_number() -> None:
    assert list(keys_of(100, PACK)) == [(key_of(e.id), 100 + n) for n, e in enumerate(ENTRIES)]


def test_keys_that_are_all_there_are_proven(table: KeyTable, db: sqlite3.Connection) -> None:
    assert len(PARTS) > 5
    prove_all(table, db)
    rows = db.execute("select key, number from keys").fetchall()
    assert rows == sorted(keys_of(100, PACK))
    table.delete(db, lambda: [(100, FIRST)])
    prove_all(table, db)
    assert db.execute("select count(*) from keys").fetchone() == (5,)


@pytest.mark.parametrize(
    "lie",
    [
        "delete from keys where number=103",
        "update keys set key=key+1 where number=103",
        "insert into keys select key+1, 500 from keys where number=103",
        "update sums set count=count+1",
        "update sums set total=total-1",
        "update sums set mac=zeroblob(16)",
        "delete from sums",
    ],
)
def test_a_key_that_is_gone_or_too_many_shows(
    table: KeyTable, db: sqlite3.Connection, lie: str
) -> None:
    db.execute(lie)
    with pytest.raises(CacheDamaged):
        prove_all(table, db)


def test_what_is_deleted_twice_shows(table: KeyTable, db: sqlite3.Connection) -> None:
    table.delete(db, lambda: [(100, PACK)])
    with pytest.raises(CacheDamaged):
        table.delete(db, lambda: [(100, PACK)])


@pytest.mark.parametrize("others", [1, 20])
def test_few_and_many_keys_are_deleted_and_the_rest_is_proven(
    table: KeyTable, db: sqlite3.Connection, others: int
) -> None:
    rows = [row for n in range(others) for row in keys_of(200 + 10 * n, PACK)]
    table.insert(db, rows)
    table.insert(db, keys_of(50, FIRST))
    table.delete(db, lambda: [(100, PACK)])
    kept = sorted([*rows, *keys_of(50, FIRST)])
    assert sorted(db.execute("select key, number from keys")) == kept
    prove_all(table, db)


@pytest.mark.parametrize(
    "lie",
    [
        "delete from keys where number=103",
        "update keys set key=key+1 where number=103",
        "update keys set number=500 where number=103",
        # One that stays is made one that goes: the sums of keys alone would not tell.
        "update keys set number=103 where number=107",
        "update keys set number=103 where number=107; delete from keys where number=103",
        "insert into keys values(7, 101)",
        "insert into keys select key, 101 from keys where number=103",
        "update sums set total=total+1",
        "delete from sums",
    ],
)
def test_a_lie_among_many_keys_that_go_shows_at_once_or_when_the_rest_is_proven(
    table: KeyTable, db: sqlite3.Connection, lie: str
) -> None:
    db.executescript(lie)
    with pytest.raises(CacheDamaged):
        table.delete(db, lambda: [(100, FIRST)])
        prove_all(table, db)


def test_ranges_that_touch_are_joined() -> None:
    assert joined([range(5, 9), range(0, 2), range(2, 3), range(9, 10)]) == [
        range(3),
        range(5, 10),
    ]
    assert joined([]) == []
