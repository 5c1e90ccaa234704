"""The local cache: one SQLite file per repository instance, deletable at any time.

It holds what index objects say (where blobs lie) and the plaintext of metadata blobs. Everything
in it can be had from the repository again, so its loss costs time only. It is not believed: every
row carries a keyed hash that only whoever knows the metadata secret can make, so what is read here
was once read from the repository. A row that proves wrong makes the file be begun anew.

::

    indexes   one row an index object that is loaded
    packs     one row a pack of an index object, its entries in columns (`PackColumns`).
              Blobs are numbered: pack.first + position
    keys      (first 8 bytes of the blob's id, number), and their sums: `cache_keys`
    limits    one row: the first number that no blob ever had
    metadata  plaintexts
"""

import math
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, repeat, zip_longest
from pathlib import Path

from .cache_file import CacheDamaged, CacheFailed, CacheFile, many_pages, transaction, view
from .cache_keys import SCHEMA as KEYS_SCHEMA
from .cache_keys import KeyTable, Pack, Rows, all_parts, key_of, keys_of, part_of
from .cache_rows import SCHEMA as ROWS_SCHEMA
from .cache_rows import RowMac, require
from .ids import BlobId, ObjectId
from .index import PackColumns
from .pack import PackEntry, PackSummary

__all__ = ["Cache", "CacheFailed", "Location"]

_SCHEMA_VERSION = 2
_PACK_SQL = (
    "select p.first, p.id, p.kind, p.size, p.keys, p.count, p.mac, i.id, p.entries "
    "from packs p left join indexes i on i.row=p.index_row "
)
_KEPT_BYTES = 8 << 20
"""Entries of packs that stay in memory: the blobs of one file lie in few packs."""
_PAGE_PACKS = 256
_MANY_BLOBS = 10_000
_KEY_LIMIT = 1 << 63


@dataclass(frozen=True, slots=True)
class Location:
    """Where a blob lies: a pack, and the blob's entry in it."""

    pack_id: ObjectId
    pack_kind: int
    entry: PackEntry


class Cache:
    """Blob locations and metadata blobs. Safe from several threads and processes.

    A file that is found damaged, at opening or at any later call, is deleted and begun anew; the
    caller is told through ``rebuilt``, and ``reload`` is called to load the index again.
    ``mac_key`` (32 bytes) is known only to who can open the index objects.
    """

    def __init__(self, path: Path, instance_id: bytes, mac_key: bytes) -> None:
        self._mac = RowMac(mac_key)
        self._keys = KeyTable(self._mac)
        self._proven: set[int] = set()
        self._proven_at = (-1, -1)
        self._kept: OrderedDict[int, PackColumns] = OrderedDict()
        self._kept_bytes = 0
        self._kept_places: dict[BlobId, tuple[PackColumns, int]] = {}
        self.path = path
        self._file = CacheFile(path, instance_id, ROWS_SCHEMA + KEYS_SCHEMA, _SCHEMA_VERSION)

    @property
    def rebuilt(self) -> bool:
        """Return whether the file was found damaged or outdated and begun anew."""
        return self._file.generation > 0

    @property
    def generation(self) -> int:
        """Return a number that changes when the file was begun anew: blobs are numbered anew."""
        return self._file.generation

    def set_reload(self, reload: Callable[[], None]) -> None:
        """Say how the index is loaded again into a file that was begun anew."""
        self._file.reload = reload

    # Index objects

    def index_ids(self) -> set[ObjectId]:
        """Return the index objects whose packs are loaded."""

        def work(db: sqlite3.Connection) -> set[ObjectId]:
            rows = db.execute("select row, id, packs, blobs, mac from indexes").fetchall()
            for row, id_, packs, blobs, mac in rows:
                require(mac, partial(self._mac.index, id_, row, packs, blobs))
            return {ObjectId(id_) for _, id_, _, _, _ in rows}

        return self._file.run(work)

    def add_index(self, index_id: ObjectId, packs: Sequence[PackColumns]) -> None:
        """Load what one index object says; nothing where it is loaded already."""
        self.add_indexes([(index_id, packs)])

    def add_indexes(self, indexes: Sequence[tuple[ObjectId, Sequence[PackColumns]]]) -> None:
        """Load what index objects say, all or none.

        Keys are scattered all over their table, so that many at once cost little more than few.
        """

        def work(db: sqlite3.Connection) -> None:
            with transaction(db):
                self._insert(db, indexes)

        def work_on_many(db: sqlite3.Connection) -> None:
            with many_pages(db):
                work(db)

        if not indexes:
            return
        blobs = sum(pack.count for _, packs in indexes for pack in packs)
        self._file.run(work if blobs < _MANY_BLOBS else work_on_many)

    def _insert(
        self, db: sqlite3.Connection, indexes: Sequence[tuple[ObjectId, Sequence[PackColumns]]]
    ) -> None:
        number = self._number_limit(db)
        if db.execute("select 1 from limits").fetchone() is None:
            self._keys.prepare(db)
        keys: list[Iterable[Rows]] = []
        for index_id, packs in indexes:
            if db.execute("select 1 from indexes where id=?", (index_id,)).fetchone():
                continue
            (row,) = db.execute("select coalesce(max(row), 0) + 1 from indexes").fetchone()
            blobs = sum(pack.count for pack in packs)
            db.execute(
                "insert into indexes values(?,?,?,?,?)",
                (
                    row,
                    index_id,
                    len(packs),
                    blobs,
                    self._mac.index(index_id, row, len(packs), blobs),
                ),
            )
            firsts = []
            for pack in packs:
                firsts.append(number)
                # An empty pack has a number of its own as well: `first` names the row.
                number += max(1, pack.count)
            db.executemany(
                "insert into packs values(?,?,?,?,?,?,?,?,?)",
                (
                    (
                        first,
                        pack.id,
                        pack.kind,
                        pack.size_bytes,
                        pack.key_count,
                        pack.count,
                        row,
                        self._mac.pack(index_id, first, pack),
                        pack.entries,
                    )
                    for first, pack in zip(firsts, packs, strict=True)
                ),
            )
            keys.append(map(keys_of, firsts, packs))
        self._keys.insert(db, chain.from_iterable(chain.from_iterable(keys)))
        db.execute(
            "insert or replace into limits values(0, ?, ?)", (number, self._mac.limit(number))
        )

    def holds_index(self, index_id: ObjectId, packs: Sequence[PackColumns]) -> bool:
        """Return whether this index object is loaded and what is here says just the same."""

        def work(db: sqlite3.Connection) -> bool:
            sql = "select row, packs, blobs, mac from indexes where id=?"
            found = db.execute(sql, (index_id,)).fetchone()
            if found is None:
                return False
            index_row, *counts, mac = found
            require(mac, partial(self._mac.index, index_id, index_row, *counts))
            rows = db.execute(_PACK_SQL + "where p.index_row=? order by p.first", (index_row,))
            here = (self._mac.verified_pack(row) for row in rows)
            return all(known == pack for known, pack in zip_longest(here, packs))

        return self._file.run(work)

    def drop_indexes(self, index_ids: Iterable[ObjectId]) -> None:
        """Forget what these index objects say."""

        def work(db: sqlite3.Connection) -> None:
            self._forget_packs()
            with many_pages(db), transaction(db):
                sql = "select row from indexes where id=?"
                found = [row for id_ in index_ids for row in db.execute(sql, (id_,)).fetchall()]
                self._keys.delete(db, lambda: self._packs_in(db, found))
                db.executemany("delete from packs where index_row=?", found)
                db.executemany("delete from indexes where row=?", found)

        index_ids = list(index_ids)
        self._file.run(work)

    def _packs_in(self, db: sqlite3.Connection, index_rows: Iterable[tuple[int]]) -> Iterator[Pack]:
        for index_row in index_rows:
            for row in db.execute(_PACK_SQL + "where p.index_row=?", index_row):
                yield row[0], self._mac.verified_pack(row)

    def clear(self) -> None:
        """Forget everything."""
        self._forget_packs()
        self._file.begin_anew()

    # Blobs

    def has_blob(self, id_: BlobId) -> bool:
        """Return whether any loaded index has this blob."""
        return bool(self._places(id_))

    def locate(self, id_: BlobId) -> list[Location]:
        """Return all places of a blob."""
        return [
            Location(pack.id, pack.kind, pack.entry(number - first))
            for number, first, pack in self._places(id_)
        ]

    def locate_one(self, id_: BlobId) -> Location | None:
        """Return a place of a blob: the first, or one in a pack that was read not long ago."""
        # The blobs of one folder lie in few packs: no query for most.
        kept = self._kept_places.get(id_)
        if kept is None:
            return next(iter(self.locate(id_)), None)
        pack, position = kept
        return Location(pack.id, pack.kind, pack.entry(position))

    def packs_with(self, id_: BlobId) -> list[PackColumns]:
        """Return packs that hold a blob: all of them, or one that was read not long ago."""
        kept = self._kept_places.get(id_)
        return [kept[0]] if kept is not None else self.all_packs_with(id_)

    def all_packs_with(self, id_: BlobId) -> list[PackColumns]:
        """Return all packs that hold a blob."""
        return [pack for _, _, pack in self._places(id_)]

    def numbers_of(self, id_: BlobId) -> list[int]:
        """Return the numbers of a blob, one for each of its places."""
        return [number for number, _, _ in self._places(id_)]

    def numbered_places(self, id_: BlobId) -> list[tuple[int, PackColumns]]:
        """Return all places of a blob: its number there, and the pack."""
        return [(number, pack) for number, _, pack in self._places(id_)]

    def keys(self) -> Iterator[tuple[int, int]]:
        """Yield the keys of all blobs with their numbers, by key; none of them is missing."""
        for part in all_parts():
            yield from self._file.run(partial(self._keys.rows, part=part))

    def number_limit(self) -> int:
        """Return a number that is larger than that of any blob."""
        return self._file.run(self._number_limit)

    def _number_limit(self, db: sqlite3.Connection) -> int:
        # Kept apart: a number must not come to mean another blob when the last index is dropped.
        row = db.execute("select value, mac from limits").fetchone()
        if row is None:
            return 0
        number, mac = row
        require(mac, lambda: self._mac.limit(number))
        return int(number)

    def _places(self, id_: BlobId) -> list[tuple[int, int, PackColumns]]:
        def work(db: sqlite3.Connection) -> list[tuple[int, int, PackColumns]]:
            try:
                return self._look_up(db, id_)
            except CacheDamaged:
                # Or another process changed the file since the packs that are kept were read, or
                # between two reads. Once more, on one view of the file.
                self._forget_packs()
                with view(db):
                    return self._look_up(db, id_)

        return self._file.run(work)

    def _look_up(self, db: sqlite3.Connection, id_: BlobId) -> list[tuple[int, int, PackColumns]]:
        key = key_of(id_)
        sql = (
            "select number, (select max(first) from packs where first <= number) "
            "from keys where key=?"
        )
        places = []
        for number, first in db.execute(sql, (key,)).fetchall():
            if not isinstance(number, int) or first is None:
                raise CacheDamaged("a key that leads nowhere")
            pack = self._pack(db, first)
            if number - first >= pack.count:
                raise CacheDamaged("a key that leads beyond a pack")
            found = pack.id_at(number - first)
            if found == id_:
                places.append((number, first, pack))
            elif key_of(found) != key:
                raise CacheDamaged("a key that leads to another blob")
        if not places:
            self._prove(db, part_of(key))
        return places

    def _prove(self, db: sqlite3.Connection, part: int) -> None:
        """Make sure that no key of a part is gone; once until another process writes."""
        (version,) = db.execute("pragma data_version").fetchone()
        if self._proven_at != (self.generation, version):
            self._proven_at = (self.generation, version)
            self._proven.clear()
        if part not in self._proven and self._number_limit(db) > 0:
            self._keys.prove(db, part)
            self._proven.add(part)

    def _pack(self, db: sqlite3.Connection, first: int) -> PackColumns:
        known = self._kept.get(first)
        if known is not None:
            self._kept.move_to_end(first)
            return known
        pack = self._read_pack(db, first)
        self._kept[first] = pack
        self._kept_bytes += len(pack.entries)
        self._kept_places.update(zip(pack.ids(), zip(repeat(pack), count()), strict=False))
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.entries)
            for gone in oldest.ids():
                self._kept_places.pop(gone, None)
        return pack

    def _read_pack(self, db: sqlite3.Connection, first: int) -> PackColumns:
        row = db.execute(_PACK_SQL + "where p.first=?", (first,)).fetchone()
        if row is None:
            raise CacheDamaged("a pack is gone")
        return self._mac.verified_pack(row)

    def _forget_packs(self) -> None:
        self._kept.clear()
        self._kept_places.clear()
        self._kept_bytes = 0

    # Packs

    def packs(self) -> Iterator[PackSummary]:
        """Yield all packs by id, each once, without their entries (`entries_of`)."""
        for _, pack in self.numbered_packs():
            yield PackSummary(pack.id, pack.kind, pack.size_bytes, pack.key_count, ())

    def numbered_packs(self) -> Iterator[tuple[int, PackColumns]]:
        """Yield all packs by id, each once, with the number of its first blob.

        A page of them is read at a time. Of a pack that several index objects name, the blobs have
        further numbers.
        """
        self._check_counts()
        # Less than any value of any type, as a lie may have put there.
        last: bytes | float | None = -math.inf
        while last is not None:
            page, last = self._page_of_packs(last)
            yield from page

    def _page_of_packs(
        self, after: bytes | float
    ) -> tuple[list[tuple[int, PackColumns]], bytes | None]:
        def work(db: sqlite3.Connection) -> tuple[list[tuple[int, PackColumns]], bytes | None]:
            sql = _PACK_SQL + "where p.id > ? order by p.id, p.first"
            page: list[tuple[int, PackColumns]] = []
            size = 0
            for row in db.execute(sql, (after,)):
                pack = self._mac.verified_pack(row)
                if page and page[-1][1].id == pack.id:
                    continue
                if len(page) == _PAGE_PACKS or size > _KEPT_BYTES:
                    return page, page[-1][1].id
                page.append((row[0], pack))
                size += len(pack.entries)
            return page, None

        return self._file.run(work)

    def _check_counts(self) -> None:
        def work(db: sqlite3.Connection) -> None:
            here, told = db.execute(
                "select (select count(*) from packs), (select coalesce(sum(packs), 0) from indexes)"
            ).fetchone()
            if here != told:
                raise CacheDamaged("packs are missing")

        self._file.run(work)

    def pack(self, pack_id: ObjectId) -> PackSummary | None:
        """Return one pack without its entries; None where no loaded index names it."""
        pack = self.columns_of(pack_id)
        if pack is None:
            return None
        return PackSummary(pack.id, pack.kind, pack.size_bytes, pack.key_count, ())

    def columns_of(self, pack_id: ObjectId) -> PackColumns | None:
        """Return one pack with its entries; None where no loaded index names it."""
        return next(iter(self._packs_named(pack_id)), None)

    def pack_at(self, first: int) -> PackColumns:
        """Return the pack whose first blob has this number; not kept for the next."""
        return self._file.run(lambda db: self._read_pack(db, first))

    def entries_of(self, pack_id: ObjectId) -> list[PackEntry]:
        """Return what the index says lies in a pack, by offset; once for each index naming it."""
        entries = [e for pack in self._packs_named(pack_id) for e in pack.summary().entries]
        return sorted(entries, key=lambda entry: entry.offset)

    def _packs_named(self, pack_id: ObjectId) -> list[PackColumns]:
        sql = _PACK_SQL + "where p.id=? order by p.first"
        return self._file.run(
            lambda db: [self._mac.verified_pack(row) for row in db.execute(sql, (pack_id,))]
        )

    def packs_by_index(self) -> dict[ObjectId, list[tuple[ObjectId, int]]]:
        """Return the packs that each index object names, with how many blobs they have."""
        sql = "select i.id, p.id, p.count from packs p join indexes i on i.row=p.index_row"
        self._check_counts()
        rows = self._file.run(lambda db: db.execute(sql).fetchall())
        found: dict[ObjectId, list[tuple[ObjectId, int]]] = {id_: [] for id_ in self.index_ids()}
        for index, pack, blobs in rows:
            found[ObjectId(index)].append((ObjectId(pack), blobs))
        return found

    def contradictions(self) -> list[tuple[ObjectId, ObjectId]]:
        """Return packs that index objects describe unlike each other, with one that does."""
        sql = (
            "select p.id, min(i.id) from packs p join indexes i on i.row=p.index_row "
            "where p.id in (select id from packs group by id having count(*) > 1) group by p.id "
            "having min(p.kind) <> max(p.kind) or min(p.size) <> max(p.size) "
            "or min(p.keys) <> max(p.keys)"
        )
        rows = self._file.run(lambda db: db.execute(sql).fetchall())
        return [(ObjectId(pack), ObjectId(index)) for pack, index in rows]

    def repeated_ids(self) -> Iterator[BlobId]:
        """Yield the ids of blobs that have several places, each once; and of some that have one."""
        sql = (
            "select key, min(number) from keys where key >= ? "
            "group by key having count(*) > 1 order by key limit ?"
        )

        def work(db: sqlite3.Connection, start: int) -> list[tuple[int, BlobId]]:
            rows = db.execute(sql, (start, _PAGE_PACKS)).fetchall()
            return [(key, self._id_of(db, number)) for key, number in rows]

        start = -_KEY_LIMIT
        while start < _KEY_LIMIT:
            page = self._file.run(partial(work, start=start))
            yield from (id_ for _, id_ in page)
            start = page[-1][0] + 1 if len(page) == _PAGE_PACKS else _KEY_LIMIT

    def _id_of(self, db: sqlite3.Connection, number: int) -> BlobId:
        sql = "select max(first) from packs where first <= ?"
        (first,) = db.execute(sql, (number,)).fetchone()
        if first is None:
            raise CacheDamaged("a key that leads nowhere")
        pack = self._pack(db, first)
        if number - first >= pack.count:
            raise CacheDamaged("a key that leads beyond a pack")
        return pack.id_at(number - first)

    # Metadata blobs

    def get_metadata(self, id_: BlobId, kind: int) -> bytes | None:
        """Return a metadata blob's plaintext if it is here, just as it was put."""
        sql = "select mac, plain from metadata where id=? and kind=?"

        def work(db: sqlite3.Connection) -> bytes | None:
            row = db.execute(sql, (id_, kind)).fetchone()
            if row is None:
                return None
            mac, plain = row
            require(mac, lambda: self._mac.metadata(id_, kind, plain))
            return bytes(plain)

        return self._file.run(work)

    def put_metadata(self, id_: BlobId, kind: int, plain: bytes) -> None:
        """Keep the plaintext of a metadata blob, which the caller has opened and checked."""
        sql = "insert or replace into metadata values(?,?,?,?)"
        mac = self._mac.metadata(id_, kind, plain)
        self._file.run(lambda db: db.execute(sql, (id_, kind, mac, plain)))

    def forget_metadata(self) -> None:
        """Forget the metadata blobs, so that they are read from the store again."""
        self._file.run(lambda db: db.execute("delete from metadata"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
