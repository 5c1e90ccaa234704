"""Restores in place that are killed at any moment leave a working database, the old or the new."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.scale import rounds

from .command import Snap
from .kills import Kills, new_chance

ROWS = 20_000


def rows_of(path: Path) -> list[tuple[int, bytes]]:
    """Return all rows as a program of the database's would see them, after its checks."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        return list(db.execute("select a, b from t order by a"))


def change(path: Path, chance: random.Random, journal: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"pragma journal_mode={journal}")
        db.execute("create table if not exists t(a integer primary key, b blob)")
        rows = [(n, chance.randbytes(300)) for n in chance.sample(range(ROWS), ROWS // 2)]
        db.executemany("insert or replace into t values(?, ?)", rows)


def survive_kills(snap: Snap, tmp_path: Path, kills: int) -> None:
    chance = new_chance()
    live = tmp_path / "app/events.db"
    live.parent.mkdir()
    change(live, chance, "wal")
    snap.ok("backup", f"sqlite:{live}")
    new = rows_of(live)
    outcomes = {"old": 0, "new": 0}
    killing = Kills(chance, kills, kills // 3, earliest=0.2)
    for _ in killing.rounds():
        change(live, chance, chance.choice(("wal", "delete")))
        old = rows_of(live)
        assert old != new
        killing.end(snap.start("restore", "latest", "--in-place", "--yes"))
        found = rows_of(live)
        assert found in (old, new)
        outcomes["new" if found == new else "old"] += 1
    print(outcomes)
    snap.ok("restore", "latest", "--in-place", "--yes")
    assert rows_of(live) == new
    assert [path.name for path in live.parent.iterdir()] == ["events.db"]
    snap.ok("check", "--read-data")


def test_kills_during_a_restore_in_place_leave_the_old_or_the_new(
    snap: Snap, tmp_path: Path
) -> None:
    survive_kills(snap, tmp_path, 8)


@pytest.mark.slow
def test_many_kills_during_a_restore_in_place_leave_the_old_or_the_new(
    snap: Snap, tmp_path: Path
) -> None:
    survive_kills(snap, tmp_path, rounds(60, otherwise=20))
