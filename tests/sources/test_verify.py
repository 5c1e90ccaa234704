import sqlite3
from pathlib import Path

import pytest

from snap.errors import IntegrityError
from snap.sources.sqlite import SqliteSource
from snap.sources.verify import verify_component

from .contract import read_all


@pytest.fixture
def restored(tmp_path: Path) -> tuple[Path, dict[str, object]]:
    live = tmp_path / "events.db"
    with sqlite3.connect(live) as db:
        db.execute("create table t(a)")
        db.executemany("insert into t values(?)", [(n,) for n in range(5000)])
    db.close()
    _, contents, report = read_all(SqliteSource(live, spool_dir=tmp_path / "spool"))
    folder = tmp_path / "restored"
    folder.mkdir()
    (folder / "events.db").write_bytes(contents[b"events.db"])
    (folder / "another file").write_bytes(b"x")
    return folder, dict(report.statistics)


def test_a_whole_database_is_proven(restored: tuple[Path, dict[str, object]]) -> None:
    folder, statistics = restored
    proofs = verify_component("sqlite", folder, statistics)
    assert proofs == ["integrity check ok", "1 table with 5000 rows, as recorded at the backup"]
    assert verify_component("files", folder, {}) == []


def test_other_numbers_than_recorded_are_not_proven(
    restored: tuple[Path, dict[str, object]],
) -> None:
    folder, statistics = restored
    with sqlite3.connect(folder / "events.db") as db:
        db.execute("delete from t where a = 7")
    db.close()
    with pytest.raises(IntegrityError, match="4999"):
        verify_component("sqlite", folder, statistics)


def test_a_damaged_or_missing_database_is_not_proven(
    restored: tuple[Path, dict[str, object]],
) -> None:
    folder, statistics = restored
    path = folder / "events.db"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"events\.db"):
        verify_component("sqlite", folder, statistics)
    path.unlink()
    with pytest.raises(IntegrityError, match="not there"):
        verify_component("sqlite", folder, statistics)
