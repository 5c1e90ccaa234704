"""Lies in every table and column of the cache: answers, backups and restores stay right."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.check import run_check
from snap.repo.dump import dump_file
from snap.repo.ids import BlobId, Kind
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository
from snap.repo.snapshot import Snapshot
from snap.repo.stats import repository_statistics

from .conftest import Opener, back_up
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
    """Statements that make one column lie: in one row, in all, exchanged between two."""
    one = f"where rowid=(select max(rowid) from {table})"
    if table in ("keys", "metadata"):
        first = COLUMNS[table][0]
        one = f"where {first}=(select max({first}) from {table})"
    values = (
        [_TEXT, "x''", f"substr({column}, 2)", f"{column} || x'00'", f"zeroblob(length({column}))"]
        if column in BYTES
        else [f"{column} + 1", f"{column} + 1000000007", f"-1 - {column}", "9223372036854775807"]
    )
    return [
        f"update or ignore {table} set {column}={value} {where}"
        for value in values
        for where in ("", one)
    ]


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def opener(open_again: Opener, folder: Path) -> Callable[[], Repository]:
    return lambda: open_again(cache_dir=folder)


@pytest.fixture
def filled(opener: Callable[[], Repository]) -> Snapshot:
    """Two backups, so two index objects, whose trees are in the cache as well."""
    first = opener()
    back_up(first, DictSource({b"a": FILES[b"a"]}))
    snapshot = back_up(first, DictSource(FILES))
    assert run_check(first, read_fraction=0, reporter=SilentReporter()).ok
    first.close()
    return snapshot


def lie(folder: Path, statement: str) -> None:
    """Write as another process would."""
    (path,) = folder.glob("*.sqlite")
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()


def content(repository: Repository, snapshot: Snapshot) -> dict[bytes, bytes]:
    (component,) = snapshot.components
    return {
        name: b"".join(dump_file(repository, snapshot, component.name, tuple(name.split(b"/"))))
        for name in FILES
    }


@pytest.mark.parametrize("lie_name", LIES)
@pytest.mark.parametrize("planted", ["before", "meanwhile"])
def test_a_lie_in_the_cache_is_found_out(
    filled: Snapshot,
    opener: Callable[[], Repository],
    open_again: Opener,
    folder: Path,
    lie_name: str,
    planted: str,
) -> None:
    honest = open_again()
    honest.load_index()
    truth = {
        entry.id: honest.cache.locate(entry.id)
        for pack in honest.cache.packs()
        for entry in honest.cache.entries_of(pack.id)
    }
    repository = opener()
    if planted == "before":
        lie(folder, LIES[lie_name])
        repository.close()
        repository = opener()
        repository.load_index()
    else:
        repository.load_index()
        assert all(repository.holdings.has(id_) for id_ in truth)
        lie(folder, LIES[lie_name])
        repository.cache._forget_packs()
    assert content(repository, filled) == FILES
    assert not repository.holdings.has(INVENTED)
    assert not repository.cache.has_blob(INVENTED)
    if True:
        assert all(repository.holdings.has(id_) for id_ in truth)
        assert {id_: set(map(repr, repository.cache.locate(id_))) for id_ in truth} == {
            id_: set(map(repr, places)) for id_, places in truth.items()
        }
    again = back_up(repository, DictSource({**FILES, b"new": b"more"}))
    assert content(open_again(), again) == FILES
    assert content(opener(), again) == FILES
    assert len(repository.warnings) <= 1


@pytest.mark.parametrize("lie_name", LIES)
def test_check_and_stats_say_the_truth_whatever_the_cache_says(
    filled: Snapshot,
    opener: Callable[[], Repository],
    open_again: Opener,
    folder: Path,
    lie_name: str,
) -> None:
    truth = repository_statistics(open_again())
    repository = opener()
    lie(folder, LIES[lie_name])
    report = run_check(repository, read_fraction=1, reporter=SilentReporter())
    assert report.errors == []
    assert report.hints == []
    assert repository_statistics(repository) == truth


@pytest.mark.parametrize("lie_name", LIES)
def test_no_lie_makes_check_find_lost_packs_whole(
    filled: Snapshot,
    opener: Callable[[], Repository],
    open_again: Opener,
    backend: MemoryBackend,
    folder: Path,
    lie_name: str,
) -> None:
    repository = opener()
    lie(folder, LIES[lie_name])
    lost = sorted(stat.name for p in ("data/", "meta/") for stat in backend.list(p))
    for name in lost:
        backend.delete(name)
    report = run_check(repository, read_fraction=0, reporter=SilentReporter())
    assert set(lost) <= {problem.object for problem in report.errors}
    for plain in FILES.values():
        id_ = repository.keys.blob_id(Kind.DATA, plain)
        assert not repository.holdings.has(id_)
