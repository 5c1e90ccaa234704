"""A SQLite database that is written to at full speed while it is backed up."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from .command import Snap

WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
log = open(sys.argv[2], "w", buffering=1)
number = db.execute("select coalesce(max(id), 0) from events").fetchone()[0]
try:
    while True:
        db.execute("begin")
        for _ in range(50):
            number += 1
            db.execute("insert into events values(?, ?)", (number, f"{number:x} " * 60))
        db.execute("commit")
        log.write(f"{number}\\n")
except BaseException as error:
    log.write(f"failed {error}\\n")
    raise
"""


def live(snap: Snap, tmp_path: Path, mib: int) -> None:
    path, log = tmp_path / "events.db", tmp_path / "log"
    db = sqlite3.connect(path)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=off")
    db.execute("create table events(id integer primary key, text)")
    count = 0
    while path.stat().st_size < mib << 20:
        rows = [(n, f"{n:x} " * 60) for n in range(count + 1, count + 10_001)]
        db.executemany("insert into events values(?, ?)", rows)
        db.commit()
        db.execute("pragma wal_checkpoint(truncate)")
        count += 10_000
    db.close()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(log)]) as writer:
        try:
            while not log.exists() or log.read_text().count("\n") < 20:
                assert writer.poll() is None
            before = int(log.read_text().split()[-1])
            summary = snap.json("backup", f"sqlite:{path}")
            lines = log.read_text().split("\n")
            assert writer.poll() is None, "the writer failed"
            assert "failed" not in log.read_text()
            after = int(lines[-2]) if len(lines) > 1 else before
        finally:
            writer.kill()
    (component,) = summary["components"]
    recorded = component["statistics"]["tables"]["events"]
    assert summary["status"] == "success"
    assert before <= recorded <= after + 50
    assert after > before, "it was written to while the backup ran"
    done = snap.json("restore", "latest", "--target", str(tmp_path / "out"))
    assert json.dumps(done)
    restored = sqlite3.connect(tmp_path / "out/events.db/events.db")
    assert restored.execute("pragma integrity_check").fetchone() == ("ok",)
    rows_found, lowest, highest = restored.execute(
        "select count(*), min(id), max(id) from events"
    ).fetchone()
    assert (rows_found, lowest, highest) == (recorded, 1, recorded), "a prefix of what was written"
    wrong = restored.execute(
        "select count(*) from events where text not like printf('%x ', id) || '%'"
    )
    assert wrong.fetchone() == (0,)
    restored.close()


def test_a_busy_database_of_60_mb(snap: Snap, tmp_path: Path) -> None:
    live(snap, tmp_path, 60)


@pytest.mark.slow
def test_a_busy_database_of_600_mb(snap: Snap, tmp_path: Path) -> None:
    live(snap, tmp_path, 600)
