"""A SQLite database, taken with the online backup API while others write to it.

The copy is made into a spool file, never read from the live one; its integrity is checked while it
is being stored.
"""

import os
import sqlite3
import stat as stat_module
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from snap.errors import SourceError
from snap.repo.clock import SECOND_NS, Clock, system_clock
from snap.repo.source import Attributes, Consistency, Entry, NodeType, ViewReport

from .files import FileReader, attributes_of
from .holders import describe_holders
from .recognise import SQLITE_MAGIC, Inspector
from .spool import new_spool, unwritable

_WAL_VERSION = 2
"""Bytes 18 and 19 of the header in WAL mode (sqlite.org/fileformat.html §1.3.3)."""
_STEP_PAGES = 16_384
_RESTARTS = 2
"""A copy in steps begins anew whenever another process writes; after so many, one long step."""
_BUSY_SLEEP_SECONDS = 0.05
_COLLATIONS = 50
_PROGRESS_STEPS = 10_000
"""SQLite's virtual machine instructions: well under a millisecond's."""


class SqliteSource:
    """One database file. ``spool_dir`` takes a copy of it while it is backed up.

    Writers in WAL mode are never held up. With a rollback journal they wait while a step of the
    copy is read, and fail only if their own timeout is shorter than that.
    """

    kind = "sqlite"
    can_wait = True

    def __init__(
        self,
        path: Path,
        *,
        spool_dir: Path,
        name: str | None = None,
        lock_timeout_seconds: float = 60.0,
        clock: Clock = system_clock,
    ) -> None:
        self._path = path.absolute()
        self.name = name if name is not None else self._path.name
        self.place = str(self._path)
        self._spool_dir = spool_dir
        self._timeout_ns = int(lock_timeout_seconds * SECOND_NS)
        self._clock = clock

    @contextmanager
    def open(self) -> Iterator["_SqliteView"]:
        """Copy the database into a spool file and give that; it is removed afterwards."""
        found = self._examine()
        with self._spool(found.st_size) as spool:
            point_ns, journal_mode = self._copy(spool)
            view = _SqliteView(self._path, found, spool, point_ns, journal_mode)
            try:
                yield view
            finally:
                view.close()

    def _examine(self) -> os.stat_result:
        try:
            found = self._path.stat()
            if not stat_module.S_ISREG(found.st_mode):
                raise SourceError(
                    f"{self._path} is not a file", "name the database file; for a tree use files:"
                )
            with self._path.open("rb") as file:
                header = file.read(len(SQLITE_MAGIC))
        except OSError as error:
            raise SourceError(
                f"{self._path}: {error.strerror}", "check the path and its permissions"
            ) from error
        if not header:
            raise SourceError(
                f"{self._path} is empty: it holds no database",
                "check whether the application writes to another file",
            )
        if header != SQLITE_MAGIC:
            raise SourceError(
                f"{self._path} is not a SQLite database, or is encrypted",
                "back it up as a file with files:, while nothing writes to it",
            )
        return found

    @contextmanager
    def _spool(self, size_bytes: int) -> Iterator[Path]:
        size_bytes += self._beside_bytes(b"-wal")
        spool = new_spool(self._spool_dir, size_bytes, self._path)
        try:
            os.close(os.open(spool, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise unwritable(self._spool_dir, self._path, error) from error
        try:
            yield spool
        finally:
            for suffix in ("", "-journal", "-wal", "-shm"):
                spool.with_name(spool.name + suffix).unlink(missing_ok=True)

    def _copy(self, spool: Path) -> tuple[int, str]:
        """Copy the database; return the moment that the copy shows, and the journal mode."""
        try:
            with _closing(self._connect()) as live, _closing(sqlite3.connect(spool)) as copy:
                copy.execute("pragma synchronous=off")
                journal_mode = str(live.execute("pragma journal_mode").fetchone()[0])
                if self._is_wal():
                    # Opened as immutable, it says otherwise.
                    journal_mode = "wal"
                # In WAL mode one step reads one moment and holds nobody up, however long it takes.
                if journal_mode == "wal" or not self._copy_in_steps(live, copy):
                    point_ns = self._clock()
                    self._backup(live, copy, -1)
                    return point_ns, journal_mode
                return self._clock(), journal_mode
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _connect(self) -> sqlite3.Connection:
        uri = f"file:{quote(os.fsencode(self._path))}"
        # Only a check that SQLite itself makes early tells whether the file can be opened at all.
        live = sqlite3.connect(
            f"{uri}?mode=ro",
            uri=True,
            timeout=self._timeout_ns / SECOND_NS,
            isolation_level=None,
        )
        try:
            live.execute("select count(*) from sqlite_schema").fetchone()
        except sqlite3.OperationalError as error:
            if _primary(error) == sqlite3.SQLITE_BUSY:
                # Locked now; the copy waits for it as long as it may.
                return live
            live.close()
            if _primary(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            if not self._is_wal() or self._beside_bytes(b"-wal") or self._beside_bytes(b"-journal"):
                raise
            # A WAL database in a folder that we cannot write: without a log nobody is using it.
            live = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
        except BaseException:
            live.close()
            raise
        return live

    def _beside_bytes(self, suffix: bytes) -> int:
        """Return the size of the log or journal, 0 if there is none."""
        # SQLite follows links before it names the files beside a database.
        real = os.path.realpath(os.fsencode(self._path))
        try:
            return os.stat(real + suffix).st_size
        except FileNotFoundError:
            return 0

    def _is_wal(self) -> bool:
        with self._path.open("rb") as file:
            return file.read(20)[18:] == bytes((_WAL_VERSION, _WAL_VERSION))

    def _copy_in_steps(self, live: sqlite3.Connection, copy: sqlite3.Connection) -> bool:
        """Copy while letting writers in between; return False when they never let it finish."""
        restarts = _RestartCount(_RESTARTS)
        try:
            self._backup(live, copy, _STEP_PAGES, restarts)
        except _RestartedTooOften:
            return False
        return True

    def _backup(
        self,
        live: sqlite3.Connection,
        copy: sqlite3.Connection,
        pages: int,
        restarts: "_RestartCount | None" = None,
    ) -> None:
        limit_ns = self._clock() + self._timeout_ns

        def progress(status: int, remaining: int, _total: int) -> None:
            nonlocal limit_ns
            if status not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                limit_ns = self._clock() + self._timeout_ns
                if restarts is not None:
                    restarts.see(remaining)
            elif self._clock() > limit_ns:
                raise SourceError(
                    f"{self._path} stayed locked for {self._timeout_ns // SECOND_NS} seconds"
                    + describe_holders(self._path),
                    "let the program that holds it finish its transaction, or stop it",
                )

        live.backup(copy, pages=pages, progress=progress, sleep=_BUSY_SLEEP_SECONDS)

    def _explain(self, error: sqlite3.Error) -> SourceError:
        reason = str(error)
        match _primary(error):
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                reason += describe_holders(self._path)
                hint = "let the program that holds it finish its transaction, or stop it"
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                hint = "the database is damaged: restore it from an earlier snapshot"
            case sqlite3.SQLITE_FULL:
                reason = f"no room for its copy in {self._spool_dir}"
                hint = "free some space, or name another folder with --cache-dir"
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY:
                hint = (
                    "it may need recovery after a crash, which takes write access: open it once "
                    "with its application"
                )
            case _:
                hint = "check it with: sqlite3 FILE 'pragma integrity_check'"
        return SourceError(f"{self._path}: {reason}", hint)


class _RestartedTooOften(Exception):
    pass


class _RestartCount:
    """Counts how often a copy in steps had to begin anew."""

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._least_remaining: int | None = None

    def see(self, remaining: int) -> None:
        if self._least_remaining is not None and remaining >= self._least_remaining > 0:
            self._allowed -= 1
            if self._allowed < 0:
                raise _RestartedTooOften
        self._least_remaining = remaining


class _SqliteView:
    is_sorted = True

    def __init__(
        self,
        path: Path,
        found: os.stat_result,
        spool: Path,
        point_ns: int,
        journal_mode: str,
    ) -> None:
        self._path = path
        self._found = found
        self._spool = spool
        self._point_ns = point_ns
        self._journal_mode = journal_mode
        self._examination: Examination | None = None
        self._left = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._examine, daemon=True)
        self._thread.start()

    def entries(self) -> Iterator[Entry]:
        spooled = os.stat(self._spool)
        live = attributes_of(os.fsencode(self._path), self._found)
        # Not the spool file's identity, which is another every time.
        attributes = Attributes(
            mode=live.mode,
            uid=live.uid,
            gid=live.gid,
            user=live.user,
            group=live.group,
            mtime_ns=live.mtime_ns,
            xattrs=live.xattrs,
        )
        yield Entry(
            (os.fsencode(self._path.name),),
            NodeType.FILE,
            attributes,
            size_bytes=spooled.st_size,
            open=lambda: FileReader(os.fsencode(self._spool), spooled, Inspector()),
        )

    def finish(self) -> ViewReport:
        self._thread.join()
        if self._error is not None:
            raise SourceError(
                f"{self._path}: {self._error}",
                "the database is damaged: look at it before it spreads",
            ) from self._error
        if self._examination is None:
            raise SourceError(f"{self._path}: its check did not finish")
        statistics = dict(self._examination.statistics)
        statistics |= {"file": self._path.name, "journal_mode": self._journal_mode}
        return ViewReport(
            consistency=Consistency.TRANSACTION,
            point_ns=self._point_ns,
            statistics=statistics,
            versions={"sqlite": sqlite3.sqlite_version},
            warnings=self._examination.warnings,
        )

    def close(self) -> None:
        # Left early, nobody waits for the check of a large database.
        self._left = True
        self._thread.join()

    def _examine(self) -> None:
        try:
            self._examination = examine(self._spool, stop=lambda: self._left)
        except (SourceError, sqlite3.Error, OSError) as error:
            self._error = error


@dataclass(frozen=True, slots=True)
class Examination:
    """What a database file says of itself, after its integrity was checked."""

    statistics: Mapping[str, Any]
    warnings: tuple[str, ...]


def examine(path: Path, stop: Callable[[], bool] = lambda: False) -> Examination:
    """Check a database file that nobody writes to, and count its tables.

    ``stop`` is asked every few milliseconds; when it returns true, the check ends with an error.

    Raises:
        SourceError: ``pragma integrity_check`` finds something; the first findings are named.
        sqlite3.Error: it cannot be read at all.
    """
    uri = f"file:{quote(os.fsencode(path))}?immutable=1"
    with _closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
        db.set_progress_handler(stop, _PROGRESS_STEPS)
        warnings = _check_integrity(db)
        statistics: dict[str, Any] = {
            key: db.execute(f"pragma {key}").fetchone()[0]
            for key in ("page_size", "page_count", "user_version", "application_id", "encoding")
        }
        statistics["tables"] = _count_rows(db, warnings)
    return Examination(statistics, tuple(warnings))


def _check_integrity(db: sqlite3.Connection) -> list[str]:
    warnings: list[str] = []
    check = "pragma integrity_check(10)"
    while True:
        try:
            findings = [row[0] for row in db.execute(check)]
            break
        except sqlite3.OperationalError as error:
            problem, _, name = str(error).partition(": ")
            if problem != "no such collation sequence" or len(warnings) >= _COLLATIONS:
                raise
            # Only the application knows this order. The quick check does not look at the order of
            # indexes, but wants every collation to exist.
            db.create_collation(name, _by_code_point)
            warnings.append(f"the order of its indexes could not be checked: {error}")
            check = "pragma quick_check(10)"
    if findings != ["ok"]:
        raise SourceError(f"integrity check failed: {'; '.join(map(str, findings))[:500]}")
    return warnings


def _by_code_point(a: str, b: str) -> int:
    return (a > b) - (a < b)


def _count_rows(db: sqlite3.Connection, warnings: list[str]) -> dict[str, int]:
    sql = (
        "select name from sqlite_schema where type='table' and name not like 'sqlite\\_%' "
        "escape '\\' and sql not like 'create virtual%' order by name"
    )
    counts = {}
    for (name,) in db.execute(sql).fetchall():
        try:
            counts[name] = count_rows(db, name)
        except sqlite3.OperationalError as error:
            warnings.append(f"the rows of table {name} could not be counted: {error}")
    return counts


def count_rows(db: sqlite3.Connection, table: str) -> int:
    """Return how many rows a table has."""
    quoted = '"' + table.replace('"', '""') + '"'
    return int(db.execute(f"select count(*) from {quoted}").fetchone()[0])


@contextmanager
def _closing(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield db
    finally:
        db.close()


def _primary(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, 0 where there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
