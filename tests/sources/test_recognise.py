import gzip
import sqlite3
from pathlib import Path

from snap.sources.files import FilesSource
from snap.sources.recognise import Inspector

from .contract import read_all


def test_a_database_and_a_compressed_dump_in_a_tree_are_warned_of(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "live.db")
    db.execute("create table t(a)")
    db.close()
    (tmp_path / "shop.sql.gz").write_bytes(gzip.compress(b"insert"))
    (tmp_path / "photo.gz").write_bytes(gzip.compress(b"no dump"))
    (tmp_path / "dump.sql.gz.txt").write_bytes(b"not compressed")
    _, _, report = read_all(FilesSource(tmp_path))
    database, dump = report.warnings
    assert f"sqlite:{tmp_path}/live.db" in database
    assert "shop.sql.gz" in dump
    assert "raw dump" in dump
    assert "photo" not in dump


def test_many_databases_are_counted_and_a_few_are_named() -> None:
    inspector = Inspector()
    for n in range(1000):
        inspector.look(b"/db%d" % n, b"SQLite format 3\0")
    (warning,) = inspector.warnings()
    assert "and 995 more" in warning
    assert warning.count("/db") == 6


def test_plain_files_give_no_warning() -> None:
    inspector = Inspector()
    inspector.look(b"/a.sql", b"create table")
    inspector.look(b"/empty", b"")
    assert inspector.warnings() == []
