"""A database that is written at full speed while it is backed up."""

import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from .command import Snap

# Every row follows from its number, so that a copy can be judged without the original; three
# tables change in each transaction, so that a copy of two moments would show.
WRITER = """
import hashlib, pathlib, sqlite3, sys
database, log, stop = map(pathlib.Path, sys.argv[1:])
db = sqlite3.connect(database, timeout=5, isolation_level=None)
(n,) = db.execute("select n from total").fetchone()
with log.open("w", buffering=1) as file:
    while not stop.exists():
        db.execute("begin immediate")
        for n in range(n + 1, n + 51):
            row = hashlib.shake_128(b"%d" % n).digest(900)
            db.execute("insert into event values(?, ?)", (n, row))
            db.execute("insert into seen values(?)", (n,))
        db.execute("update total set n = ?", (n,))
        db.execute("commit")
        file.write(f"{n}\\n")
"""


def payload(n: int) -> bytes:
    return hashlib.shake_128(b"%d" % n).digest(900)


def make(path: Path, mib: int) -> None:
    rows = range(1, (mib << 20) // 900 + 1)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma journal_mode=wal").fetchone() == ("wal",)
        db.execute("create table event(id integer primary key, payload blob)")
        db.execute("create table seen(id integer primary key)")
        db.execute("create table total(n integer)")
        db.executemany("insert into event values(?, ?)", ((n, payload(n)) for n in rows))
        db.executemany("insert into seen values(?)", ((n,) for n in rows))
        db.execute("insert into total values(?)", (len(rows),))
        db.commit()
    assert path.stat().st_size >= mib << 20


def last_committed(log: Path) -> int:
    """Return the last row whose commit the writer has noted, 0 before the first."""
    whole_lines = log.read_text().rpartition("\n")[0] if log.exists() else ""
    return int(whole_lines.rpartition("\n")[2] or 0)


@contextmanager
def writing(database: Path, log: Path) -> Iterator[None]:
    """Insert throughout; at the end the writer must never have failed."""
    stop = log.with_suffix(".stop")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(database), str(log), str(stop)],
        stderr=subprocess.PIPE,
    )
    try:
        while not last_committed(log):
            assert writer.poll() is None
        yield
        assert writer.poll() is None, writer.communicate()[1].decode()
    finally:
        stop.touch()
        _, err = writer.communicate(timeout=60)
        stop.unlink()
    assert writer.returncode == 0, err.decode()
    assert err == b""


def back_up_while_written(snap: Snap, tmp_path: Path, mib: int, backups: int) -> None:
    database, log = tmp_path / "events.db", tmp_path / "log"
    make(database, mib)
    moments = {}
    with writing(database, log):
        for _ in range(backups):
            before = last_committed(log)
            summary = snap.json("backup", f"sqlite:{database}")
            after = last_committed(log)
            assert before < after, "nothing was written while the backup ran"
            moments[summary["snapshot_id"]] = before, after
    recorded = {s["id"]: s["components"][0] for s in json.loads(snap.ok("snapshots", "--json"))}
    for id_, (before, after) in moments.items():
        assert recorded[id_]["status"] == "success"
        rows = prove(snap, id_, tmp_path / f"out-{id_[:8]}", recorded[id_]["statistics"])
        # All that was committed before it began, and nothing from after its end; the writer
        # notes a commit just after it, so that one transaction may be ahead of the log.
        assert before <= rows <= after + 50
    snap.ok("check", "--read-data")


def prove(snap: Snap, id_: str, target: Path, statistics: dict[str, object]) -> int:
    """Restore and judge the copy by itself; return how many rows of the log it holds."""
    snap.ok("restore", id_, "--target", str(target))
    with closing(sqlite3.connect(target / "events.db" / "events.db")) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        (rows,) = db.execute("select n from total").fetchone()
        assert statistics["tables"] == {"event": rows, "seen": rows, "total": 1}
        for table in ("event", "seen"):
            found = db.execute(f"select count(*), min(id), max(id) from {table}").fetchone()
            assert found == (rows, 1, rows)
        for n, stored in db.execute("select id, payload from event"):
            assert stored == payload(n), n
    return int(rows)


def test_a_database_written_throughout_is_restored_as_of_one_moment(
    snap: Snap, tmp_path: Path
) -> None:
    back_up_while_written(snap, tmp_path, 60, 2)


@pytest.mark.slow
def test_a_600_mb_database_written_throughout_is_restored_as_of_one_moment(
    snap: Snap, tmp_path: Path
) -> None:
    back_up_while_written(snap, tmp_path, 600, 2)
