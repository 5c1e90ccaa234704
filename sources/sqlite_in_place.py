"""A SQLite database where it lives."""

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from snap.errors import IntegrityError
from snap.repo.layout import HEAD_BYTES, sqlite_page_bytes
from snap.repo.source import Source

from .exchange import CannotExchange, exchange, put_in_place
from .files import FilesSource
from .holders import SQLITE_SUFFIXES, Identity, database_files, find_holders, identities
from .sqlite import SqliteSource, count_rows
from .verify import verify_component

_BESIDE = SQLITE_SUFFIXES[1:]


class SqlitePlace:
    """One database file, and the journal or log beside it.

    ``statistics`` are those that were recorded with what is to be put here.
    """

    def __init__(self, path: Path, statistics: Mapping[str, Any]) -> None:
        # The link, if it is one, stays; what it leads to is replaced.
        self.path = Path(os.path.realpath(path))
        self._statistics = statistics
        self._staged_name = str(statistics.get("file", path.name))
        self._replaced: set[Identity] = set()

    def users(self) -> list[str]:
        """Return the processes that have it open, or what was replaced."""
        wanted = identities(database_files(self.path)) | self._replaced
        return [str(holder) for holder in find_holders(wanted)]

    def sources(self, name: str, spool_dir: Path) -> list[Source]:
        """Return the database as a source."""
        return [SqliteSource(self.path, spool_dir=spool_dir, name=name)]

    def plain_files(self, name: str) -> list[Source]:
        """Return the file and those beside it."""
        return [
            FilesSource(path, name=name + path.name.removeprefix(self.path.name))
            for path in database_files(self.path)
        ]

    def settle(self) -> None:
        """Roll back or bring over what a program that died left in a journal or log.

        Only of what looks like a database, as its own program would: of anything else SQLite throws
        the log away.
        """
        try:
            with self.path.open("rb") as file:
                if not sqlite_page_bytes(file.read(HEAD_BYTES)):
                    return
        except OSError:
            return
        with contextlib.suppress(sqlite3.Error):
            uri = f"file:{quote(os.fsencode(self.path))}?mode=rw"
            db = sqlite3.connect(uri, uri=True, isolation_level=None)
            with contextlib.closing(db):
                db.execute("select count(*) from sqlite_schema").fetchone()
                db.execute("pragma wal_checkpoint(truncate)").fetchone()

    def fingerprint(self) -> object:
        """Return identities, sizes and times of its files."""
        found = []
        for path in database_files(self.path):
            status = os.stat(path)
            # Readers make an empty log and an index of it; only its content is the database's.
            if path != self.path and (path.name.endswith("-shm") or not status.st_size):
                continue
            found.append((path.name, status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found) or None

    def prove_staged(self, folder: Path) -> list[str]:
        """Check the new file's integrity and count its rows."""
        return verify_component("sqlite", folder, self._statistics)

    def swap(self, folder: Path) -> None:
        """Exchange the files; a journal or log of the old one never meets the new one."""
        staged = folder / self._staged_name
        self._replaced = identities([self.path])
        # Left beside the new file, SQLite would roll it into that. It is there only where the old
        # database is so damaged that it could not be settled.
        for suffix in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}{suffix}", f"{folder.parent / 'old'}{suffix}")
        if not self._replaced:
            put_in_place(staged, self.path)
            return
        try:
            exchange(staged, self.path)
        except CannotExchange:
            # The old one keeps a name, and the new one takes its place at once.
            os.link(self.path, folder.parent / "old")
            os.replace(staged, self.path)
            os.rename(folder.parent / "old", staged)

    def put_back(self, folder: Path) -> None:
        """Exchange the files again."""
        staged = folder / self._staged_name
        # The new one may have got a log meanwhile.
        for suffix in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}{suffix}", f"{folder.parent / 'unproven'}{suffix}")
        if self._replaced:
            os.replace(staged, self.path)
        else:
            os.unlink(self.path)
        for suffix in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{folder.parent / 'old'}{suffix}", f"{self.path}{suffix}")

    def prove(self) -> list[str]:
        """Open it as its programs do, and count its rows once more."""
        uri = f"file:{quote(os.fsencode(self.path))}?mode=rw"
        recorded = self._statistics.get("tables", {})
        try:
            with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
                counted = {table: count_rows(db, table) for table in recorded}
        except sqlite3.Error as error:
            raise IntegrityError(f"{self.path}: {error}", "restore an earlier snapshot") from error
        if counted != recorded:
            raise IntegrityError(
                f"{self.path}: its tables do not have the rows that were recorded",
                "restore an earlier snapshot",
            )
        return [f"opens in its place, with all {sum(recorded.values())} rows"]
