"""``snap restore --in-place`` on SQLite databases."""

import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.sqlite_holder import held

from .conftest import Snap, flip_bit, stored


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("select count(*) from events").fetchone()[0])


def delete(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("delete from events where id > 10")


@pytest.fixture
def deleted(initialized: Snap, database: Path) -> Snap:
    """A snapshot of 500 rows, of which 10 are left in the database."""
    initialized.ok("backup", "sqlite:events.db", "--service", "shop")
    delete(database)
    return initialized


def test_rows_that_were_deleted_are_back_and_the_state_before_is_a_snapshot(
    deleted: Snap, database: Path, clean: Path
) -> None:
    result = deleted.ok("restore", "latest", "--in-place", "--yes", "--json")
    assert count(database) == 500
    [component] = result.summary["components"]
    assert (component["status"], component["place"]) == ("success", str(database))
    assert len(component["proofs"]) == 3
    before = component["safety_snapshot_id"]
    deleted.ok("restore", f"{before}:events.db", "--target", "out")
    assert count(clean / "out/events.db/events.db") == 10
    [record] = [s for s in deleted.ok("snapshots", "--json").json if s["id"] == before]
    assert (record["tags"], record["service"]) == (["before-restore"], "shop")


def test_what_was_kept_before_a_restore_is_never_the_latest(deleted: Snap, database: Path) -> None:
    for _ in range(2):
        deleted.ok("restore", "latest", "--in-place", "--yes")
        assert count(database) == 500
    assert len(deleted.ok("snapshots", "--json").json) == 3
    deleted.ok("restore", "@2100-01-01:events.db", "--in-place", "--yes")
    assert count(database) == 500


def test_people_read_what_was_proven(deleted: Snap, database: Path) -> None:
    out = deleted.ok("restore", "latest", "--in-place", "--yes").out
    assert f"events.db: {database} is as of " in out
    assert "events.db: opens in its place, with all 500 rows" in out
    assert "events.db: what was there before is snapshot " in out


def test_without_a_terminal_nothing_is_replaced_unless_it_was_said(
    deleted: Snap, database: Path
) -> None:
    result = deleted("restore", "latest", "--in-place")
    assert result.code == 2
    assert "--yes" in result.err
    assert count(database) == 10


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize(
    ("begin", "then"),
    [
        ("begin", "select * from events"),
        ("begin immediate", "insert into events(what) values('late')"),
    ],
    ids=["reader", "writer"],
)
def test_a_database_that_a_reader_or_writer_has_open_is_not_replaced_and_who_it_is_is_said(
    deleted: Snap, database: Path, journal: str, begin: str, then: str
) -> None:
    with held(database, f"pragma journal_mode={journal}", begin, then) as holder:
        result = deleted("restore", "latest", "--in-place", "--yes")
        assert result.code == 1
        assert f"process {holder}" in result.err
        assert count(database) == 10
    deleted.ok("restore", "latest", "--in-place", "--yes")
    assert count(database) == 500


@pytest.mark.parametrize(("answer", "code", "rows"), [(b"n\n", 1, 10), (b"y\n", 0, 500)])
def test_at_a_terminal_it_says_what_it_will_do_and_asks(
    deleted: Snap, database: Path, answer: bytes, code: int, rows: int
) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "snap", "restore", "latest", "--in-place"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ,
    ) as process:
        os.close(theirs)
        os.write(ours, answer)
        out = process.communicate()[0].decode()
    os.close(ours)
    assert process.returncode == code
    assert f"{database} (" in out
    assert "will be replaced" in out
    assert count(database) == rows


def test_a_damaged_database_is_kept_as_plain_files_and_replaced(
    deleted: Snap, database: Path, clean: Path
) -> None:
    content = bytearray(database.read_bytes())
    content[100:3000] = b"\xff" * 2900
    database.write_bytes(content)
    result = deleted.ok("restore", "latest", "--in-place", "--yes", "--json")
    assert count(database) == 500
    [component] = result.summary["components"]
    assert any("plain files" in warning for warning in component["warnings"])
    deleted.ok("restore", component["safety_snapshot_id"], "--target", "out")
    assert (clean / "out/events.db/events.db").read_bytes() == content


def test_a_lost_database_is_put_back_without_a_snapshot_of_nothing(
    deleted: Snap, database: Path
) -> None:
    database.unlink()
    result = deleted.ok("restore", "latest", "--in-place", "--yes", "--json")
    assert count(database) == 500
    assert result.summary["components"][0]["safety_snapshot_id"] is None


def test_a_snapshot_that_is_damaged_replaces_nothing(
    deleted: Snap, database: Path, clean: Path
) -> None:
    [pack] = stored(clean, "data")
    flip_bit(pack, 2000)
    result = deleted("restore", "latest", "--in-place", "--yes")
    assert result.code == 4
    assert count(database) == 10
    assert not list(clean.glob(".snap-*"))


def test_what_has_no_place_is_left_out_and_told(
    initialized: Snap, database: Path, folder: Path
) -> None:
    initialized.ok("backup", "sqlite:events.db", "folder")
    delete(database)
    result = initialized("restore", "latest", "--in-place", "--yes")
    assert result.code == 3
    assert "folder (files:) is not put back into its place (restore it with" in result.err
    assert count(database) == 500
    result = initialized("restore", "latest:folder", "--in-place", "--yes")
    assert result.code == 2
    assert "--overwrite" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("latest", "--in-place", "--target", "out"),
        ("latest", "--in-place", "--overwrite"),
        ("latest", "--in-place", "--dry-run"),
        ("latest:events.db/events.db", "--in-place", "--yes"),
        ("latest",),
    ],
)
def test_what_contradicts_itself_is_refused(
    deleted: Snap, database: Path, arguments: tuple[str, ...]
) -> None:
    assert deleted("restore", *arguments).code == 2
    assert count(database) == 10
