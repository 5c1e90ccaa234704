"""Whatever files become from one backup to the next, every version restores equal."""

import random
import tempfile
from pathlib import Path

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
from tests.repo.dictsource import DictSource
from tests.repo.memorytarget import MemoryTarget

NAMES = [b"a", b"b/c", b"b/d\xff", b"e/f/g", b"z"]
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
    max_size=4,
)


def apply(data: bytes, edit: Edit) -> bytes:
    kind, at, count, seed = edit
    at = min(at, len(data))
    end = min(at + count, len(data))
    match kind:
        case "insert":
            return data[:at] + random.Random(seed).randbytes(count) + data[at:]
        case "delete":
            return data[:at] + data[end:]
        case "overwrite":
            return data[:at] + random.Random(seed).randbytes(end - at) + data[end:]
        case "truncate":
            return data[:at]
        case "extend":
            return data + random.Random(seed).randbytes(count)
        case "move":
            return data[end:] + data[at:end] + data[:at]
        case _:
            return data[:at] + bytes(end - at) + data[end:]


@settings(max_examples=25)
@given(versions)
def test_every_version_of_every_file_restores_equal(
    given_versions: list[dict[bytes, list[Edit]]],
) -> None:
    backend = MemoryBackend()
    _, recovery = create_repository(
        backend, PASSPHRASE, label="", cost=MINIMUM_COST, parameters=SMALL
    )
    files = {name: b"" for name in NAMES[:2]}
    kept: list[dict[bytes, bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, changes in enumerate(given_versions):
            for name, script in changes.items():
                for edit in script:
                    files[name] = apply(files.get(name, b""), edit)
            # Every other backup begins with an empty cache.
            cache = Path(folder) if number % 2 else None
            with open_repository(backend, recovery, cache_dir=cache) as repository:
                back_up(repository, DictSource(dict(files)))
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
