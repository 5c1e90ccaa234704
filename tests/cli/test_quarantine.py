"""Databases that collapsed: kept, told, and never taken for the last good state."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import Snap


@pytest.fixture
def collapsed(initialized: Snap, database: Path) -> Snap:
    """A good snapshot of 500 rows, then one of 10."""
    initialized.ok("backup", "sqlite:events.db")
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("delete from events where id > 10")
    return initialized


def test_a_collapse_is_stored_told_and_ends_with_4(collapsed: Snap) -> None:
    result = collapsed("backup", "sqlite:events.db")
    assert result.code == 4
    assert "since the last good snapshot it collapsed: 10 records, 500 before" in result.err
    assert "--accept-changes" in result.out
    record = collapsed.ok("snapshots", "--json").json[-1]
    assert record["status"] == "quarantined"


def test_the_latest_is_the_last_good_one_and_the_newer_one_is_mentioned(
    collapsed: Snap, clean: Path
) -> None:
    collapsed("backup", "sqlite:events.db")
    result = collapsed("restore", "latest", "--target", "out")
    assert result.code == 0
    assert "is newer and in quarantine" in result.err
    with closing(sqlite3.connect(clean / "out/events.db/events.db")) as db:
        assert db.execute("select count(*) from events").fetchone() == (500,)


def test_it_stays_in_quarantine_until_it_is_accepted(collapsed: Snap) -> None:
    for _ in range(2):
        assert collapsed("backup", "sqlite:events.db").code == 4
    status = collapsed("status", "--json")
    assert status.code == 4
    assert len(status.json["quarantined"]) == 2
    assert "QUARANTINED: snapshot" in collapsed("status").out
    collapsed.ok("backup", "sqlite:events.db", "--accept-changes")
    assert collapsed.ok("status", "--json").json["quarantined"] == []
    # From now on that is what it is compared with.
    collapsed.ok("backup", "sqlite:events.db")


def test_a_restore_in_place_is_no_collapse_and_what_it_kept_neither(
    collapsed: Snap, database: Path
) -> None:
    collapsed("backup", "sqlite:events.db")
    collapsed.ok("restore", "latest", "--in-place", "--yes")
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("select count(*) from events").fetchone() == (500,)
    collapsed.ok("backup", "sqlite:events.db")
    collapsed.ok("status")
