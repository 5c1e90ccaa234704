"""The demonstration behind scripts/demo: real commands on a real, busy SQLite database.

A writer process inserts rows all the time and keeps a log of every row that it committed, apart
from the database. What is restored at the end is compared with that log, row by row.
"""

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WRITER = """
import hashlib, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
log = open(sys.argv[2], "a", buffering=1)
number = db.execute("select coalesce(max(id), 0) from events").fetchone()[0]
while True:
    rows = []
    for _ in range(20):
        number += 1
        rows.append((number, hashlib.sha256(str(number).encode()).hexdigest() * 3))
    db.execute("begin")
    db.executemany("insert into events values(?, ?)", rows)
    db.execute("commit")
    # Only what was committed is logged, so the log never claims a row that a snapshot may lack.
    log.write("".join(f"{n} {text}\\n" for n, text in rows))
    time.sleep(0.002)
"""


class Demo:
    """One run in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "events.db"
        self.log = folder / "committed.log"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SNAP_")},
            "SNAP_REPOSITORY": str(folder / "repository"),
            "SNAP_CACHE_DIR": str(folder / "cache"),
            "SNAP_PASSWORD": "a passphrase for the demonstration",
        }
        self.writer: subprocess.Popen[bytes] | None = None

    def snap(self, *arguments: str, shown: bool = True) -> str:
        """Run snap and return its output; stop the demonstration when it fails."""
        if shown:
            print(f"\n$ snap {' '.join(arguments)}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "snap", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=None if shown else subprocess.PIPE,
            text=True,
            check=False,
        )
        if shown:
            print(done.stdout, end="", flush=True)
        if done.returncode:
            raise SystemExit(f"demo: snap {arguments[0]} failed with exit code {done.returncode}")
        return done.stdout

    def start_writer(self) -> None:
        """Make the database if it is new, and let the writer work on it."""
        db = sqlite3.connect(self.database)
        db.execute("pragma journal_mode=wal")
        db.execute("create table if not exists events(id integer primary key, payload text)")
        db.close()
        arguments = [sys.executable, "-c", WRITER, str(self.database), str(self.log)]
        self.writer = subprocess.Popen(arguments)

    def wait_for_rows(self, count: int) -> None:
        """Wait until the writer has committed so many rows."""
        limit = time.monotonic() + 120
        while self.committed() < count:
            if self.writer is None or self.writer.poll() is not None:
                raise SystemExit("demo: the writer failed")
            if time.monotonic() > limit:
                raise SystemExit("demo: the writer is too slow")
            time.sleep(0.05)

    def committed(self) -> int:
        """Return how many rows the log has."""
        if not self.log.exists():
            return 0
        with self.log.open() as lines:
            return sum(1 for _ in lines)

    def stop_writer(self) -> None:
        """Stop the writer; fail if it had failed before."""
        if self.writer is None:
            return
        if self.writer.poll() is not None:
            raise SystemExit("demo: the writer failed while a backup ran")
        self.writer.send_signal(signal.SIGKILL)
        self.writer.wait()
        self.writer = None

    def compare(self, restored: Path, expected_rows: int) -> None:
        """Compare a restored database with the log, row by row."""
        with self.log.open() as lines:
            logged = dict(line.rstrip("\n").split(" ", 1) for line in lines)
        db = sqlite3.connect(f"file:{restored}?mode=ro", uri=True)
        rows = db.execute("select id, payload from events order by id").fetchall()
        verdict = db.execute("pragma integrity_check").fetchone()[0]
        db.close()
        if verdict != "ok" or len(rows) != expected_rows:
            raise SystemExit(f"demo: {verdict}, {len(rows)} rows instead of {expected_rows}")
        for number, (id_, payload) in enumerate(rows, start=1):
            if id_ != number or logged.get(str(id_)) != payload:
                raise SystemExit(f"demo: row {number} differs from what the writer logged")
        print(f"  {len(rows)} rows, every one equal to what the writer logged")


def run(demo: Demo) -> None:
    """Tell the story."""
    print("A service writes to events.db all the time; snap backs it up without stopping it.")
    demo.snap("init", "--kdf-seconds", "0.2")
    demo.start_writer()
    demo.wait_for_rows(20_000)
    source = f"sqlite:{demo.database}"
    print(f"\n-- first backup, while rows are written ({demo.committed()} so far)")
    demo.snap("backup", source, "--service", "shop", "--tag", "first")
    demo.wait_for_rows(demo.committed() + 10_000)
    print(f"\n-- second backup, some thousand rows later ({demo.committed()} so far)")
    demo.snap("backup", source, "--service", "shop")
    demo.snap("snapshots")
    demo.snap("diff", "latest~1", "latest")
    # The writer logs a row after it has committed it: wait for the log of all that was backed up.
    demo.wait_for_rows(rows_recorded(demo, "latest"))
    demo.stop_writer()

    print("\n-- disaster: the database is gone")
    for suffix in ("", "-wal", "-shm"):
        demo.database.with_name(demo.database.name + suffix).unlink(missing_ok=True)
    print(f"$ rm {demo.database}*")

    demo.snap("check", "--read-data")
    snapshots = json.loads(demo.snap("snapshots", "--json", shown=False))
    for snapshot in snapshots:
        short = snapshot["short_id"]
        target = demo.folder / f"restored-{short}"
        demo.snap("restore", short, "--target", str(target))
        print(f"\n-- comparing events.db of {short} with the writer's log")
        demo.compare(target / "events.db" / "events.db", rows_recorded(demo, short))
    latest = demo.folder / f"restored-{snapshots[-1]['short_id']}" / "events.db" / "events.db"
    shutil.copyfile(latest, demo.database)
    demo.start_writer()
    demo.wait_for_rows(demo.committed() + 100)
    demo.stop_writer()
    print("\nThe service runs on the restored database. The demonstration succeeded.")


def rows_recorded(demo: Demo, snapshot: str) -> int:
    """Return the number of rows that the snapshot recorded when it was made."""
    listed = json.loads(demo.snap("snapshots", "--json", shown=False))
    found = listed[-1]
    if snapshot != "latest":
        (found,) = [s for s in listed if s["short_id"] == snapshot]
    (component,) = found["components"]
    rows: int = component["statistics"]["tables"]["events"]
    return rows


def main() -> None:
    """Run in a temporary folder, which is kept on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the folder and tell its name")
    keep = parser.parse_args().keep
    folder = Path(tempfile.mkdtemp(prefix="snap-demo-"))
    demo = Demo(folder)
    try:
        run(demo)
    finally:
        if demo.writer is not None:
            demo.writer.kill()
            demo.writer.wait()
        if keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
