"""The contract suite on every source."""

import io
import sqlite3
from pathlib import Path

import pytest

from snap.repo.source import Source
from snap.sources.command import CommandSource, StdinSource
from snap.sources.files import FilesSource
from snap.sources.sqlite import SqliteSource

from .contract import SourceContract, read_all

Expected = dict[bytes, bytes]


class TestFiles(SourceContract):
    @pytest.fixture
    def expected(self) -> Expected:
        return {b"a/b/c": b"1", b"a.b": b"2", b"a/z": b"x" * 200_000, b"empty": b""}

    @pytest.fixture
    def source(self, tmp_path: Path, expected: Expected) -> Source:
        for name, data in expected.items():
            path = tmp_path / "tree" / name.decode()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return FilesSource(tmp_path / "tree")

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return FilesSource(tmp_path / "none")


class TestSqlite(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        db = sqlite3.connect(tmp_path / "events.db")
        db.execute("create table t(a)")
        db.executemany("insert into t values(?)", [("x" * 100,) for _ in range(5000)])
        db.commit()
        db.close()
        return SqliteSource(tmp_path / "events.db", spool_dir=tmp_path / "spool")

    @pytest.fixture
    def expected(self, tmp_path: Path) -> Expected:
        # Nobody writes to it: the copy is the file, but for the counters in its header.
        return {b"events.db": (tmp_path / "events.db").read_bytes()}

    def test_content_is_complete_and_equal(self, source: Source, expected: Expected) -> None:  # type: ignore[override]
        _, contents, _ = read_all(source)
        assert contents.keys() == expected.keys()
        assert contents[b"events.db"][100:] == expected[b"events.db"][100:]

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return SqliteSource(tmp_path / "none.db", spool_dir=tmp_path / "spool")


class TestCommand(SourceContract):
    @pytest.fixture
    def expected(self) -> Expected:
        return {b"dump": b"".join(b"%d\n" % n for n in range(1, 300_001))}

    @pytest.fixture
    def source(self) -> Source:
        return CommandSource("seq 300000", name="dump")

    @pytest.fixture
    def missing(self) -> Source:
        return CommandSource(["/no/such/program"], name="dump")


class TestStdin(SourceContract):
    @pytest.fixture
    def expected(self) -> Expected:
        return {b"dump": b"y" * 1_000_000}

    @pytest.fixture
    def source(self, expected: Expected) -> Source:
        return StdinSource(io.BytesIO(expected[b"dump"]), name="dump")

    @pytest.fixture
    def missing(self) -> Source:
        return StdinSource(io.BytesIO(b""), name="dump")
