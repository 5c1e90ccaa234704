"""Copying a live ChromaDB directory at one moment, in a process of its own.

Chroma rewrites the files of its vectors in place, without a lock, whenever so many operations wait
in its queue; only afterwards it records that they are in the files. So: take SQLite's write lock,
which keeps new operations out; wait, without it, while a rewriting is due; copy under it what has
changed since an earlier copy, and the database; look again whether a file moved; give it up; prove
the copy. spec/DESIGN.md has the argument and what was measured.

Its own process, because SQLite's locks are a process': any other thread that opens and closes the
database file would lose them, and so would Chroma its own, if snap ran inside its program. Started
as ``python -m snap.sources.chroma_copy``; a `Request` comes as JSON on standard input, an `Outcome`
goes as JSON to standard output. It cannot hold the lock longer than it may: an alarm ends it.
"""

import contextlib
import json
import os
import random
import signal
import sqlite3
import stat as stat_module
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from snap.errors import SnapError, SourceError
from snap.repo.clock import SECOND_NS, Clock, system_clock

from .chroma_index import FILES
from .chroma_proof import Proof, prove_store
from .chroma_store import DATABASE, Collection, Store, read_store
from .holders import find_holders, identities

_COPY_BYTES = 4 << 20
_BACKUP_PAGES = 2048
_SETTLED_NS = 50_000_000
"""A time of change younger than this may be that of an earlier change in the same tick."""
_SLEEP_SECONDS = (0.01, 0.1)
_LOCK_WAIT_SECONDS = 30.0
_STALLED_SECONDS = 15.0
"""A rewriting that is due and has not touched a file for so long, of files that nobody has open, is
one that was killed, or will begin when its program looks at the collection."""
_ALARM_SECONDS = 1.0
_PROOFS = 3

Signature = tuple[int, int, int, int]
"""Inode, size, and times of change of content and inode."""


@dataclass(frozen=True, slots=True)
class Request:
    """``patience_seconds`` is for all attempts together, ``lock_seconds`` for holding the lock."""

    folder: str
    target: str
    lock_seconds: float
    patience_seconds: float


@dataclass(slots=True)
class Outcome:
    """What was copied, or why nothing was (``error`` with a ``hint``).

    ``problems`` is what is wrong with the directory itself: its copy is exact all the same.
    """

    point_ns: int = 0
    held_ns: int = 0
    attempts: int = 0
    is_locked: bool = True
    statistics: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    widths: dict[str, tuple[int, ...]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    hint: str = ""


class _Again(Exception):
    """This attempt cannot serve; the reason is the message."""


class _HeldTooLong(Exception):
    pass


def segment_files(folder: Path, store: Store) -> list[Path]:
    """Return the files of all vector segments that are there, below ``folder``."""
    return [
        folder / c.vectors / name
        for c in store.collections
        if c.vectors
        for name in FILES
        if os.path.lexists(folder / c.vectors / name)
    ]


def copy_store(request: Request, clock: Clock) -> Outcome:
    """Copy a directory into ``request.target``, an empty folder, and prove the copy.

    Raises:
        SourceError: it could not be had at one moment, or is none.
    """
    return _Copy(request, clock).run()


class _Copy:
    def __init__(self, request: Request, clock: Clock) -> None:
        self._folder = Path(request.folder)
        self._target = Path(request.target)
        self._lock_seconds = request.lock_seconds
        self._ends = time.monotonic() + request.patience_seconds
        self._patience = request.patience_seconds
        self._copied: dict[Path, Signature] = {}
        self._due: dict[str, tuple[float, object]] = {}
        self._outcome = Outcome()
        self._parent = os.getppid()
        self._clock = clock

    def run(self) -> Outcome:
        failed_proofs = 0
        while True:
            if os.getppid() != self._parent:
                raise SourceError("whoever wanted the copy is gone")
            self._outcome.attempts += 1
            try:
                store = self._attempt()
            except _Again as reason:
                if time.monotonic() > self._ends:
                    raise SourceError(
                        f"{self._folder}: no quiet moment in {self._patience:.0f} seconds: "
                        f"{reason}",
                        "back it up when less is written, or stop its program meanwhile",
                    ) from reason
                time.sleep(random.uniform(*_SLEEP_SECONDS))
                continue
            proof = self._prove()
            failed_proofs += bool(proof.problems)
            if proof.store != store:
                # The lock was not one: another process wrote all the same.
                self._copied.clear()
                continue
            if not proof.problems or failed_proofs >= _PROOFS:
                self._tell(proof)
                return self._outcome
            # All of it anew: then it is not the copy that is wrong.
            self._copied.clear()

    def _attempt(self) -> Store:
        """Copy everything at one moment; return what the live database said then."""
        # To write, where we may: if its program died in the middle of a transaction, the first who
        # opens it has to roll that back, and Chroma would do the same.
        mode = "rw" if self._may_write() else "ro"
        with contextlib.closing(self._connect(mode)) as db:
            self._copy_files(segment_files(self._folder, read_store(db)), None)
        with self._locked() as (db, deadline):
            store = read_store(db)
            for collection in store.collections:
                self._require_settled(collection)
            files = segment_files(self._folder, store)
            before = {path: _signature(path) for path in files}
            self._copy_files(files, deadline)
            self._copy_database(deadline)
            if {path: _signature(path) for path in files} != before:
                raise _Again("files of vectors changed while they were copied")
            if not self._outcome.is_locked:
                with contextlib.closing(self._connect("ro")) as again:
                    if read_store(again) != store:
                        raise _Again("it was written to meanwhile, and we may not lock it")
            self._outcome.point_ns = self._clock()
        self._remove_others(files)
        return store

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"file:{quote(os.fsencode(self._folder / DATABASE))}?mode={mode}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_LOCK_WAIT_SECONDS)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        """Give a connection that keeps writers out, and until when it may."""
        with contextlib.closing(self._begin()) as db:
            began = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, self._lock_seconds + _ALARM_SECONDS)
            try:
                yield db, began + self._lock_seconds
            except _HeldTooLong as error:
                raise SourceError(
                    f"{self._folder}: copying what cannot be copied before would hold up its "
                    f"writers for more than {self._lock_seconds:g} seconds",
                    "back it up when nothing writes to it, with more --lock-seconds",
                ) from error
            finally:
                db.execute("rollback")
                signal.setitimer(signal.ITIMER_REAL, 0)
                held_ns = int((time.monotonic() - began) * SECOND_NS)
                self._outcome.held_ns = max(self._outcome.held_ns, held_ns)

    def _begin(self) -> sqlite3.Connection:
        # Where it may only be read, SQLite begins all the same, but locks nobody out. What others
        # write meanwhile is seen by looking again.
        self._outcome.is_locked = self._may_write()
        if self._outcome.is_locked:
            return _begun(self._connect("rw"), "begin immediate")
        return _begun(self._connect("ro"), "begin")

    def _may_write(self) -> bool:
        return os.access(
            self._folder / DATABASE, os.W_OK, effective_ids=os.access in os.supports_effective_ids
        )

    def _require_settled(self, collection: Collection) -> None:
        """Refuse while a rewriting of a collection's files is due or done and not recorded."""
        if not collection.is_being_written:
            self._due.pop(collection.id, None)
            return
        files = [self._folder / collection.vectors / name for name in FILES]
        state = (collection, [_signature(path) for path in files if path.exists()])
        since, seen = self._due.get(collection.id, (0.0, None))
        if seen != state:
            since = time.monotonic()
            self._due[collection.id] = (since, state)
        waited = time.monotonic() - since
        if waited < _STALLED_SECONDS or find_holders(identities(files)):
            raise _Again(f"the vectors of collection {collection.name} are being written")
        warning = (
            f"collection {collection.name}: {collection.pending} operations wait to be written to "
            "its files, and no program does it; they were taken as they are"
        )
        if warning not in self._outcome.warnings:
            self._outcome.warnings.append(warning)

    def _copy_files(self, files: list[Path], deadline: float | None) -> None:
        for path in files:
            try:
                signature = _signature(path)
                if self._copied.get(path) == signature:
                    continue
                settled = self._clock() - max(signature[2:]) > _SETTLED_NS
                _copy_file(path, self._target / path.relative_to(self._folder), deadline)
            except FileNotFoundError as error:
                raise _Again("files of vectors came and went") from error
            if settled and _signature(path) == signature:
                self._copied[path] = signature
            else:
                self._copied.pop(path, None)

    def _copy_database(self, deadline: float) -> None:
        """Copy by a second connection: the one that locks cannot be read from by a backup."""

        def progress(_status: int, _remaining: int, _total: int) -> None:
            if time.monotonic() > deadline:
                raise _HeldTooLong

        target = self._target / DATABASE
        target.unlink(missing_ok=True)
        with (
            contextlib.closing(self._connect("ro")) as live,
            contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            copy.execute("pragma synchronous=off")
            live.backup(copy, pages=_BACKUP_PAGES, progress=progress, sleep=0.001)

    def _remove_others(self, files: list[Path]) -> None:
        """Remove from the copy what an earlier attempt saw and is gone."""
        kept = {self._target / path.relative_to(self._folder) for path in files}
        for path in self._target.glob("*/*"):
            if path not in kept:
                path.unlink()
        for path in self._target.iterdir():
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    def _prove(self) -> Proof:
        try:
            return prove_store(self._target)
        except sqlite3.Error as error:
            raise SourceError(
                f"{self._folder / DATABASE}: {error}",
                "the database is damaged: restore it from an earlier snapshot",
            ) from error

    def _tell(self, proof: Proof) -> None:
        store = proof.store
        self._outcome.version = store.version
        self._outcome.problems = list(proof.problems)
        self._outcome.widths = {id_: i.header.widths for id_, i in proof.indexes.items()}
        if store.version == "unknown":
            self._outcome.warnings.append(
                f"made by a version of Chroma that this one does not know: {dict(store.migrations)}"
            )
        self._outcome.statistics = {
            "collections": [
                _facts(collection, proof.counts[collection.id]) for collection in store.collections
            ],
            "migrations": dict(store.migrations),
            "queue_is_purged": store.is_purged,
            "newest_operation": store.newest,
            "page_count": proof.pages,
        }


def _facts(collection: Collection, count: int) -> dict[str, Any]:
    return {
        "name": collection.name,
        "id": collection.id,
        "tenant": collection.tenant,
        "database": collection.database,
        "dimension": collection.dimension,
        "space": collection.space,
        "count": count,
        "metadata": dict(collection.metadata),
        "settings": dict(collection.settings),
        "segment": collection.vectors,
        "persisted": collection.persisted,
        "applied": collection.applied,
        "pending": collection.pending,
    }


def _signature(path: Path) -> Signature:
    found = os.lstat(path)
    if not stat_module.S_ISREG(found.st_mode):
        raise SourceError(f"{path} is not a file", "see what was put into Chroma's directory")
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _begun(db: sqlite3.Connection, sql: str) -> sqlite3.Connection:
    try:
        db.execute(sql)
    except BaseException:
        db.close()
        raise
    return db


def _copy_file(source: Path, target: Path, deadline: float | None) -> None:
    target.parent.mkdir(exist_ok=True)
    with source.open("rb", buffering=0) as read, target.open("wb", buffering=0) as write:
        while part := read.read(_COPY_BYTES):
            write.write(part)
            if deadline is not None and time.monotonic() > deadline:
                raise _HeldTooLong


def _explained(folder: str, error: Exception) -> Outcome:
    if isinstance(error, SnapError):
        message = str(error)
        if folder not in message:
            message = f"{folder}: {message}"
        return Outcome(error=message, hint=error.hint)
    if isinstance(error, sqlite3.Error):
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            hint = "another program keeps its database locked: let it finish, or stop it"
        elif getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
            hint = (
                "its program died while it wrote, and only who may write there can undo the rest: "
                "start that program once, or back it up as its user"
            )
        else:
            hint = "check its permissions; if it is damaged, restore an earlier snapshot"
        return Outcome(error=f"{folder}/{DATABASE}: {error}", hint=hint)
    if isinstance(error, OSError):
        where = error.filename or folder
        return Outcome(error=f"{where}: {error.strerror}", hint="check its permissions")
    raise error


def run_child(text: str) -> Mapping[str, Any]:
    """Carry out a request that came as JSON; return the outcome as it goes to JSON."""
    request = Request(**json.loads(text))
    try:
        outcome = copy_store(request, system_clock)
    except (SnapError, sqlite3.Error, OSError) as error:
        outcome = _explained(request.folder, error)
    return asdict(outcome)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run_child(sys.stdin.read())))
