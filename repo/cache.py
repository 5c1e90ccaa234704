"""The local cache: one SQLite file per repository instance, deletable at any time.

It holds what index objects say (where blobs lie) and the plaintext of metadata blobs. Everything
in it can be had from the repository again, so its loss costs time only. What is read from it is
checked where it matters: metadata blobs against their ids, locations by opening what lies there.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from snap.errors import SnapError

from .ids import BlobId, Kind, ObjectId
from .pack import PackEntry, PackSummary

_SCHEMA_VERSION = 1
_SCHEMA = """
create table facts(key text primary key, value blob) without rowid;
create table indexes(row integer primary key, id blob not null unique);
create table packs(
    row integer primary key, id blob not null, kind integer not null, size integer not null,
    keys integer not null, index_row integer not null);
create index packs_by_index on packs(index_row);
create table blobs(
    id blob not null, kind integer not null, pack_row integer not null,
    compression integer not null, key integer not null, nonce integer not null,
    offset integer not null, stored integer not null, raw integer not null);
create index blobs_by_id on blobs(id);
create index blobs_by_pack on blobs(pack_row);
create table metadata(id blob primary key, plain blob not null) without rowid;
"""
_BUSY_SECONDS = 60.0
_BUSY_WAIT_SECONDS = 0.02
_NOT_DAMAGE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
"""Primary result codes that deleting the file would not mend."""
_T = TypeVar("_T")


class CacheFailed(SnapError):
    """The cache file cannot be used, for a reason that deleting it would not mend."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"cannot use the local cache {path}: {error}",
            "choose another folder with --cache-dir, or work without one with --no-cache",
        )


@dataclass(frozen=True, slots=True)
class Location:
    """Where a blob lies: a pack and the blob's entry in it."""

    pack_id: ObjectId
    pack_kind: int
    entry: PackEntry


class Cache:
    """Blob locations and metadata blobs. Safe from several threads and processes.

    A file that SQLite finds damaged, at opening or at any later call, is deleted and begun anew;
    the caller is told through ``rebuilt`` and loads the index again.
    """

    def __init__(self, path: Path, instance_id: bytes) -> None:
        self._path = path
        self._instance_id = instance_id
        self._lock = threading.RLock()
        self.rebuilt = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = self._open_or_begin_anew()
        except (OSError, sqlite3.Error) as error:
            raise CacheFailed(path, error) from error

    def _open_or_begin_anew(self) -> sqlite3.Connection:
        give_up = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return self._open()
            except sqlite3.DatabaseError as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code == sqlite3.SQLITE_BUSY and time.monotonic() < give_up:
                    # SQLite does not wait by itself where two switch a new file to WAL at once.
                    time.sleep(_BUSY_WAIT_SECONDS)
                    continue
                if code in _NOT_DAMAGE:
                    raise
                return self._begin_anew()

    def _open(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        db = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
        )
        try:
            db.execute("pragma journal_mode=wal")
            db.execute("pragma synchronous=normal")
            # One opener at a time: two must not both find the file empty and make the tables.
            db.execute("begin immediate")
            version = db.execute("pragma user_version").fetchone()[0]
            if version == 0:
                self._create_tables(db)
            elif version != _SCHEMA_VERSION or not self._is_ours(db):
                raise sqlite3.DatabaseError("a cache of another version or repository")
            elif db.execute("pragma quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("a damaged cache")
            db.execute("commit")
        except BaseException:
            db.close()
            raise
        return db

    def _create_tables(self, db: sqlite3.Connection) -> None:
        for statement in _SCHEMA.split(";"):
            if statement.strip():
                db.execute(statement)
        db.execute("insert into facts values('instance', ?)", (self._instance_id,))
        db.execute(f"pragma user_version={_SCHEMA_VERSION}")

    def _is_ours(self, db: sqlite3.Connection) -> bool:
        row = db.execute("select value from facts where key='instance'").fetchone()
        return row is not None and row[0] == self._instance_id

    def _begin_anew(self) -> sqlite3.Connection:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self.rebuilt = True
        return self._open()

    def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run ``work``; on a damaged file begin a new one and run it again on that."""
        with self._lock:
            try:
                return work(self._db)
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_DAMAGE:
                    raise CacheFailed(self._path, error) from error
                with contextlib.suppress(sqlite3.Error):
                    self._db.close()
                self._db = self._begin_anew()
                return work(self._db)

    @contextlib.contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[None]:
        db.execute("begin immediate")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("rollback")
            raise
        db.execute("commit")

    def index_ids(self) -> set[ObjectId]:
        """Return the index objects whose packs are loaded."""
        rows = self._run(lambda db: db.execute("select id from indexes").fetchall())
        return {ObjectId(id_) for (id_,) in rows}

    def add_index(self, index_id: ObjectId, packs: Sequence[PackSummary]) -> None:
        """Load what one index object says; nothing where it is loaded already."""

        def work(db: sqlite3.Connection) -> None:
            with self._transaction(db):
                cursor = db.execute("insert or ignore into indexes(id) values(?)", (index_id,))
                if cursor.rowcount == 0:
                    return
                index_row = cursor.lastrowid
                for pack in packs:
                    _insert_pack(db, pack, index_row)

        self._run(work)

    def drop_indexes(self, index_ids: Iterable[ObjectId]) -> None:
        """Forget what these index objects say."""

        def work(db: sqlite3.Connection) -> None:
            with self._transaction(db):
                for id_ in index_ids:
                    row = db.execute("select row from indexes where id=?", (id_,)).fetchone()
                    if row is None:
                        continue
                    db.execute(
                        "delete from blobs where pack_row in "
                        "(select row from packs where index_row=?)",
                        row,
                    )
                    db.execute("delete from packs where index_row=?", row)
                    db.execute("delete from indexes where row=?", row)

        self._run(work)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = self._begin_anew()

    def has_blob(self, id_: BlobId) -> bool:
        """Return whether any loaded index has this blob."""
        sql = "select 1 from blobs where id=? limit 1"
        return self._run(lambda db: db.execute(sql, (id_,)).fetchone()) is not None

    def locate(self, id_: BlobId) -> list[Location]:
        """Return all places of a blob."""
        sql = (
            "select p.id, p.kind, "
            "b.id, b.kind, b.compression, b.key, b.nonce, b.offset, b.stored, b.raw "
            "from blobs b join packs p on p.row=b.pack_row where b.id=?"
        )
        rows = self._run(lambda db: db.execute(sql, (id_,)).fetchall())
        return [
            Location(ObjectId(pack), kind, PackEntry(BlobId(blob), *numbers))
            for pack, kind, blob, *numbers in rows
        ]

    def packs(self) -> list[PackSummary]:
        """Return all packs, without their entries (`entries_of`)."""
        sql = "select id, kind, size, keys from packs group by id order by id"
        rows = self._run(lambda db: db.execute(sql).fetchall())
        return [PackSummary(ObjectId(id_), kind, size, keys, ()) for id_, kind, size, keys in rows]

    def entries_of(self, pack_id: ObjectId) -> list[PackEntry]:
        """Return what the index says lies in a pack, by offset; once for each index naming it."""
        sql = (
            "select b.id, b.kind, b.compression, b.key, b.nonce, b.offset, b.stored, b.raw "
            "from packs p join blobs b on b.pack_row=p.row where p.id=? order by b.offset"
        )
        rows = self._run(lambda db: db.execute(sql, (pack_id,)).fetchall())
        return [PackEntry(BlobId(blob), *numbers) for blob, *numbers in rows]

    def blob_totals(self) -> dict[int, tuple[int, int, int]]:
        """Return, per kind, how many distinct blobs there are, their stored and raw bytes."""
        sql = (
            "select kind, count(*), sum(stored), sum(raw) from "
            "(select kind, max(stored) stored, max(raw) raw from blobs group by id, kind) "
            "group by kind"
        )
        rows = self._run(lambda db: db.execute(sql).fetchall())
        return {kind: (count, stored, raw) for kind, count, stored, raw in rows}

    def get_metadata(self, id_: BlobId) -> bytes | None:
        """Return a metadata blob's plaintext if it is here; the caller checks it."""
        sql = "select plain from metadata where id=?"
        row = self._run(lambda db: db.execute(sql, (id_,)).fetchone())
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    def put_metadata(self, id_: BlobId, plain: bytes) -> None:
        """Keep a metadata blob's plaintext."""
        sql = "insert or replace into metadata values(?, ?)"
        self._run(lambda db: db.execute(sql, (id_, plain)))

    def forget_metadata(self) -> None:
        """Forget the metadata blobs, so that they are read from the store again."""
        self._run(lambda db: db.execute("delete from metadata"))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _insert_pack(db: sqlite3.Connection, pack: PackSummary, index_row: int | None) -> None:
    cursor = db.execute(
        "insert into packs(id, kind, size, keys, index_row) values(?,?,?,?,?)",
        (pack.id, pack.kind, pack.size_bytes, pack.key_count, index_row),
    )
    pack_row = cursor.lastrowid
    db.executemany(
        "insert into blobs values(?,?,?,?,?,?,?,?,?)",
        (
            (
                e.id,
                int(e.kind),
                pack_row,
                e.compression,
                e.key,
                e.nonce,
                e.offset,
                e.stored_length,
                e.raw_length,
            )
            for e in pack.entries
        ),
    )


def is_metadata(kind: int) -> bool:
    """Return whether blobs of this kind are kept in the cache."""
    return kind in (Kind.TREE, Kind.EXTENTS, Kind.DIGESTS)
