"""A SQLite source as somebody who may not do everything, and a database behind a link."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from snap.sources.holders import describe_holders
from snap.sources.sqlite import SqliteSource

from .contract import read_all

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")

READ_AS_NOBODY = """
import sys
from pathlib import Path
import os
from snap.errors import SourceError
from snap.sources.sqlite import SqliteSource
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    with SqliteSource(Path(sys.argv[1]), spool_dir=Path(sys.argv[2])).open() as view:
        list(view.entries())
        found = view.finish().statistics
        print("read", found["tables"], found["journal_mode"])
except SourceError as error:
    print("error", error, "|", error.hint)
"""


@pytest.fixture
def tmp_path(open_path: Path) -> Path:
    return open_path


def read_as_nobody(path: Path, tmp_path: Path) -> str:
    spool = tmp_path / "spool"
    spool.mkdir()
    os.chown(spool, NOBODY, NOBODY)
    done = subprocess.run(
        [sys.executable, "-c", READ_AS_NOBODY, str(path), str(spool)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(spool.iterdir()) == []
    return done.stdout.strip()


def make(folder: Path, *, keep_log: bool) -> Path:
    """Make a WAL database of 50 rows; 49 of them only in its log where that is kept."""
    work = folder.parent / "work"
    work.mkdir()
    with contextlib.closing(sqlite3.connect(work / "events.db", isolation_level=None)) as db:
        db.execute("pragma journal_mode=wal")
        db.execute("create table t(a)")
        db.execute("insert into t values(0)")
        db.execute("pragma wal_checkpoint(truncate)")
        db.executemany("insert into t values(?)", [(n,) for n in range(1, 50)])
        folder.mkdir()
        if not keep_log:
            db.execute("pragma wal_checkpoint(truncate)")
        for name in ("events.db", "events.db-wal")[: 2 if keep_log else 1]:
            (folder / name).write_bytes((work / name).read_bytes())
            (folder / name).chmod(0o644)
    folder.chmod(0o755)
    return folder / "events.db"


@needs_root
def test_a_wal_database_without_a_log_is_read_where_nothing_may_be_written(tmp_path: Path) -> None:
    path = make(tmp_path / "data", keep_log=False)
    assert read_as_nobody(path, tmp_path) == "read {'t': 50} wal"
    assert [p.name for p in path.parent.iterdir()] == ["events.db"]


@needs_root
@pytest.mark.parametrize("through_link", [False, True])
def test_a_log_that_cannot_be_read_is_never_left_out_silently(
    tmp_path: Path, through_link: bool
) -> None:
    path = make(tmp_path / "data", keep_log=True)
    if through_link:
        (tmp_path / "link.db").symlink_to(path)
        path = tmp_path / "link.db"
    said = read_as_nobody(path, tmp_path)
    assert said == "read {'t': 50} wal" or said.startswith("error")
    assert "recovery" in said or "50" in said


@needs_root
def test_a_database_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = make(tmp_path / "data", keep_log=False)
    path.chmod(0o600)
    said = read_as_nobody(path, tmp_path)
    assert "events.db: Permission denied | check the path and its permissions" in said


@needs_root
def test_a_spool_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    path = make(tmp_path / "data", keep_log=False)
    path.chmod(0o644)
    (tmp_path / "closed").mkdir(mode=0o755)
    read_as_nobody(path, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", READ_AS_NOBODY, str(path), str(tmp_path / "closed" / "spool")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot make a copy" in done.stdout, done.stderr
    assert "--cache-dir" in done.stdout


def test_a_database_behind_a_link_is_read_with_its_log(tmp_path: Path) -> None:
    path = make(tmp_path / "data", keep_log=True)
    (tmp_path / "link.db").symlink_to(path)
    entries, _, report = read_all(SqliteSource(tmp_path / "link.db", spool_dir=tmp_path / "spool"))
    assert entries[0].path == (b"link.db",)
    assert report.statistics["tables"] == {"t": 50}


def test_the_holder_of_a_log_beside_a_linked_database_is_named(tmp_path: Path) -> None:
    path = make(tmp_path / "data", keep_log=True)
    (tmp_path / "link.db").symlink_to(path)
    script = "import sys; f = open(sys.argv[1]); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, f"{path}-wal"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        described = describe_holders(tmp_path / "link.db")
        holder.communicate(b"\n")
    assert f"process {holder.pid}" in described
