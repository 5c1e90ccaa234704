import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.sqlite import SqliteSource, examine
from tests.servers.sqlite_holder import held
from tests.tmpfs import small_disk

from .contract import read_all

WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
log = open(sys.argv[2], "w", buffering=1)
number = db.execute("select coalesce(max(id), 0) from events").fetchone()[0]
try:
    while True:
        number += 1
        db.execute("insert into events values(?, ?)", (number, f"{number} " * 40))
        log.write(f"{number}\\n")
except BaseException as error:
    log.write(f"failed: {error}\\n")
    raise
"""


def make(path: Path, rows: int = 1000, *, wal: bool = False) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"pragma journal_mode={'wal' if wal else 'delete'}")
        db.execute("create table events(id integer primary key, text)")
        db.executemany(
            "insert into events values(?, ?)", ((n, f"{n} " * 40) for n in range(1, rows + 1))
        )
        db.commit()
    return path


def source(path: Path, **changes: object) -> SqliteSource:
    spool = path.parent / "spool"
    return SqliteSource(path, spool_dir=spool, **changes)  # type: ignore[arg-type]


@contextlib.contextmanager
def writing(path: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(log)])
    try:
        while not log.exists() or log.read_text().count("\n") < 20:
            assert process.poll() is None
        yield process
        assert process.poll() is None, "the writer failed"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("wal", [True, False], ids=["wal", "rollback journal"])
def test_a_busy_database_is_copied_as_of_one_moment_and_its_writer_never_fails(
    tmp_path: Path, wal: bool
) -> None:
    path, log = make(tmp_path / "events.db", 40_000, wal=wal), tmp_path / "log"
    with writing(path, log):
        for round_ in range(3):
            _, contents, report = read_all(source(path))
            copy = tmp_path / f"copy{round_}.db"
            copy.write_bytes(contents[b"events.db"])
            with contextlib.closing(sqlite3.connect(copy)) as db:
                assert db.execute("pragma integrity_check").fetchone() == ("ok",)
                ids = [id_ for (id_,) in db.execute("select id from events order by id")]
            assert ids == list(range(1, len(ids) + 1)), "a prefix of what was written"
            assert report.statistics["tables"] == {"events": len(ids)}
            assert report.statistics["journal_mode"] == ("wal" if wal else "delete")
    assert "failed" not in log.read_text()


def test_what_is_not_committed_is_not_in_the_copy(tmp_path: Path) -> None:
    path = make(tmp_path / "events.db", 10, wal=True)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("insert into events values(999, 'pending')")
        _, _, report = read_all(source(path))
        db.rollback()
    assert report.statistics["tables"] == {"events": 10}


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_statistics_are_those_of_the_copy(tmp_path: Path, page_size: int) -> None:
    path = tmp_path / "odd.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"pragma page_size={page_size}")
        db.execute("pragma encoding='UTF-16le'")
        db.execute("pragma user_version=42")
        db.execute("pragma application_id=77")
        db.execute('create table "odd ""name"" %" (a primary key) without rowid')
        db.execute('insert into "odd ""name"" %" values(1),(2)')
        db.execute("create table empty(a)")
        db.execute("create virtual table docs using fts5(body)")
        db.execute("create view v as select 1")
        db.commit()
    _, _, report = read_all(source(path))
    found = report.statistics
    assert (found["page_size"], found["encoding"]) == (page_size, "UTF-16le")
    assert (found["user_version"], found["application_id"], found["file"]) == (42, 77, "odd.db")
    assert found["tables"]['odd "name" %'] == 2
    assert found["tables"]["empty"] == 0
    assert "docs" not in found["tables"]
    assert "v" not in found["tables"]
    assert report.versions == {"sqlite": sqlite3.sqlite_version}


def explained(path: Path, **changes: object) -> str:
    with pytest.raises(SourceError) as caught:
        read_all(source(path, **changes))
    assert caught.value.hint
    return str(caught.value)


def test_what_is_no_database_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.db").write_bytes(b"")
    (tmp_path / "text.db").write_bytes(b"hello" * 1000)
    (tmp_path / "folder.db").mkdir()
    assert "No such file" in explained(tmp_path / "none.db")
    assert "is empty" in explained(tmp_path / "empty.db")
    assert "not a SQLite database" in explained(tmp_path / "text.db")
    assert "not a file" in explained(tmp_path / "folder.db")


def test_a_damaged_database_is_never_a_good_component(tmp_path: Path) -> None:
    path = make(tmp_path / "events.db", 5000)
    size = path.stat().st_size
    for begin, count in ((size // 2, 20_000), (100, 60), (size - 40_000, 30_000)):
        damaged = tmp_path / "damaged.db"
        data = bytearray(path.read_bytes())
        data[begin : begin + count] = b"\xa5" * count
        damaged.write_bytes(data)
        assert "damaged.db" in explained(damaged)
    truncated = tmp_path / "truncated.db"
    truncated.write_bytes(path.read_bytes()[: size // 2])
    assert "truncated.db" in explained(truncated)


def test_a_locked_database_is_waited_for_and_then_its_holder_is_named(tmp_path: Path) -> None:
    path = make(tmp_path / "events.db")
    with held(path, "begin exclusive") as holder:
        message = explained(path, lock_timeout_seconds=0.5)
        assert "locked" in message
        assert f"process {holder}" in message
    _, _, report = read_all(source(path))
    assert report.statistics["tables"] == {"events": 1000}


def test_odd_paths_are_no_trouble(tmp_path: Path) -> None:
    for name in (b"what?.db", b"a#b.db", b"100%20.db", b"a b.db", b"\xff.db", "ä'\"".encode()):
        path = make(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)), 3)
        entries, contents, _ = read_all(source(path))
        assert entries[0].path == (name,)
        assert contents[name].startswith(b"SQLite format 3\0")


def test_the_spool_file_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    path = make(tmp_path / "events.db")
    spool = tmp_path / "spool"
    with source(path).open() as view:
        (spooled,) = spool.iterdir()
        assert spooled.stat().st_mode & 0o777 == 0o600
        list(view.entries())
    assert list(spool.iterdir()) == []
    with pytest.raises(ZeroDivisionError), source(path).open():
        raise ZeroDivisionError
    assert list(spool.iterdir()) == []


def test_spool_files_of_dead_processes_are_removed_and_living_ones_kept(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / f"snap-spool-{2**22 + 5}-dead").write_bytes(b"x")
    (spool / "snap-spool-1-alive").write_bytes(b"x")
    (spool / "something else").write_bytes(b"x")
    read_all(source(make(tmp_path / "events.db")))
    assert {p.name for p in spool.iterdir()} == {"snap-spool-1-alive", "something else"}


def test_no_room_for_the_copy_is_told_before_it_begins(tmp_path: Path) -> None:
    path = make(tmp_path / "events.db", 20_000)
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        with pytest.raises(SourceError, match="no room") as caught:
            read_all(SqliteSource(path, spool_dir=disk / "spool"))
        assert "--cache-dir" in caught.value.hint


def test_a_wal_database_in_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    path = make(folder / "events.db", 50, wal=True)
    assert [p.name for p in folder.iterdir()] == ["events.db"]
    _, _, report = read_all(SqliteSource(path, spool_dir=tmp_path / "spool"))
    assert report.statistics["tables"] == {"events": 50}
    assert report.statistics["journal_mode"] == "wal"


def test_an_index_that_needs_what_only_the_application_has_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.create_collation("own", lambda a, b: (a > b) - (a < b))
        db.execute("create table t(a text)")
        db.execute("create index i on t(a collate own)")
        db.execute("insert into t values('x')")
        db.commit()
    found = examine(path)
    assert found.statistics["tables"] == {"t": 1}
    assert any("own" in warning for warning in found.warnings)


def test_leaving_early_does_not_wait_for_the_check(tmp_path: Path) -> None:
    path = make(tmp_path / "events.db", 60_000)
    interrupted = 0
    for _ in range(5):
        with source(path).open() as view:
            pass
        interrupted += isinstance(view._error, sqlite3.OperationalError)
    assert interrupted
