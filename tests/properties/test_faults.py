"""The n-th operation of the store fails, for every n: nothing that was stored is lost."""

import random
from collections.abc import Callable

import pytest

from snap.backends.base import BackendError, BackendUnavailable, PermissionDenied, StorageFull
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.errors import SnapError
from snap.repo.catalog import list_snapshots
from snap.repo.check import run_check
from snap.repo.dump import dump_file
from snap.repo.keys import MINIMUM_COST
from snap.repo.progress import SilentReporter
from snap.repo.repository import create_repository, open_repository
from tests.repo.conftest import PASSPHRASE, SMALL, back_up
from tests.repo.dictsource import DictSource

FIRST = {b"a": random.Random(1).randbytes(100_000), b"b": b"small"}
SECOND = {b"a": random.Random(2).randbytes(150_000), b"c": b"other"}
MAX_OPERATIONS = 200


@pytest.fixture(scope="module")
def filled() -> tuple[MemoryBackend, str]:
    backend = MemoryBackend()
    _, recovery = create_repository(
        backend, PASSPHRASE, label="", cost=MINIMUM_COST, parameters=SMALL
    )
    with open_repository(backend, recovery, cache_dir=None) as repository:
        back_up(repository, DictSource(FIRST))
    return backend, recovery


def copy_of(backend: MemoryBackend) -> MemoryBackend:
    copy = MemoryBackend()
    for stat in backend.list(""):
        copy.put(stat.name, backend.get(stat.name))
    return copy


@pytest.mark.parametrize("error", [StorageFull, PermissionDenied, BackendUnavailable])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after it was done"])
def test_a_backup_whose_nth_operation_fails_loses_nothing(
    filled: tuple[MemoryBackend, str], error: type[BackendError], late: bool
) -> None:
    original, recovery = filled
    raised: Callable[[], BackendError] = lambda: error("injected")  # noqa: E731
    for n in range(1, MAX_OPERATIONS):
        backend = copy_of(original)
        fault = Fault("*", at=n, times=1, error=raised, late=late)
        outcome = "finished"
        try:
            faulty = FaultyBackend(backend, fault)
            with open_repository(faulty, recovery, cache_dir=None) as repository:
                back_up(repository, DictSource(SECOND))
        except SnapError:
            outcome = "failed"
        with open_repository(backend, recovery, cache_dir=None) as repository:
            report = run_check(repository, read_fraction=1, reporter=SilentReporter())
            assert report.ok, (n, report.errors)
            snapshots = list_snapshots(repository)
            assert b"".join(dump_file(repository, snapshots[0], "data", (b"a",))) == FIRST[b"a"]
            if outcome == "finished":
                latest = snapshots[-1]
                assert b"".join(dump_file(repository, latest, "data", (b"a",))) == SECOND[b"a"]
            back_up(repository, DictSource(SECOND))
            again = list_snapshots(repository)[-1]
            assert b"".join(dump_file(repository, again, "data", (b"a",))) == SECOND[b"a"]
        if fault.calls < n:
            return
    pytest.fail(f"a backup took more than {MAX_OPERATIONS} operations")
