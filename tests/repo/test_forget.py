from dataclasses import replace

import pytest

from snap.backends.base import ObjectRetained
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.catalog import list_snapshots
from snap.repo.clock import MINUTE_NS
from snap.repo.forget import forget, is_trusted
from snap.repo.lease import Lease, Owner, RepositoryLocked
from snap.repo.repository import SNAPSHOT_PREFIX, Repository
from snap.repo.snapshot import Snapshot

from .conftest import FakeClock, back_up, change_tags
from .dictsource import DictSource

OWNER = Owner("forget", "host", 1)
DAY_NS = 24 * 60 * MINUTE_NS


@pytest.fixture
def snapshots(repository: Repository) -> list[Snapshot]:
    return [back_up(repository, DictSource({b"f": b"%d" % n})) for n in range(3)]


def held_lease(repository: Repository, clock: FakeClock) -> Lease:
    return Lease(repository.backend, repository.keys, OWNER, clock)


def test_a_forgotten_snapshot_goes_with_its_former_revisions(
    repository: Repository, snapshots: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    name = SNAPSHOT_PREFIX + snapshots[0].id.hex()
    former = backend.get(name)
    changed = change_tags(repository, snapshots[0], add=["x"])
    # As if the process had died before it deleted the former one.
    backend.put(name, former)
    with held_lease(repository, clock) as lease:
        done = forget(repository, [changed], lease)
    assert done.removed == [changed]
    assert [s.id for s in list_snapshots(repository)] == [s.id for s in snapshots[1:]]
    assert len(repository.names(SNAPSHOT_PREFIX)) == 2


def test_one_that_got_another_revision_meanwhile_stays_as_that(
    repository: Repository, snapshots: list[Snapshot], clock: FakeClock
) -> None:
    changed = change_tags(repository, snapshots[0], add=["held"])
    with held_lease(repository, clock) as lease:
        forget(repository, [snapshots[0]], lease)
    assert changed.id in {s.id for s in list_snapshots(repository)}


def test_what_the_store_will_not_delete_is_told_and_the_rest_goes(
    repository: Repository, snapshots: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    locked = SNAPSHOT_PREFIX + snapshots[1].id.hex()
    fault = Fault("delete", locked, times=None, error=lambda: ObjectRetained(f"{locked}: retained"))
    repository.backend = FaultyBackend(backend, fault)
    with held_lease(repository, clock) as lease:
        done = forget(repository, snapshots[:2], lease)
    assert done.removed == [snapshots[0]]
    assert [(s.id, type(e)) for s, e in done.refused] == [(snapshots[1].id, ObjectRetained)]
    assert [s.id for s in list_snapshots(repository)] == [s.id for s in snapshots[1:]]


def test_what_the_store_keeps_is_marked_once_in_some_days_however_often_it_is_tried(
    repository: Repository, snapshots: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    fault = Fault("delete", SNAPSHOT_PREFIX, times=None, error=lambda: ObjectRetained("retained"))
    repository.backend = FaultyBackend(backend, fault)

    def marks_after(tries: int) -> int:
        for _ in range(tries):
            with held_lease(repository, clock) as lease:
                assert len(forget(repository, snapshots[:1], lease).refused) == 1
        return len(list(backend.list("doomed/")))

    assert marks_after(tries=3) == 1
    # The mark goes before the snapshot does, were it the only one.
    clock.now_ns += 4 * DAY_NS
    assert marks_after(tries=3) == 2


def test_whose_lease_ran_out_deletes_nothing(
    repository: Repository, snapshots: list[Snapshot], clock: FakeClock
) -> None:
    with held_lease(repository, clock) as lease:
        clock.now_ns += 31 * MINUTE_NS
        with pytest.raises(RepositoryLocked):
            forget(repository, snapshots, lease)
    assert len(list_snapshots(repository)) == 3


def test_a_time_is_trusted_as_long_as_the_store_can_have_had_it_then(
    snapshots: list[Snapshot],
) -> None:
    snapshot = replace(snapshots[0], time_ns=100 * DAY_NS)
    assert is_trusted(snapshot, None)
    for stored_days, trusted in ((100, True), (101.9, True), (102.5, False), (99.5, False)):
        assert is_trusted(snapshot, int(stored_days * DAY_NS)) is trusted
