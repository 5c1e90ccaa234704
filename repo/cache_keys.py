"""The lookup table of the cache: from the first 8 bytes of a blob's id to where it may lie.

What a key leads to proves itself. A key that is gone would not show, so the keys are counted and
summed up in 1024 parts, and a blob counts as unknown only after the sums of its part were right.
"""

import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, count, starmap

from .cache_file import CacheDamaged
from .cache_rows import RowMac, require
from .ids import ID_BYTES
from .index import PackColumns

SCHEMA = """
create table keys(
    key integer not null, number integer not null, primary key(key, number)) without rowid;
create table sums(
    part integer primary key, count integer not null, total integer not null, mac blob not null);
"""
_KEY_BYTES = 8
_PART_BITS = 10
_PART_SHIFT = 64 - _PART_BITS
_COUNT_AND_TOTAL = "count(*) count, coalesce(sum(key & 4294967295), 0) total"
Rows = Iterable[tuple[int, int]]
"""Keys and numbers."""
Pack = tuple[int, PackColumns]
"""A pack with the number of its first blob."""
_FEW_RANGES = 16
_LARGE_SHARE = 4
"""Keys are deleted in one pass where they are at least a fourth of all, in so few ranges."""


def key_of(id_: bytes) -> int:
    """Return the key of a blob."""
    # As `keys_of`: in this machine's byte order, since the file never leaves it.
    return int.from_bytes(id_[:_KEY_BYTES], sys.byteorder, signed=True)


def keys_of(first: int, pack: PackColumns) -> Rows:
    """Return key and number of every blob of a pack whose first has the number ``first``."""
    words = memoryview(pack.entries)[: ID_BYTES * pack.count].cast("q")
    return zip(words[:: ID_BYTES // _KEY_BYTES].tolist(), count(first), strict=False)


def part_of(key: int) -> int:
    """Return which part a key is in."""
    return key >> _PART_SHIFT


def all_parts() -> range:
    """Return the parts, by the keys in them."""
    half = 1 << (_PART_BITS - 1)
    return range(-half, half)


def joined(ranges: Iterable[range]) -> list[range]:
    """Return ranges that do not overlap as few of them: those that touch are one."""
    found: list[range] = []
    for one in sorted(ranges, key=lambda one: one.start):
        if found and found[-1].stop == one.start:
            found[-1] = range(found[-1].start, one.stop)
        else:
            found.append(one)
    return found


class KeyTable:
    """Writes the keys, and proves that none is gone. The caller holds a transaction."""

    def __init__(self, mac: RowMac) -> None:
        self._mac = mac

    def prepare(self, db: sqlite3.Connection) -> None:
        """Make the sums of a table without keys."""
        rows = ((part, 0, 0, self._mac.sum(part, 0, 0)) for part in all_parts())
        db.executemany("insert into sums values(?,?,?,?)", rows)

    def insert(self, db: sqlite3.Connection, rows: Rows) -> None:
        """Add keys, in their order, whatever the order they come in: few pages change."""
        self._stage(db, rows)
        db.execute("insert into keys select key, number from fresh order by key, number")
        self._change_sums(db, 1)

    def delete(self, db: sqlite3.Connection, packs: Callable[[], Iterable[Pack]]) -> None:
        """Remove the keys of some packs, which ``packs`` yields each time with their first numbers.

        Many are found by going through the whole table once, 0.4 s for each million in it; few one
        by one, 3 us each.

        Raises:
            CacheDamaged: there are more or fewer of them, or a sum of keys is not right.
        """
        counts = [(first, pack.count) for first, pack in packs()]
        if not counts:
            return
        keys = sum(blobs for _, blobs in counts)
        numbers = joined(range(first, first + max(1, blobs)) for first, blobs in counts)
        (most,) = db.execute("select coalesce(sum(count), 0) from sums").fetchone()
        if len(numbers) <= _FEW_RANGES and _LARGE_SHARE * keys >= most:
            self._delete_numbers(db, numbers, keys)
            return
        self._stage(db, chain.from_iterable(starmap(keys_of, packs())))
        db.execute("delete from keys where (key, number) in (select key, number from fresh)")
        self._change_sums(db, -1)

    def _delete_numbers(self, db: sqlite3.Connection, ranges: Sequence[range], keys: int) -> None:
        where = " or ".join("number between ? and ?" for _ in ranges)
        bounds = [bound for one in ranges for bound in (one.start, one.stop - 1)]
        sql = f"select key >> {_PART_SHIFT}, {_COUNT_AND_TOTAL} from keys where {where} group by 1"
        changes = db.execute(sql, bounds).fetchall()
        if db.execute(f"delete from keys where {where}", bounds).rowcount != keys:
            # The sums would not show a number that was changed into one of those that go.
            raise CacheDamaged("keys are gone, or too many")
        self._add_to_sums(db, changes, -1)

    def _stage(self, db: sqlite3.Connection, rows: Rows) -> None:
        db.execute("create temp table if not exists fresh(key integer, number integer)")
        db.execute("delete from fresh")
        db.executemany("insert into fresh values(?,?)", rows)

    def _change_sums(self, db: sqlite3.Connection, sign: int) -> None:
        sql = f"select key >> {_PART_SHIFT}, {_COUNT_AND_TOTAL} from fresh group by 1"
        self._add_to_sums(db, db.execute(sql).fetchall(), sign)
        db.execute("delete from fresh")

    def _add_to_sums(
        self, db: sqlite3.Connection, changes: Iterable[tuple[int, int, int]], sign: int
    ) -> None:
        for part, more, more_total in changes:
            row = db.execute("select count, total, mac from sums where part=?", (part,)).fetchone()
            if row is None:
                raise CacheDamaged("a sum of keys is gone")
            keys, total, mac = row
            require(mac, lambda: self._mac.sum(part, keys, total))  # noqa: B023  # called at once
            keys, total = keys + sign * more, total + sign * more_total
            if keys < 0 or total < 0:
                raise CacheDamaged("more keys go than there were")
            values = (keys, total, self._mac.sum(part, keys, total), part)
            db.execute("update sums set count=?, total=?, mac=? where part=?", values)

    def prove(self, db: sqlite3.Connection, part: int) -> None:
        """Compare the keys of one part with their sums; takes 1 ms for each ten million keys.

        Raises:
            CacheDamaged: they differ.
        """
        low = part << _PART_SHIFT
        high = low + (1 << _PART_SHIFT) - 1
        sql = (
            f"select k.count, k.total, s.count, s.total, s.mac from (select {_COUNT_AND_TOTAL} "
            "from keys where key between ? and ?) k left join sums s on s.part=?"
        )
        keys, total, told_keys, told_total, mac = db.execute(sql, (low, high, part)).fetchone()
        require(mac, lambda: self._mac.sum(part, told_keys, told_total))
        if (keys, total) != (told_keys, told_total):
            raise CacheDamaged("keys are gone")

    def rows(self, db: sqlite3.Connection, part: int) -> list[tuple[int, int]]:
        """Return the keys of one part with their numbers, by key.

        Raises:
            CacheDamaged: they are not those that were put.
        """
        if db.execute("select 1 from limits").fetchone() is None:
            return []
        self.prove(db, part)
        low = part << _PART_SHIFT
        high = low + (1 << _PART_SHIFT) - 1
        sql = "select key, number from keys where key between ? and ? order by key, number"
        return db.execute(sql, (low, high)).fetchall()
