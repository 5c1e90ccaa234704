"""Lies in every table and column of the cache: answers, backups and restores stay right."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.check import run_check
from snap.repo.dump import dump_file
from snap.repo.ids import BlobId, Kind
from snap.repo.keys import MINIMUM_COST
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository, create_repository, open_repository
from snap.repo.snapshot import Snapshot
from snap.repo.stats import repository_statistics

from .conftest import PASSPHRASE, SMALL, FakeClock, Opener, back_up
from .dictsource import DictSource

FILES = {
    b"a": random.Random(50).randbytes(150_000),
    b"b": random.Random(51).randbytes(150_000),
    b"d/c": b"small",
}
INVENTED = BlobId(b"\x7finvented blob that nobody stored"[:32])
_TEXT = "'text'"

COLUMNS = {
    "indexes": ["row", "id", "packs", "blobs", "mac"],
    "packs": ["first", "id", "kind", "size", "keys", "count", "index_row", "mac", "entries"],
    "keys": ["key", "number"],
    "sums": ["part", "count", "total", "mac"],
    "limits": ["row", "value", "mac"],
    "metadata": ["id", "kind", "mac", "plain"],
}
BYTES = {"id", "mac", "entries", "plain"}


def changes_of(table: str, column: str) -> list[str]:
    """Statements that make one column lie, in one row or in all."""
    key = COLUMNS[table][0]
    one = f"where {key}=(select max({key}) from {table})"
    if column in BYTES:
        values = [(_TEXT, one), (f"zeroblob(length({column}))", "")]
    else:
        values = [(f"{column} + 1", one), (f"-1 - {column}", "")]
    return [f"update or ignore {table} set {column}={value} {where}" for value, where in values]


LIES = {
    f"{table}.{column} #{number}": statement
    for table, columns in COLUMNS.items()
    for column in columns
    for number, statement in enumerate(changes_of(table, column))
}
LIES |= {f"no {table}": f"delete from {table}" for table in COLUMNS}
LIES |= {
    f"one less of {table}": f"delete from {table} where {columns[0]}="
    f"(select max({columns[0]}) from {table})"
    for table, columns in COLUMNS.items()
}
LIES |= {f"{table} is gone": f"drop table {table}" for table in COLUMNS}
LIES |= {
    "a number beyond all": "update keys set number=9223372036854775807",
    "a limit beyond all": "update limits set value=9223372036854775807",
    "a pack beyond all": "insert into packs select 9223372036854775807, id, kind, size, keys, "
    "count, index_row, mac, entries from packs limit 1",
    "entries swapped": "update packs set entries="
    "(select entries from packs order by first limit 1)",
    "a row of another pack": "update packs set (id, kind, size, keys, count, mac, entries)="
    "(select id, kind, size, keys, count, mac, entries from packs order by first limit 1)",
    "plains swapped": "update metadata set plain=(select min(plain) from metadata)",
    "a key for an invented blob": "insert into keys values("
    f"{int.from_bytes(INVENTED[:8], 'little')}, 0)",
    "an index that the store does not have": "insert into indexes values"
    f"(99, x'{'ab' * 32}', 0, 0, x'{'00' * 16}')",
    "an invented pack": "insert into packs select first+500, zeroblob(32), kind, size, keys, "
    "count, index_row, mac, entries from packs limit 1",
    "a pack of no index": "update packs set index_row=77",
    "every number the same": "update or ignore keys set number=0",
}


@dataclass
class Prepared:
    """Two backups, so two index objects, and a cache that has their trees as well."""

    snapshot: Snapshot
    recovery_key: str
    objects: dict[str, bytes]
    cache: Path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    clock, folder = FakeClock(), tmp_path_factory.mktemp("prepared")
    backend = MemoryBackend(clock=clock)
    _, recovery_key = create_repository(
        backend, PASSPHRASE, label="first", cost=MINIMUM_COST, clock=clock, parameters=SMALL
    )
    with open_repository(backend, recovery_key, cache_dir=folder, clock=clock) as repository:
        back_up(repository, DictSource({b"a": FILES[b"a"]}))
        snapshot = back_up(repository, DictSource(FILES))
        assert run_check(repository, read_fraction=0, reporter=SilentReporter()).ok
    objects = {stat.name: backend.get(stat.name) for stat in backend.list("")}
    return Prepared(snapshot, recovery_key, objects, next(folder.glob("*.sqlite")))


@pytest.fixture
def backend(prepared: Prepared, clock: FakeClock) -> MemoryBackend:
    backend = MemoryBackend(clock=clock)
    for name, stored in prepared.objects.items():
        backend.put(name, stored)
    return backend


@pytest.fixture
def recovery_key(prepared: Prepared) -> str:
    return prepared.recovery_key


@pytest.fixture
def filled(prepared: Prepared) -> Snapshot:
    return prepared.snapshot


@pytest.fixture
def folder(prepared: Prepared, tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    shutil.copy(prepared.cache, folder)
    return folder


@pytest.fixture
def opener(open_again: Opener, folder: Path) -> Callable[[], Repository]:
    return lambda: open_again(cache_dir=folder)


def lie(folder: Path, statement: str) -> None:
    """Write as another process would; nothing where the same lie stands there still."""
    (path,) = folder.glob("*.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        try:
            db.execute(statement)
        except sqlite3.Error as error:
            assert "UNIQUE" in str(error) or "no such table" in str(error)


def content(repository: Repository, snapshot: Snapshot) -> dict[bytes, bytes]:
    (component,) = snapshot.components
    return {
        name: b"".join(dump_file(repository, snapshot, component.name, tuple(name.split(b"/"))))
        for name in FILES
    }


@pytest.mark.parametrize("lie_name", LIES)
def test_a_lie_in_the_cache_is_found_out(
    filled: Snapshot,
    opener: Callable[[], Repository],
    open_again: Opener,
    folder: Path,
    lie_name: str,
) -> None:
    honest = open_again()
    truth = repository_statistics(honest)
    places = {
        entry.id: honest.cache.locate(entry.id)
        for pack in honest.cache.packs()
        for entry in honest.cache.entries_of(pack.id)
    }

    def assert_truthful(repository: Repository) -> None:
        assert not repository.holdings.has(INVENTED)
        assert all(repository.holdings.has(id_) for id_ in places)
        assert {id_: set(map(repr, repository.cache.locate(id_))) for id_ in places} == {
            id_: set(map(repr, found)) for id_, found in places.items()
        }

    # Planted before the cache is opened.
    lie(folder, LIES[lie_name])
    repository = opener()
    assert content(repository, filled) == FILES
    assert_truthful(repository)
    assert len(repository.warnings) <= 1
    # Planted while it is open.
    lie(folder, LIES[lie_name])
    assert_truthful(repository)
    # And before each engine that relies on it.
    lie(folder, LIES[lie_name])
    report = run_check(repository, read_fraction=1, reporter=SilentReporter())
    assert (report.errors, report.hints) == ([], [])
    lie(folder, LIES[lie_name])
    assert repository_statistics(repository) == truth
    lie(folder, LIES[lie_name])
    again = back_up(repository, DictSource({**FILES, b"new": b"more"}))
    assert content(open_again(), again) == FILES
    assert again.statistics.bytes_new < 1000


@pytest.mark.parametrize("lie_name", [name for name in LIES if "#" not in name])
def test_no_lie_makes_lost_packs_whole(
    filled: Snapshot,
    opener: Callable[[], Repository],
    backend: MemoryBackend,
    folder: Path,
    lie_name: str,
) -> None:
    lie(folder, LIES[lie_name])
    repository = opener()
    lost = sorted(stat.name for p in ("data/", "meta/") for stat in backend.list(p))
    for name in lost:
        backend.delete(name)
    report = run_check(repository, read_fraction=0, reporter=SilentReporter())
    assert set(lost) <= {problem.object for problem in report.errors}
    for plain in FILES.values():
        assert not repository.holdings.has(repository.keys.blob_id(Kind.DATA, plain))
