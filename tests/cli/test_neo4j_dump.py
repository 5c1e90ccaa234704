"""`snap dump` and `snap restore` of a Neo4j component, as people call them."""

from pathlib import Path

import pytest

from snap.backends.local import LocalBackend
from snap.repo.backup import BackupOptions, run_backup
from snap.repo.progress import SilentReporter
from snap.repo.repository import open_repository
from snap.repo.source import NodeType
from tests.sources.test_neo4j_archive import FILES, dump_of, read, tar_of
from tests.sources.test_neo4j_restore import DumpSource

from .conftest import PASSWORD, Snap


@pytest.fixture
def stored_graph(initialized: Snap, clean: Path) -> Snap:
    with open_repository(LocalBackend(clean / "repo"), PASSWORD, cache_dir=None) as repository:
        source = DumpSource(dump_of(tar_of(FILES)))
        run_backup(repository, [source], BackupOptions("s", "h", "u"), SilentReporter())
    return initialized


def contents(dump: bytes) -> dict[str, bytes]:
    return {
        b"/".join(entry.path).decode(): data
        for entry, data in read(dump)
        if entry.type is NodeType.FILE
    }


@pytest.mark.parametrize("place", ["latest:graph", "latest:graph/neo4j.dump"])
def test_the_dump_is_printed_for_neo4j_admin(stored_graph: Snap, place: str) -> None:
    assert contents(stored_graph.ok("dump", place).raw) == FILES


def test_a_file_of_the_store_is_printed_by_its_name(stored_graph: Snap) -> None:
    assert stored_graph.ok("dump", "latest:graph/neostore").raw == FILES["neostore"]
    assert "graph/neostore.transaction.db.0" in stored_graph.ok("ls", "latest:graph").out


def test_a_restore_writes_the_dump_and_proves_it(stored_graph: Snap, clean: Path) -> None:
    result = stored_graph.ok("restore", "latest", "--target", "out")
    assert contents((clean / "out/graph/neo4j.dump").read_bytes()) == FILES
    assert f"graph: dump whole: {len(FILES)} store files" in result.out
    again = stored_graph("restore", "latest", "--target", "out")
    assert again.code == 1
    assert "exists already" in again.err
    stored_graph.ok("restore", "latest", "--target", "out", "--overwrite")


def test_a_part_of_the_store_is_restored_as_files(stored_graph: Snap, clean: Path) -> None:
    stored_graph.ok("restore", "latest:graph/neostore", "--target", "out")
    assert (clean / "out/graph/neostore").read_bytes() == FILES["neostore"]


def test_it_is_not_put_into_a_place_where_there_is_no_server(stored_graph: Snap) -> None:
    result = stored_graph("restore", "latest", "--in-place", "--yes")
    assert result.code == 1
    assert "holds no Neo4j" in result.err


BACKUP = b"BTV1" + bytes(range(256)) * 300


@pytest.fixture
def stored_backup(initialized: Snap, clean: Path) -> Snap:
    with open_repository(LocalBackend(clean / "repo"), PASSWORD, cache_dir=None) as repository:
        source = DumpSource(BACKUP, "backup")
        run_backup(repository, [source], BackupOptions("s", "h", "u"), SilentReporter())
    return initialized


def test_a_backup_of_enterprise_is_restored_as_it_was_and_told_what_takes_it(
    stored_backup: Snap, clean: Path
) -> None:
    assert stored_backup.ok("dump", "latest:graph").raw == BACKUP
    result = stored_backup.ok("restore", "latest", "--target", "out")
    assert (clean / "out/graph/neo4j.backup").read_bytes() == BACKUP
    assert "backup as it was stored, byte for byte" in result.out
    file = clean / "out/graph/neo4j.backup"
    assert f"neo4j-admin database restore --from-path={file} neo4j" in result.err
    assert "CREATE DATABASE" in result.err


@pytest.mark.parametrize("place", ["latest", "latest:graph"])
def test_a_backup_of_enterprise_is_not_put_into_its_place(stored_backup: Snap, place: str) -> None:
    result = stored_backup("restore", place, "--in-place", "--yes")
    assert result.code == 2
    assert "backed up online by Neo4j Enterprise" in result.err
    assert "--from-path=FOLDER/graph/neo4j.backup neo4j" in result.err
