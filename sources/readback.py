"""Reading files again and comparing them with what was written to them."""

import contextlib
import os
import sqlite3
import stat as stat_module
import threading
from collections.abc import Iterable, Iterator

import blake3

from snap.errors import TargetError

_DIGEST_BYTES = 16
_REREAD_BYTES = 4 << 20


class ReadBack:
    """Keeps a digest of all that is written, in a database that spills to disk by itself.

    Safe from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("pragma journal_mode=off")
        self._db.execute("create table files(row integer primary key, path blob not null unique)")
        self._db.execute("create table pieces(file integer, start integer, bytes, digest blob)")
        self._db.execute("begin")

    def note(self, path: bytes, offset: int, data: bytes | memoryview) -> None:
        """Remember what was written where."""
        digest = blake3.blake3(data).digest(_DIGEST_BYTES)
        with self._lock, _explained():
            self._db.execute("insert or ignore into files(path) values(?)", (path,))
            self._db.execute(
                "insert into pieces select row, ?, ?, ? from files where path=?",
                (offset, len(data), digest, path),
            )

    def forget(self, path: bytes) -> None:
        """Forget a file that was removed."""
        with self._lock:
            self._db.execute("delete from files where path=?", (path,))

    def compare(self) -> None:
        """Read everything again, from the disk where the system allows to forget what it knows.

        Raises:
            TargetError: a file does not hold what was written.
            OSError: it cannot be read.
        """
        with _explained():
            self._db.execute("create index pieces_by_file on pieces(file, start)")
            for row, path in self._db.execute("select row, path from files order by path"):
                descriptor = _open_again(path)
                try:
                    sql = "select start, bytes, digest from pieces where file=? order by start"
                    _compare(path, descriptor, self._db.execute(sql, (row,)))
                finally:
                    os.close(descriptor)

    def close(self) -> None:
        """Give the database up."""
        self._db.close()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise TargetError(
            f"what was written cannot be noted: {error}",
            "free some space where temporary files go, or name another folder in TMPDIR",
        ) from error


def _open_again(path: bytes) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except PermissionError:
        # The mode it was given keeps us out, who are its owner.
        mode = stat_module.S_IMODE(os.lstat(path).st_mode)
        os.chmod(path, 0o600)
        try:
            descriptor = os.open(path, flags)
        finally:
            os.chmod(path, mode)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return descriptor


def _compare(path: bytes, descriptor: int, pieces: Iterable[tuple[int, int, bytes]]) -> None:
    for start, length, digest in pieces:
        if _digest_of(descriptor, start, length) != digest:
            raise TargetError(
                f"{os.fsdecode(path)} reads back differently from what was written",
                "the disk or this machine's memory makes errors: restore elsewhere",
            )


def _digest_of(descriptor: int, offset: int, length: int) -> bytes:
    hasher, end = blake3.blake3(), offset + length
    while offset < end:
        part = os.pread(descriptor, min(_REREAD_BYTES, end - offset), offset)
        if not part:
            break
        hasher.update(part)
        offset += len(part)
    return hasher.digest(_DIGEST_BYTES)
