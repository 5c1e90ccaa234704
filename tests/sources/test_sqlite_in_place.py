"""A SQLite database is replaced while nothing holds it, and comes back if anything is wrong."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from snap.errors import IntegrityError, SnapError, TargetError
from snap.sources.in_place import InUse, Replaced, replace_in_place
from snap.sources.sqlite import examine
from snap.sources.sqlite_in_place import SqlitePlace
from tests.servers.sqlite_holder import held


def make(path: Path, rows: int, journal: str = "delete") -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"pragma journal_mode={journal}")
        db.execute("create table t(a)")
        db.executemany("insert into t values(?)", ((n,) for n in range(rows)))


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("select count(*) from t").fetchone()[0])


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "snapshot").mkdir()
    path = tmp_path / "snapshot/db"
    make(path, 7)
    return path


def replace(live: Path, new: Path, statistics: dict[str, object] | None = None) -> Replaced:
    recorded = {"file": "db", **examine(new).statistics, **(statistics or {})}
    place = SqlitePlace(live, recorded)
    return replace_in_place(
        place, save=lambda: None, fill=lambda folder: (shutil.copy(new, folder / "db"), None)[1]
    )


@pytest.mark.parametrize("journal", ["delete", "wal", "truncate"])
def test_a_database_is_replaced_and_counted(tmp_path: Path, new: Path, journal: str) -> None:
    (tmp_path / "app").mkdir()
    live = tmp_path / "app/db"
    make(live, 3, journal)
    replaced = replace(live, new)
    assert rows(live) == 7
    assert "opens in its place, with all 7 rows" in replaced.proofs
    assert [p.name for p in live.parent.iterdir()] == ["db"]


def test_a_missing_database_and_its_folder_are_made(tmp_path: Path, new: Path) -> None:
    live = tmp_path / "app/data/db"
    replace(live, new)
    assert rows(live) == 7


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path, new: Path) -> None:
    make(tmp_path / "real", 3)
    (tmp_path / "db").symlink_to("real")
    replace(tmp_path / "db", new)
    assert (tmp_path / "db").is_symlink()
    assert rows(tmp_path / "real") == 7


def crash(path: Path, journal: str) -> None:
    """Leave a database with committed rows in its log, or with a hot journal."""
    script = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        f"db.execute('pragma journal_mode={journal}')\n"
        "db.execute('pragma cache_size=1')\n"
        "db.execute('create table if not exists t(a)')\n"
        "db.execute('begin')\n"
        "for n in range(5000): db.execute('insert into t values(?)', ('x' * 100,))\n"
        "if sys.argv[2] == 'wal': db.execute('commit')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path), journal], check=False)


@pytest.mark.parametrize(("journal", "suffix"), [("wal", "-wal"), ("delete", "-journal")])
def test_what_a_dead_program_left_beside_never_meets_the_new_database(
    tmp_path: Path, new: Path, journal: str, suffix: str
) -> None:
    (tmp_path / "app").mkdir()
    live = tmp_path / "app/db"
    crash(live, journal)
    assert Path(f"{live}{suffix}").stat().st_size > 0
    replace(live, new)
    assert rows(live) == 7
    assert [p.name for p in live.parent.iterdir()] == ["db"]


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal"])
def test_a_database_beyond_repair_is_replaced_with_all_that_lies_beside_it(
    tmp_path: Path, new: Path, suffix: str
) -> None:
    (tmp_path / "app").mkdir()
    live = tmp_path / "app/db"
    live.write_bytes(b"rubbish" * 1000)
    if suffix:
        Path(f"{live}{suffix}").write_bytes(b"more" * 1000)
    replace(live, new)
    assert rows(live) == 7
    assert [p.name for p in live.parent.iterdir()] == ["db"]


def test_a_process_that_holds_it_is_named_and_keeps_it(tmp_path: Path, new: Path) -> None:
    live = tmp_path / "db"
    make(live, 3)
    with (
        held(live, "select * from t") as holder,
        pytest.raises(InUse, match=f"process {holder}"),
    ):
        replace(live, new)
    assert rows(live) == 3
    replace(live, new)
    assert rows(live) == 7


def test_a_new_state_that_differs_from_what_was_recorded_is_not_put_in_place(
    tmp_path: Path, new: Path
) -> None:
    live = tmp_path / "db"
    make(live, 3)
    with pytest.raises(IntegrityError, match="tables"):
        replace(live, new, {"tables": {"t": 8}})
    assert rows(live) == 3


@pytest.mark.parametrize("there", [True, False])
def test_a_check_that_fails_after_the_swap_brings_the_old_state_back(
    tmp_path: Path, new: Path, there: bool
) -> None:
    class Wrong(SqlitePlace):
        def prove(self) -> list[str]:
            assert rows(self.path) == 7
            raise IntegrityError("wrong rows")

    live = tmp_path / "app/db"
    live.parent.mkdir()
    if there:
        make(live, 3, "wal")
    place = Wrong(live, {"file": "db", **examine(new).statistics})
    with pytest.raises(TargetError, match="wrong rows; what was there before is back"):
        replace_in_place(
            place, save=lambda: None, fill=lambda f: (shutil.copy(new, f / "db"), None)[1]
        )
    assert [p.name for p in live.parent.iterdir()] == (["db"] if there else [])
    if there:
        assert rows(live) == 3


def test_a_broken_database_comes_back_with_what_lay_beside_it(tmp_path: Path, new: Path) -> None:
    class Wrong(SqlitePlace):
        def prove(self) -> list[str]:
            raise IntegrityError("wrong rows")

    live = tmp_path / "app/db"
    live.parent.mkdir()
    live.write_bytes(b"rubbish")
    Path(f"{live}-wal").write_bytes(b"more")
    place = Wrong(live, {"file": "db", **examine(new).statistics})
    with pytest.raises(SnapError, match="is back"):
        replace_in_place(
            place, save=lambda: None, fill=lambda f: (shutil.copy(new, f / "db"), None)[1]
        )
    assert {p.name: p.read_bytes() for p in live.parent.iterdir()} == {
        "db": b"rubbish",
        "db-wal": b"more",
    }


def test_rows_that_cannot_be_counted_in_place_are_an_error(tmp_path: Path, new: Path) -> None:
    place = SqlitePlace(new, {"file": "db", "tables": {"t": 7, "gone": 1}})
    with pytest.raises(IntegrityError, match="gone"):
        place.prove()
    place = SqlitePlace(new, {"file": "db", "tables": {"t": 8}})
    with pytest.raises(IntegrityError, match="rows that were recorded"):
        place.prove()
    assert os.path.exists(new)
