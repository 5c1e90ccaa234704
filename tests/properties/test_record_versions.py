"""Whatever becomes of a file of records, every version comes back equal."""

import random
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snap.backends.memory import MemoryBackend
from snap.repo.catalog import list_snapshots
from snap.repo.check import run_check
from snap.repo.dump import dump_file
from snap.repo.keys import MINIMUM_COST
from snap.repo.progress import SilentReporter
from snap.repo.repository import create_repository, open_repository
from snap.repo.restore import run_restore
from tests.properties.test_versions import lie
from tests.repo.conftest import PASSPHRASE, SMALL, back_up
from tests.repo.dictsource import DictSource, records
from tests.repo.memorytarget import MemoryTarget

NAME = b"data_level0.bin"
# The last two are of no use: too short to be taken apart, and none at all.
WIDTHS = [(20, 64, 8), (1, 1, 90), (20, 72), (700, 1100, 8), (5, 5), ()]
Edit = tuple[str, int, int, int]

edits = st.tuples(
    st.sampled_from(["column", "add", "remove", "overwrite", "truncate", "rest", "zero", "insert"]),
    st.integers(0, 60_000),
    st.integers(0, 20_000),
    st.integers(0, 2**32),
)


class Version(NamedTuple):
    """What is done to the file before a backup; mostly its widths stay."""

    edits: list[Edit]
    widths: tuple[int, ...] | None


versions = st.lists(
    st.builds(
        Version, st.lists(edits, max_size=3), st.none() | st.none() | st.sampled_from(WIDTHS)
    ),
    min_size=1,
    max_size=5,
)


def apply(data: bytes, edit: Edit, widths: tuple[int, ...]) -> bytes:
    kind, at, count, seed = edit
    chance, record = random.Random(seed), max(1, sum(widths))
    at = min(at, len(data))
    end = min(at + count, len(data))
    match kind:
        case "column":
            # One field of every few records, as links change.
            changed, start = bytearray(data), chance.randrange(record)
            for place in range(start, len(data) - 4, record * chance.randint(1, 9)):
                changed[place : place + 4] = chance.randbytes(4)
            return bytes(changed)
        case "add":
            return data + chance.randbytes(count // record * record)
        case "remove":
            whole = at // record * record
            return data[:whole] + data[whole + count // record * record :]
        case "overwrite":
            return data[:at] + chance.randbytes(end - at) + data[end:]
        case "truncate":
            return data[:at]
        case "rest":
            return data + chance.randbytes(count % record)
        case "zero":
            return data[:at] + bytes(end - at) + data[end:]
        case _:
            return data[:at] + chance.randbytes(count % 50) + data[at:]


@pytest.mark.parametrize("caches", ["warm", "empty", "lying"])
@settings(max_examples=25)
@given(first=st.sampled_from(WIDTHS[:4]), given_versions=versions)
def test_every_version_of_a_file_of_records_comes_back_equal(
    first: tuple[int, ...], given_versions: list[Version], caches: str
) -> None:
    backend = MemoryBackend()
    _, recovery = create_repository(
        backend, PASSPHRASE, label="", cost=MINIMUM_COST, parameters=SMALL
    )
    data, widths = random.Random(3).randbytes(40_000), first
    kept: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        cache = None if caches == "empty" else Path(folder)
        for number, version in enumerate(given_versions):
            widths = widths if version.widths is None else version.widths
            for edit in version.edits:
                data = apply(data, edit, widths)
            if cache is not None and caches == "lying":
                lie(cache, number)
            with open_repository(backend, recovery, cache_dir=cache) as repository:
                back_up(repository, DictSource({NAME: records(NAME, data, widths)}))
            kept.append(data)
        with open_repository(backend, recovery, cache_dir=None) as repository:
            report = run_check(repository, read_fraction=1, reporter=SilentReporter())
            assert report.ok, report.errors
            for snapshot, expected in zip(list_snapshots(repository), kept, strict=True):
                target = MemoryTarget()
                run_restore(repository, snapshot, "data", (), target, reporter=SilentReporter())
                assert target.files == {NAME: expected}
                dumped = b"".join(dump_file(repository, snapshot, "data", (NAME,)))
                assert dumped == expected
