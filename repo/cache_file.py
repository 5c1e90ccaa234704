"""The file below the cache: opening it, sharing it with other processes, and beginning it anew.

Nothing is looked for at opening, which would take as long as the file is large: damage is noticed
when it is met, by SQLite or by whoever reads a row that proves wrong (`CacheDamaged`).
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from snap.errors import SnapError

_BUSY_SECONDS = 60.0
_BUSY_WAIT_SECONDS = 0.02
_PAGES_KIB = 8 << 10
_PAGES_WHILE_LOADING_KIB = 64 << 10
_LOG_LIMIT_BYTES = 16 << 20
"""What SQLite's write-ahead log shrinks to after a large transaction."""
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


class CacheDamaged(Exception):
    """A row is not what was written; the file is to be begun anew. Does not leave `run`."""


class CacheFile:
    """An SQLite file that may be deleted at any time. Safe from several threads and processes.

    Attributes:
        generation: How often it was begun anew: damaged, outdated, another repository's, or
            because somebody wanted that.
        reload: Called where damage was met after the opening, to fill the new file before whoever
            met it goes on.
    """

    def __init__(self, path: Path, instance_id: bytes, schema: str, version: int) -> None:
        self._path = path
        self._instance_id = instance_id
        self._schema = schema
        self._version = version
        self._lock = threading.RLock()
        self._reloading = False
        self.generation = 0
        self.reload: Callable[[], None] = lambda: None
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
                code = _code_of(error)
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
            db.execute(f"pragma journal_size_limit={_LOG_LIMIT_BYTES}")
            db.execute(f"pragma cache_size=-{_PAGES_KIB}")
            # One opener at a time: two must not both find the file empty and make the tables.
            db.execute("begin immediate")
            version = db.execute("pragma user_version").fetchone()[0]
            if version == 0:
                self._create_tables(db)
            elif version != self._version or not self._is_ours(db):
                raise sqlite3.DatabaseError("a cache of another version or repository")
            db.execute("commit")
        except BaseException:
            db.close()
            raise
        return db

    def _create_tables(self, db: sqlite3.Connection) -> None:
        for statement in self._schema.split(";"):
            if statement.strip():
                db.execute(statement)
        db.execute("create table facts(key text primary key, value blob) without rowid")
        db.execute("insert into facts values('instance', ?)", (self._instance_id,))
        db.execute(f"pragma user_version={self._version}")

    def _is_ours(self, db: sqlite3.Connection) -> bool:
        row = db.execute("select value from facts where key='instance'").fetchone()
        return row is not None and row[0] == self._instance_id

    def _begin_anew(self) -> sqlite3.Connection:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self.generation += 1
        return self._open()

    def run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run ``work``; on a damaged file begin a new one, fill it, and run it again on that.

        Raises:
            CacheFailed: the file cannot be used, or is damaged again as soon as it is new.
        """
        with self._lock:
            try:
                return self._attempt(work)
            except CacheDamaged as damage:
                if self._reloading:
                    raise CacheFailed(self._path, damage) from damage
            self.begin_anew()
            self._reloading = True
            try:
                self.reload()
            finally:
                self._reloading = False
            try:
                return self._attempt(work)
            except CacheDamaged as damage:
                raise CacheFailed(self._path, damage) from damage

    def _attempt(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return work(self._db)
        except sqlite3.DatabaseError as error:
            if _code_of(error) in _NOT_DAMAGE:
                raise CacheFailed(self._path, error) from error
            raise CacheDamaged(str(error)) from error

    def begin_anew(self) -> None:
        """Forget everything."""
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            try:
                self._db = self._begin_anew()
            except (OSError, sqlite3.Error) as error:
                raise CacheFailed(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _code_of(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Do all or nothing."""
    db.execute("begin immediate")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("rollback")
        raise
    db.execute("commit")


@contextlib.contextmanager
def many_pages(db: sqlite3.Connection) -> Iterator[None]:
    """Keep more of the file in memory while much is written all over it."""
    db.execute(f"pragma cache_size=-{_PAGES_WHILE_LOADING_KIB}")
    try:
        yield
    finally:
        with contextlib.suppress(sqlite3.Error):
            db.execute(f"pragma cache_size=-{_PAGES_KIB}")
            db.execute("pragma shrink_memory")


@contextlib.contextmanager
def view(db: sqlite3.Connection) -> Iterator[None]:
    """Read one state of the file, whatever other processes write meanwhile."""
    db.execute("begin")
    try:
        yield
    finally:
        with contextlib.suppress(sqlite3.Error):
            db.execute("commit")
