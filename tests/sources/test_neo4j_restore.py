"""From the repository to the dump that Neo4j loads, streamed."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import blake3
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
from snap.sources.neo4j_restore import (
    FileDigests,
    dump_name,
    how_to_restore,
    is_backup,
    is_dump,
    verify_dump,
    write_dump,
)
from snap.sources.neo4j_view import DumpView

from .test_neo4j_archive import FILES, dump_of, read, tar_of
from .test_neo4j_view import Dump


class DumpSource:
    """A dump as a source."""

    kind = "neo4j"
    name = "graph"
    place = "/opt/neo4j/neo4j"
    can_wait = False

    def __init__(self, data: bytes, artifact: str = "dump") -> None:
        self._data = data
        self._artifact = artifact

    def open(self):  # type: ignore[no-untyped-def]
        return nullcontext(
            DumpView(
                "neo4j",
                Dump(self._data),
                at_end=lambda: None,
                report=lambda statistics, warnings: ViewReport(
                    Consistency.QUIESCED, 1, statistics, warnings=warnings
                ),
                artifact=self._artifact,
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
    digests: FileDigests = {}
    size = write_dump(
        neo4j_dump(repository, snapshot, component, digests),
        path,
        overwrite=False,
        advance=advanced.append,
    )
    assert size == path.stat().st_size == sum(advanced)
    assert path.stat().st_mode & 0o777 == 0o600
    assert files_in(path.read_bytes()) == FILES
    assert {b"/".join(place).decode() for place in digests} == set(FILES)
    [proof] = verify_dump(path, component, digests)
    assert f"{len(FILES)} store files" in proof
    again = b"".join(neo4j_dump(repository, snapshot, component))
    assert again == path.read_bytes()


def test_an_unknown_dump_comes_back_byte_for_byte(repository: Repository, tmp_path: Path) -> None:
    data = b"\x1f\x8b\x08\0" + bytes(range(256)) * 400
    snapshot, component = stored(repository, data)
    digests: FileDigests = {}
    assert b"".join(neo4j_dump(repository, snapshot, component, digests)) == data
    path = tmp_path / "d"
    path.write_bytes(data)
    assert verify_dump(path, component, digests) == ["dump as it was stored, byte for byte"]
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(TargetError, match="reads back differently"):
        verify_dump(path, component, digests)


def test_a_backup_of_enterprise_has_its_own_name_and_says_what_takes_it(
    repository: Repository,
) -> None:
    source = DumpSource(b"BTV1" + bytes(5000), "backup")
    snapshot = run_backup(repository, [source], BackupOptions("s", "h", "u"), SilentReporter())
    [component] = snapshot.components
    assert is_backup(component)
    assert dump_name(component) == "neo4j.backup"
    told = how_to_restore(component, "/my out/neo4j.backup")
    assert "neo4j-admin database restore --from-path='/my out/neo4j.backup' neo4j" in told
    assert "CREATE DATABASE `neo4j`" in told
    system = replace(component, statistics={**component.statistics, "database": "system"})
    told = how_to_restore(system, "/o/system.backup")
    assert "with the server stopped" in told
    assert "CREATE DATABASE" not in told


def test_another_store_than_was_recorded_is_told(repository: Repository, tmp_path: Path) -> None:
    _, component = stored(repository, dump_of(tar_of(FILES)))
    other = {"one": b"file"}
    path = tmp_path / "neo4j.dump"
    path.write_bytes(dump_of(tar_of(other), 1, 4))
    with pytest.raises(IntegrityError, match="1 files with 4 bytes"):
        verify_dump(path, component, {(b"one",): blake3.blake3(b"file").digest()})


def with_other_content(files: dict[str, bytes]) -> bytes:
    return dump_of(tar_of({**files, "neostore": b"N" * len(files["neostore"])}))


def with_a_missing_file(files: dict[str, bytes]) -> bytes:
    left = {name: data for name, data in files.items() if name != "empty"}
    return dump_of(tar_of(left), len(left), sum(map(len, left.values())))


def cut_short(files: dict[str, bytes]) -> bytes:
    return dump_of(tar_of(files))[:-9]


def cut_at_the_beginning(files: dict[str, bytes]) -> bytes:
    return dump_of(tar_of(files))[:9]


def no_dump(_files: dict[str, bytes]) -> bytes:
    return bytes(5000)


@pytest.mark.parametrize(
    ("damaged", "named"),
    [
        (with_other_content, "written: neostore"),
        (with_a_missing_file, "written: empty"),
        (cut_short, "cut short"),
        (cut_at_the_beginning, "cut short"),
        (no_dump, "it begins with"),
    ],
)
def test_a_dump_that_does_not_read_back_as_it_was_written_is_told(
    repository: Repository,
    tmp_path: Path,
    damaged: Callable[[dict[str, bytes]], bytes],
    named: str,
) -> None:
    snapshot, component = stored(repository, dump_of(tar_of(FILES)))
    digests: FileDigests = {}
    for _ in neo4j_dump(repository, snapshot, component, digests):
        pass
    path = tmp_path / "neo4j.dump"
    path.write_bytes(damaged(FILES))
    with pytest.raises(TargetError, match=f"reads back differently.*{named}"):
        verify_dump(path, component, digests)


@pytest.mark.parametrize("database", ["../../etc/cron", "/etc/x", "a\0b", "n" * 5000])
def test_a_snapshot_does_not_choose_where_the_dump_goes(
    repository: Repository, database: str
) -> None:
    _, component = stored(repository, dump_of(tar_of(FILES)))
    planted = replace(component, statistics={**component.statistics, "database": database})
    with pytest.raises(IntegrityError, match="not a database's name"):
        dump_name(planted)


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
