"""Pruning beside backups, also those that sleep, and beside clocks that jump."""

import threading
import time

import pytest

from snap.backends.faulty import FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo import lease
from snap.repo.backup import run_backup
from snap.repo.catalog import list_snapshots
from snap.repo.clock import MINUTE_NS
from snap.repo.lease import LEASE_PREFIX, Lease, Owner, RepositoryLocked
from snap.repo.progress import SilentReporter
from snap.repo.repository import (
    SNAPSHOT_PREFIX,
    Repository,
)
from snap.repo.snapshot import Snapshot

from .conftest import OPTIONS, FakeClock, Opener, back_up
from .dictsource import DictSource
from .pruning import assert_whole, files, let_go, noise, prune

HALF_HOUR_NS = 31 * MINUTE_NS


def test_nothing_is_deleted_while_a_backup_of_the_time_of_the_mark_is_at_work(
    repository: Repository, two: list[Snapshot], open_again: Opener, clock: FakeClock
) -> None:
    let_go(repository, two[0])
    with Lease(repository.backend, repository.keys, Owner("backup", "far", 3), clock):
        # Old packs, so they are marked; the backup may use them, so they are not deleted.
        clock.now_ns += 25 * MINUTE_NS
        assert prune(repository).marked > 0
    clock.now_ns += HALF_HOUR_NS
    with Lease(repository.backend, repository.keys, Owner("backup", "far", 4), clock):
        assert prune(repository).deleted > 0, "this one began after the mark"


@pytest.mark.usefixtures("quick_renewals")
def test_a_backup_that_was_there_at_the_mark_keeps_what_it_used(
    repository: Repository,
    two: list[Snapshot],
    backend: MemoryBackend,
    open_again: Opener,
    clock: FakeClock,
) -> None:
    other = open_again()

    def meanwhile() -> None:
        # Everything of the old file was found and is used; now it is forgotten and marked.
        let_go(other, two[0])
        pass_time(clock, 20, backend)
        assert prune(other).marked > 0
        pass_time(clock, 20, backend)
        pass_time(clock, 20, backend)
        assert prune(other).deleted == 0, "the backup is still there"

    snapshot = back_up(repository, DictSource(files(1), meanwhile=meanwhile))
    clock.now_ns += HALF_HOUR_NS
    report = prune(other)
    assert report.rescued > 0
    clock.now_ns += HALF_HOUR_NS
    prune(other)
    assert_whole(repository, [(snapshot, files(1)), (two[1], files(2))])


@pytest.fixture
def quick_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have leases be renewed all the time: the clock of these tests runs fast."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.002)


def pass_time(clock: FakeClock, minutes: int, backend: MemoryBackend) -> None:
    """Let time pass; whatever holds a lease has renewed it then."""
    clock.now_ns += minutes * MINUTE_NS
    now_ns = clock.now_ns
    while any(stat.modified_ns < now_ns for stat in list(backend.list(LEASE_PREFIX))):
        time.sleep(0.001)


def test_a_backup_that_begins_after_the_mark_stores_again_what_is_doomed(
    repository: Repository, two: list[Snapshot], open_again: Opener, clock: FakeClock
) -> None:
    let_go(repository, two[0])
    prune(repository)
    snapshot = back_up(open_again(), DictSource(files(1)))
    assert snapshot.statistics.bytes_new >= 40_000
    clock.now_ns += HALF_HOUR_NS
    assert prune(repository).deleted > 0
    assert_whole(repository, [(snapshot, files(1)), (two[1], files(2))])


def test_a_backup_that_slept_for_two_days_is_not_committed_on_what_is_gone(
    repository: Repository,
    two: list[Snapshot],
    backend: MemoryBackend,
    open_again: Opener,
    clock: FakeClock,
) -> None:
    other = open_again()

    def meanwhile() -> None:
        let_go(other, two[0])
        prune(other)
        clock.now_ns += 2 * 24 * 60 * MINUTE_NS
        assert prune(other).deleted > 0

    with pytest.raises(RepositoryLocked, match="paused"):
        back_up(repository, DictSource(files(1), meanwhile=meanwhile))
    assert [s.id for s in list_snapshots(repository)] == [two[1].id]
    again = back_up(repository, DictSource(files(1)))
    assert_whole(repository, [(again, files(1)), (two[1], files(2))])


def test_one_that_slept_between_its_last_look_and_its_snapshot_takes_it_back(
    repository: Repository,
    two: list[Snapshot],
    backend: MemoryBackend,
    open_again: Opener,
    clock: FakeClock,
) -> None:
    other = open_again()

    class Sleepy(FaultyBackend):
        def put(self, name: str, *args: object, **kwargs: object) -> None:
            if name.startswith(SNAPSHOT_PREFIX):
                let_go(other, two[0])
                prune(other)
                clock.now_ns += 2 * 24 * 60 * MINUTE_NS
                assert prune(other).deleted > 0
            super().put(name, *args, **kwargs)  # type: ignore[arg-type]

    repository.backend = Sleepy(backend)
    with pytest.raises(RepositoryLocked, match="removed again"):
        back_up(repository, DictSource(files(1)))
    assert [s.id for s in list_snapshots(other)] == [two[1].id]


@pytest.mark.parametrize("operation", ["forget", "tag", "hold", "replicate", "repair", "backup"])
def test_the_leases_of_the_killed_go_but_those_of_whom_the_next_one_asks(
    repository: Repository, two: list[Snapshot], clock: FakeClock, operation: str
) -> None:
    killed = Lease(repository.backend, repository.keys, Owner(operation, "far", 3), clock)
    killed._put()
    prune(repository)
    assert repository.names(LEASE_PREFIX) == [killed.name], "it may be alive"
    clock.now_ns += HALF_HOUR_NS
    prune(repository)
    # What a killed backup, replicate or repair left is of use to the next.
    goes = operation in ("forget", "tag", "hold")
    assert repository.names(LEASE_PREFIX) == ([] if goes else [killed.name])


def test_a_lease_that_cannot_be_read_holds_the_sweep_up_until_it_is_dead(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    let_go(repository, two[0])
    name = LEASE_PREFIX + "ab" * 32
    backend.put(name, b"garbage")
    prune(repository)
    clock.now_ns += HALF_HOUR_NS
    backend.put(name, b"garbage, renewed")
    report = prune(repository)
    assert report.deleted == 0
    assert "cannot be read" in report.waiting[0].reason
    clock.now_ns += HALF_HOUR_NS
    assert prune(repository).deleted > 0


@pytest.mark.parametrize("days", [-40, 40])
def test_a_store_clock_that_jumps_loses_nothing(
    repository: Repository,
    two: list[Snapshot],
    open_again: Opener,
    clock: FakeClock,
    days: int,
) -> None:
    other = open_again()

    def meanwhile() -> None:
        let_go(other, two[0])
        prune(other)
        clock.now_ns += days * 24 * 60 * MINUTE_NS
        prune(other)

    source = DictSource(files(1), meanwhile=meanwhile)
    expected = [(two[1], files(2))]
    try:
        expected.append((back_up(repository, source), files(1)))
    except RepositoryLocked:
        assert days > 0
    for _ in range(2):
        clock.now_ns += HALF_HOUR_NS
        prune(other)
    assert_whole(other, expected)
    assert {s.id for s in list_snapshots(other)} == {s.id for s, _ in expected}


@pytest.mark.usefixtures("quick_renewals")
def test_backups_prunes_and_forgets_at_once_lose_nothing(
    repository: Repository, open_again: Opener, backend: MemoryBackend, clock: FakeClock
) -> None:
    written: list[tuple[Snapshot, dict[bytes, bytes]]] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def backing_up(number: int) -> None:
        opened = open_again()
        for turn in range(6):
            data = {b"a": noise(turn % 3), b"b": noise(100 * number + turn, 3_000)}
            source = DictSource(data, name=f"s{number}")
            try:
                snapshot = run_backup(opened, [source], OPTIONS, SilentReporter())
                written.append((snapshot, data))
            except BaseException as error:
                failures.append(error)

    def pruning() -> None:
        opened = open_again()
        while not stop.is_set():
            try:
                for snapshot in list_snapshots(opened)[:-4]:
                    let_go(opened, snapshot)
                prune(opened)
                pass_time(clock, 11, backend)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=backing_up, args=(n,)) for n in range(2)]
    pruner = threading.Thread(target=pruning)
    for thread in [*threads, pruner]:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    pruner.join()
    # One that was taken for dead, since the clock runs so fast, says so and stores nothing.
    assert all(isinstance(failure, RepositoryLocked) for failure in failures)
    left = {s.id for s in list_snapshots(repository)}
    assert_whole(repository, [(s, data) for s, data in written if s.id in left])
