"""ChromaDB directories as a source."""

import os
import shutil
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.repo.source import Source
from snap.sources.chroma import ChromaSource
from snap.sources.chroma_index import DATA, FILES
from snap.sources.chroma_store import DATABASE

from .contract import SourceContract, read_all

Expected = dict[bytes, bytes]


class TestContract(SourceContract):
    @pytest.fixture
    def source(self, chroma_folder: Path, tmp_path: Path) -> Source:
        return ChromaSource(chroma_folder, spool_dir=tmp_path / "spool")

    @pytest.fixture
    def expected(self, chroma_folder: Path) -> Expected:
        return {
            os.fsencode(path.relative_to(chroma_folder)): path.read_bytes()
            for path in chroma_folder.rglob("*")
            if path.is_file()
        }

    def test_content_is_complete_and_equal(self, source: Source, expected: Expected) -> None:  # type: ignore[override]
        _, contents, _ = read_all(source)
        assert contents.keys() == expected.keys()
        database = os.fsencode(DATABASE)
        # Counters in its header count the copying.
        assert contents.pop(database)[100:] == expected.pop(database)[100:]
        assert contents == expected

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return ChromaSource(tmp_path / "none", spool_dir=tmp_path / "spool")


def test_elements_are_stored_as_records_and_their_files_as_they_belong_to_whom(
    chroma_folder: Path, tmp_path: Path
) -> None:
    for path in chroma_folder.rglob("*"):
        os.chmod(path, 0o750 if path.is_dir() else 0o640)
    entries, _, report = read_all(ChromaSource(chroma_folder, spool_dir=tmp_path / "spool"))
    widths = {entry.path[-1].decode(): entry.record_widths for entry in entries}
    assert widths[DATA] == (132, 32, 8)
    assert widths[DATABASE] == ()
    for entry in entries:
        assert entry.attributes is not None
        live = chroma_folder.joinpath(*(part.decode() for part in entry.path)).stat()
        assert entry.attributes.mode == live.st_mode & 0o7777
        assert (entry.attributes.uid, entry.attributes.mtime_ns) == (live.st_uid, live.st_mtime_ns)
        assert entry.attributes.inode is None
    assert report.root is not None
    assert report.versions == {"chroma": "1.x"}
    assert report.damaged == ()
    assert list((tmp_path / "spool").iterdir()) == []


def test_folders_of_deleted_collections_and_what_is_not_chromas_are_left_out(
    chroma_folder: Path, tmp_path: Path
) -> None:
    orphan = "00000000-1111-2222-3333-444444444444"
    shutil.copytree(next(chroma_folder.glob(f"*/{DATA}")).parent, chroma_folder / orphan)
    (chroma_folder / "notes.txt").write_text("mine")
    entries, _, report = read_all(ChromaSource(chroma_folder, spool_dir=tmp_path / "spool"))
    names = {entry.path[0].decode() for entry in entries}
    assert not names & {orphan, "notes.txt"}
    assert report.statistics["orphaned_folders"] == [orphan]
    [warning] = report.warnings
    assert "notes.txt" in warning
    assert orphan not in warning


def test_a_torn_directory_says_what_is_damaged(
    chroma_folder: Path, later_chroma: Path, tmp_path: Path
) -> None:
    index = next(chroma_folder.glob(f"*/{DATA}")).parent
    for name in FILES:
        shutil.copy(later_chroma / index.name / name, index / name)
    _, _, report = read_all(ChromaSource(chroma_folder, spool_dir=tmp_path / "spool"))
    [problem] = report.damaged
    assert "records have no vector" in problem
    assert "when it is killed while it writes" in report.warnings[-1]


def test_a_folder_without_a_database_gets_a_hint(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    source = ChromaSource(tmp_path / "store", spool_dir=tmp_path / "spool")
    with pytest.raises(SourceError, match=r"has no chroma\.sqlite3") as caught:
        read_all(source)
    assert "chroma run --path" in caught.value.hint
    (tmp_path / "store/a.parquet").touch()
    with pytest.raises(SourceError) as caught:
        read_all(source)
    assert "before 0.4" in caught.value.hint


def test_no_room_for_the_copy_is_said(chroma_folder: Path, tmp_path: Path) -> None:
    large = next(chroma_folder.glob(f"*/{DATA}"))
    os.truncate(large, shutil.disk_usage(tmp_path).free + (1 << 38))
    with pytest.raises(SourceError, match="no room to copy"):
        read_all(ChromaSource(chroma_folder, spool_dir=tmp_path / "spool"))
