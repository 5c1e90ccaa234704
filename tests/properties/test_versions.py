"""Whatever files become from one backup to the next, every version restores equal."""

import random
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snap.backends.memory import MemoryBackend
from snap.repo.catalog import list_snapshots
from snap.repo.check import run_check
from snap.repo.keys import MINIMUM_COST
from snap.repo.progress import SilentReporter
from snap.repo.repository import create_repository, open_repository
from snap.repo.restore import run_restore
from tests.repo.conftest import PASSPHRASE, SMALL, back_up
from tests.repo.dictsource import BytesReader, DictSource, FileBytesReader, Item
from tests.repo.memorytarget import MemoryTarget

# By its name: a database is cut into pages, all else into chunks; what is piped cannot be read
# twice.
NAMES = [b"database", b"noise", b"pipe/database", b"pipe/text\xff", b"text", b"z/text"]
HEAD = b"SQLite format 3\0" + (512).to_bytes(2, "big")
Edit = tuple[str, int, int, int]

edits = st.tuples(
    st.sampled_from(["insert", "delete", "overwrite", "truncate", "extend", "move", "zero"]),
    st.integers(0, 60_000),
    st.integers(0, 20_000),
    st.integers(0, 2**32),
)
versions = st.lists(
    st.dictionaries(st.sampled_from(NAMES), st.lists(edits, max_size=3), max_size=5),
    min_size=1,
    max_size=5,
)


def content(name: bytes, count: int, seed: int) -> bytes:
    chance = random.Random(seed)
    if b"text" not in name:
        return chance.randbytes(count)
    return "".join(f"{chance.getrandbits(40)},row\n" for _ in range(count // 10)).encode()[:count]


def apply(name: bytes, data: bytes, edit: Edit) -> bytes:
    kind, at, count, seed = edit
    at = min(at, len(data))
    end = min(at + count, len(data))
    match kind:
        case "insert":
            return data[:at] + content(name, count, seed) + data[at:]
        case "delete":
            return data[:at] + data[end:]
        case "overwrite":
            return data[:at] + content(name, end - at, seed) + data[end:]
        case "truncate":
            return data[:at]
        case "extend":
            return data + content(name, count, seed)
        case "move":
            return data[end:] + data[at:end] + data[:at]
        case _:
            return data[:at] + bytes(end - at) + data[end:]


def as_source(files: dict[bytes, bytes]) -> DictSource:
    def opener(name: bytes, data: bytes) -> Item:
        reader = BytesReader if name.startswith(b"pipe") else FileBytesReader
        return lambda: reader(data)

    return DictSource({name: opener(name, data) for name, data in files.items()})


def lie(cache: Path, seed: int) -> None:
    """Change a value of some row in every table that the cache has."""
    chance = random.Random(seed)
    for path in cache.glob("*.sqlite"):
        with sqlite3.connect(path) as db:
            tables = [
                row[0]
                for row in db.execute(
                    "select name from sqlite_schema where sql>'' and type='table'"
                )
            ]
            for table in tables:
                columns = [row[1] for row in db.execute(f"pragma table_info({table})")]
                key = columns[0]
                rows = db.execute(f"select {key} from {table}").fetchall()
                if table == "facts" or not rows:
                    continue
                column = chance.choice(columns[1:] or columns)
                (row,) = chance.choice(rows)
                (value,) = db.execute(
                    f"select {column} from {table} where {key}=?", (row,)
                ).fetchone()
                other = value + 1 if isinstance(value, int) else chance.randbytes(len(value))
                db.execute(f"update or ignore {table} set {column}=? where {key}=?", (other, row))
        db.close()


@pytest.mark.parametrize("caches", ["warm", "empty", "lying"])
@settings(max_examples=25)
@given(given_versions=versions)
def test_every_version_of_every_file_restores_equal(
    given_versions: list[dict[bytes, list[Edit]]], caches: str
) -> None:
    backend = MemoryBackend()
    _, recovery = create_repository(
        backend, PASSPHRASE, label="", cost=MINIMUM_COST, parameters=SMALL
    )
    files = {name: content(name, 30_000, 1) for name in NAMES[:5]}
    for name in (NAMES[0], NAMES[2]):
        files[name] = HEAD + files[name]
    kept: list[dict[bytes, bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        cache = None if caches == "empty" else Path(folder)
        for number, changes in enumerate(given_versions):
            for name, script in changes.items():
                for edit in script:
                    files[name] = apply(name, files.get(name, b""), edit)
            if cache is not None and caches == "lying":
                lie(cache, number)
            with open_repository(backend, recovery, cache_dir=cache) as repository:
                back_up(repository, as_source(files))
            kept.append(dict(files))
        with open_repository(backend, recovery, cache_dir=None) as repository:
            report = run_check(repository, read_fraction=1, reporter=SilentReporter())
            assert report.ok, report.errors
            snapshots = list_snapshots(repository)
            assert len(snapshots) == len(kept)
            for snapshot, expected in zip(snapshots, kept, strict=True):
                target = MemoryTarget()
                run_restore(repository, snapshot, "data", (), target, reporter=SilentReporter())
                assert target.files == expected
