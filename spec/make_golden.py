"""Make spec/repos/golden-v1 with the product, once: golden repositories are never edited.

Usage: python spec/make_golden.py [FOLDER [records]]

With `records`, one that holds little more than a file of records.

Beside the repository goes a manifest, taken from the source tree and not from the repository:
what each snapshot must give back. Paths and names in it are percent-encoded bytes. Databases
are compared by the hash of their SQL dump, because a copy's header may differ.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from blake3 import blake3

from snap.backends.local import LocalBackend
from snap.repo.backup import BackupOptions, run_backup
from snap.repo.config import Parameters
from snap.repo.keys import MINIMUM_COST, Capability
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository, create_repository, open_repository
from snap.repo.source import Entry, Source, View, ViewReport
from snap.sources.files import FilesSource
from snap.sources.sqlite import SqliteSource

PASSPHRASE = "golden"
WRITER_PASSPHRASE = "golden writer"
SMALL = Parameters(
    pack_bytes=65536 * 4, blob_min_bytes=1024, blob_avg_bytes=4096, blob_max_bytes=16384
)
_HOUR_NS = 3600 * 1_000_000_000
_FIRST_NS = 1795392000 * 1_000_000_000  # 2026-11-23T00:00:00Z
_RECORDS = "elements.records"
_WIDTHS = (132, 512, 8)
_RECORD_BYTES = sum(_WIDTHS)
_ODD_NAMES = (b"not utf-8 \xff\xfe", b"new\nline", b"-rf", "Grüße 你好".encode(), b"n" * 255, b" ")


def make_source(root: Path) -> None:
    """Make the tree of the first snapshot under ``root``: ``files/`` and ``events.db``."""
    chance = random.Random(20261123)
    files = root / "files"
    for folder in (files / "empty dir", files / "a" / "b" / "c", files / "odd"):
        folder.mkdir(parents=True)
    large = chance.randbytes(900_000)
    (files / "large.bin").write_bytes(large)
    (files / "same again.bin").write_bytes(large)
    (files / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 2000)
    (files / "empty").touch()
    (files / "a" / "b" / "c" / "deep").write_bytes(b"deep\0\n")
    for number, name in enumerate(_ODD_NAMES):
        Path(os.fsdecode(os.path.join(os.fsencode(files / "odd"), name))).write_text(f"{number}")
    for number in (3, 1, 2, _splitting_number()):
        (files / "a" / f"split-{number}").write_text("entries of a directory in two tree blobs")
    with (files / "sparse").open("wb") as sparse:
        sparse.write(b"head")
        sparse.seek(1 << 20)
        sparse.write(b"middle" * 100)
        sparse.truncate(3 << 20)
    os.symlink("a/b/c/deep", files / "link")
    os.symlink(b"nowhere \xff", os.fsencode(files / "dangling"))
    os.link(files / "text.txt", files / "a" / "hard link")
    os.mkfifo(files / "fifo")
    os.setxattr(files / "text.txt", "user.snap.golden", b"\0value\xff")
    (files / "a" / "b").chmod(0o750)
    (files / "empty").chmod(0o4711)
    (files / "large.bin").chmod(0o400)
    os.utime(files / "text.txt", ns=(0, 1_234_567_890_123_456_789))
    os.utime(files / "empty", ns=(0, -1_500_000_001))
    os.utime(files / "link", ns=(0, 999_999_999), follow_symlinks=False)
    os.utime(files / "empty dir", ns=(0, 86_400_000_000_000))
    with sqlite3.connect(root / "events.db") as db:
        db.execute("create table events (id integer primary key, name text, payload blob)")
        rows = [(f"event {i}", chance.randbytes(40)) for i in range(500)]
        db.executemany("insert into events (name, payload) values (?, ?)", rows)
    db.close()


def change_source(root: Path) -> None:
    """Turn the tree into that of the second snapshot."""
    files = root / "files"
    large = (files / "large.bin").read_bytes()
    (files / "large.bin").chmod(0o600)
    (files / "large.bin").write_bytes(large[:200_000] + b"inserted" + large[200_000:])
    (files / "same again.bin").unlink()
    (files / "a" / "b" / "c" / "deep").chmod(0o604)
    (files / "added").write_bytes(large[:50_000] * 3)
    (files / "link").unlink()
    (files / "link").write_text("a link before, a file now")
    with sqlite3.connect(root / "events.db") as db:
        db.execute("delete from events where id % 7 = 0")
        db.execute("create index by_name on events (name)")
    db.close()


def make_records(root: Path) -> None:
    """Make the tree of the first snapshot under ``root``: ``files/`` with a file of records."""
    chance = random.Random(20261124)
    (root / "files").mkdir()
    elements = bytearray(chance.randbytes(300 * _RECORD_BYTES))
    # Elements that are not used yet.
    elements[200 * _RECORD_BYTES : 240 * _RECORD_BYTES] = bytes(40 * _RECORD_BYTES)
    (root / "files" / _RECORDS).write_bytes(elements + b"cut within a record")
    (root / "files" / "text").write_text("beside it\n")


def change_records(root: Path) -> None:
    """Turn the tree into that of the second snapshot: other links, some vectors, more elements."""
    chance = random.Random(20261125)
    elements = bytearray((root / "files" / _RECORDS).read_bytes()[: 300 * _RECORD_BYTES])
    for at in range(0, 100 * _RECORD_BYTES, 5 * _RECORD_BYTES):
        elements[at : at + 132] = chance.randbytes(132)
    for number in (7, 250):
        at = number * _RECORD_BYTES + 132
        elements[at : at + 512] = chance.randbytes(512)
    (root / "files" / _RECORDS).write_bytes(elements + chance.randbytes(10 * _RECORD_BYTES))


class RecordsSource:
    """A folder of which is known that one of its files is made of records."""

    kind = "files"
    can_wait = False

    def __init__(self, folder: Path) -> None:
        self._inner = FilesSource(folder)
        self.name, self.place = self._inner.name, self._inner.place

    @contextlib.contextmanager
    def open(self) -> Iterator[View]:
        """Open the folder."""
        with self._inner.open() as view:
            yield _RecordsView(view)


class _RecordsView:
    is_sorted = True

    def __init__(self, inner: View) -> None:
        self._inner = inner

    def entries(self) -> Iterator[Entry]:
        for entry in self._inner.entries():
            is_records = entry.path[-1] == _RECORDS.encode()
            yield entry._replace(record_widths=_WIDTHS) if is_records else entry

    def finish(self) -> ViewReport:
        return self._inner.finish()


def _splitting_number() -> int:
    """Return a number whose name ends a tree blob (spec/FORMAT.md §9.1)."""
    number = 1000
    while True:
        digest = blake3(b"split-%d" % number).digest()
        if digest[0] == 0 and digest[1] & 3 == 0:
            return number
        number += 1


def describe_tree(root: Path) -> dict[str, dict[str, Any]]:
    """Return of every path below a folder what a restore must give back."""
    raw = os.fsencode(root)
    result: dict[str, dict[str, Any]] = {}
    for folder, folders, names in os.walk(raw):
        for name in folders + names:
            full = os.path.join(folder, name)
            result[quote_from_bytes(os.path.relpath(full, raw))] = _describe(full)
    return dict(sorted(result.items()))


def _describe(full: bytes) -> dict[str, Any]:
    found = os.lstat(full)
    fields: dict[str, Any] = {"mode": oct(found.st_mode), "mtime_ns": found.st_mtime_ns}
    if stat.S_ISLNK(found.st_mode):
        fields["target"] = quote_from_bytes(os.readlink(full))
    if stat.S_ISREG(found.st_mode):
        with open(full, "rb") as file:
            fields["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        fields |= {"size": found.st_size, "links": found.st_nlink}
        names = sorted(os.listxattr(full, follow_symlinks=False))
        fields["xattrs"] = {n: os.getxattr(full, n).hex() for n in names if n.startswith("user.")}
    return fields


def describe_database(path: Path) -> dict[str, str]:
    """Return what a restored database must be equal in."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        dump = "\n".join(db.iterdump())
    db.close()
    mode = oct(path.stat().st_mode)
    return {"dump_sha256": hashlib.sha256(dump.encode()).hexdigest(), "mode": mode}


def back_up(repository: Repository, root: Path, time_ns: int) -> dict[str, Any]:
    """Back up the tree; return what the manifest says of the snapshot."""
    database = root / "events.db"
    sources: list[Source] = [RecordsSource(root / "files")]
    if database.exists():
        sources.append(SqliteSource(database, spool_dir=root / "spool"))
    options = BackupOptions("golden", "golden.example", "golden", time_ns=time_ns)
    expected = {"files": describe_tree(root / "files")}
    snapshot = run_backup(repository, sources, options, SilentReporter())
    if snapshot.status != "success" or describe_tree(root / "files") != expected["files"]:
        raise SystemExit("the source changed, or could not be read")
    fields = {"id": snapshot.id.hex(), "time": time_ns, "files": expected["files"]}
    return fields | ({database.name: describe_database(database)} if database.exists() else {})


def make_golden(
    folder: Path,
    work: Path,
    make: Callable[[Path], None] = make_source,
    change: Callable[[Path], None] = change_source,
) -> dict[str, Any]:
    """Make the repository in ``folder``; return the manifest."""
    (work / "spool").mkdir()
    make(work)
    backend = LocalBackend(folder)
    _, recovery_key = create_repository(
        backend, PASSPHRASE, label="golden", cost=MINIMUM_COST, parameters=SMALL
    )
    with open_repository(backend, PASSPHRASE, cache_dir=None) as repository:
        repository.add_passphrase_slot(
            WRITER_PASSPHRASE, capability=Capability.WRITER, label="writer", cost=MINIMUM_COST
        )
        snapshots = [back_up(repository, work, _FIRST_NS)]
        change(work)
        snapshots.append(back_up(repository, work, _FIRST_NS + _HOUR_NS))
    return {
        "passphrase": PASSPHRASE,
        "writer_passphrase": WRITER_PASSPHRASE,
        "recovery_key": recovery_key,
        "snapshots": snapshots,
    }


def main() -> None:
    """Make it, and refuse to make it again."""
    default = Path(__file__).parent / "repos" / "golden-v1"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    of = (make_records, change_records) if sys.argv[2:] else (make_source, change_source)
    if folder.exists():
        raise SystemExit(f"{folder} exists: golden repositories are never made again")
    with tempfile.TemporaryDirectory() as work:
        try:
            manifest = make_golden(folder, Path(work), *of)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    folder.with_suffix(".json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
