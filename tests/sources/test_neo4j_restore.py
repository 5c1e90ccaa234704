"""From the repository to the dump that Neo4j loads, streamed."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from snap.backends.memory import MemoryBackend
from snap.cli.neo4j_dump import neo4j_dump
from snap.errors import IntegrityError, TargetError
from snap.repo.backup import BackupOptions, run_backup
from snap.repo.keys import MINIMUM_COST
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository, create_repository, open_repository
from snap.repo.snapshot import Component, Snapshot
from snap.repo.source import Consistency, NodeType, ViewReport
from snap.sources.neo4j_restore import dump_name, is_dump, verify_dump, write_dump
from snap.sources.neo4j_view import DumpView

from .test_neo4j_archive import FILES, dump_of, read, tar_of
from .test_neo4j_view import Dump


class DumpSource:
    """A dump as a source."""

    kind = "neo4j"
    name = "graph"
    place = "/opt/neo4j/neo4j"
    can_wait = False

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self):  # type: ignore[no-untyped-def]
        return nullcontext(
            DumpView(
                "neo4j",
                Dump(self._data),
                at_end=lambda: None,
                report=lambda statistics, warnings: ViewReport(
                    Consistency.QUIESCED, 1, statistics, warnings=warnings
                ),
            )
        )


@pytest.fixture
def repository() -> Iterator[Repository]:
    backend = MemoryBackend()
    _, key = create_repository(backend, "a passphrase", label="first", cost=MINIMUM_COST)
    with open_repository(backend, key, cache_dir=None) as opened:
        yield opened


def stored(repository: Repository, data: bytes) -> tuple[Snapshot, Component]:
    options = BackupOptions("s", "h", "u")
    snapshot = run_backup(repository, [DumpSource(data)], options, SilentReporter())
    return snapshot, snapshot.components[0]


def files_in(dump: bytes) -> dict[str, bytes]:
    return {
        b"/".join(entry.path).decode(): data
        for entry, data in read(dump)
        if entry.type is NodeType.FILE
    }


def test_a_component_is_made_into_a_dump_and_proven(repository: Repository, tmp_path: Path) -> None:
    snapshot, component = stored(repository, dump_of(tar_of(FILES)))
    assert is_dump(component)
    assert dump_name(component) == "neo4j.dump"
    path = tmp_path / "out" / dump_name(component)
    advanced: list[int] = []
    size = write_dump(
        neo4j_dump(repository, snapshot, component),
        path,
        overwrite=False,
        advance=advanced.append,
    )
    assert size == path.stat().st_size == sum(advanced)
    assert path.stat().st_mode & 0o777 == 0o600
    assert files_in(path.read_bytes()) == FILES
    [proof] = verify_dump(path, component)
    assert f"{len(FILES)} store files" in proof
    again = b"".join(neo4j_dump(repository, snapshot, component))
    assert again == path.read_bytes()


def test_an_unknown_dump_comes_back_byte_for_byte(repository: Repository, tmp_path: Path) -> None:
    data = b"\x1f\x8b\x08\0" + bytes(range(256)) * 400
    snapshot, component = stored(repository, data)
    assert b"".join(neo4j_dump(repository, snapshot, component)) == data
    path = tmp_path / "d"
    path.write_bytes(data)
    assert verify_dump(path, component) == []


def test_another_store_than_was_recorded_is_told(repository: Repository, tmp_path: Path) -> None:
    _, component = stored(repository, dump_of(tar_of(FILES)))
    other = {"one": b"file"}
    path = tmp_path / "neo4j.dump"
    path.write_bytes(dump_of(tar_of(other), 1, 4))
    with pytest.raises(IntegrityError, match="1 files with 4 bytes"):
        verify_dump(path, component)


def test_nothing_is_replaced_unasked_or_left_half_written(tmp_path: Path) -> None:
    path = tmp_path / "neo4j.dump"
    path.write_bytes(b"mine")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise IntegrityError("a blob is missing")

    with pytest.raises(TargetError, match="exists already"):
        write_dump(iter([b"x"]), path, overwrite=False, advance=lambda _: None)
    with pytest.raises(IntegrityError):
        write_dump(broken(), path, overwrite=True, advance=lambda _: None)
    assert path.read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["neo4j.dump"]
    assert write_dump(iter([b"new"]), path, overwrite=True, advance=lambda _: None) == 3
    assert path.read_bytes() == b"new"


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TargetError, match=r"Not a directory|File exists"):
        write_dump(
            iter([b"x"]), tmp_path / "file" / "neo4j.dump", overwrite=False, advance=lambda _: None
        )
