"""Pruning: what goes, what stays, and what keeps it from going."""

import contextlib

import pytest

from snap.backends.base import BackendUnavailable, ObjectRetained
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.clock import MINUTE_NS
from snap.repo.doomed import DOOMED_PREFIX, list_doomed
from snap.repo.ids import object_id, pack_name
from snap.repo.keys import MINIMUM_COST, Capability
from snap.repo.lease import Lease, Owner, RepositoryLocked, list_leases
from snap.repo.prune import TOMBSTONE_NS
from snap.repo.prune_plan import Limits
from snap.repo.repository import (
    INDEX_PREFIX,
    SNAPSHOT_PREFIX,
    Repository,
    open_repository,
)
from snap.repo.snapshot import Snapshot
from snap.repo.survey import NeedsUnknown

from .conftest import FakeClock, Opener, back_up
from .dictsource import DictSource
from .pruning import ALL, assert_whole, files, let_go, noise, packs_of, prune, size_of

HALF_HOUR_NS = 31 * MINUTE_NS


@pytest.fixture
def as_writer(repository: Repository, open_again: Opener) -> Repository:
    repository.add_passphrase_slot(
        "writer", capability=Capability.WRITER, label="w", cost=MINIMUM_COST
    )
    return open_again("writer")


def test_what_no_snapshot_needs_is_marked_first_and_deleted_half_an_hour_later(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    before = packs_of(backend)
    let_go(repository, two[0])
    report = prune(repository)
    assert report.marked_bytes > 40_000
    assert report.deleted == 0
    assert before <= packs_of(backend), "nothing is deleted yet"
    report = prune(repository)
    assert report.deleted == 0, "it is not half an hour old"
    (waiting,) = report.waiting
    assert "not long ago" in waiting.reason
    assert 0 < waiting.until_ns - clock.now_ns <= 30 * MINUTE_NS
    clock.now_ns += HALF_HOUR_NS
    report = prune(repository)
    assert report.deleted_bytes > 40_000
    assert report.waiting == []
    assert not before <= packs_of(backend)
    assert_whole(repository, [(two[1], files(2))])


def test_now_deletes_at_once_where_nothing_else_is_at_work(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend
) -> None:
    let_go(repository, two[0])
    before = size_of(backend)
    report = prune(repository, now=True, limits=ALL)
    assert report.deleted_bytes > 40_000
    assert size_of(backend) < before - 40_000
    assert_whole(repository, [(two[1], files(2))])
    again = prune(repository, now=True, limits=ALL)
    assert (again.marked, again.deleted, again.unused_bytes) == (0, 0, 0)


@pytest.mark.parametrize("operation", ["backup", "replicate", "check"])
def test_now_is_refused_while_anything_is_at_work(
    repository: Repository, two: list[Snapshot], operation: str, clock: FakeClock
) -> None:
    other = Owner(operation, "elsewhere", 5)
    with (
        Lease(repository.backend, repository.keys, other, clock),
        pytest.raises(RepositoryLocked, match=f"{operation} on elsewhere"),
    ):
        prune(repository, now=True)


def test_of_two_prunes_the_second_is_refused(repository: Repository, clock: FakeClock) -> None:
    with (
        Lease(repository.backend, repository.keys, Owner("prune", "far", 7), clock),
        pytest.raises(RepositoryLocked, match="another prune"),
    ):
        prune(repository)


def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    let_go(repository, two[0])
    names = {stat.name for stat in backend.list("")}
    first = prune(repository, dry_run=True)
    assert {stat.name for stat in backend.list("")} == names
    assert first.marked_bytes == prune(repository).marked_bytes > 40_000
    clock.now_ns += HALF_HOUR_NS
    names = {stat.name for stat in backend.list("")}
    second = prune(repository, dry_run=True)
    assert {stat.name for stat in backend.list("")} == names
    assert second.deleted_bytes == prune(repository).deleted_bytes > 40_000


def test_packs_that_are_mostly_unused_are_moved_by_a_writer_and_stay_readable(
    repository: Repository, as_writer: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    # Files of one run share packs; the next snapshot keeps one small file of them.
    many = {b"%d" % n: noise(n, 4_000) for n in range(30)}
    first = back_up(repository, DictSource(many))
    kept = {b"7": many[b"7"]}
    second = back_up(repository, DictSource(kept))
    let_go(repository, first)
    before = size_of(backend)
    report = prune(as_writer)
    assert len(report.repacked.sources) > 0
    clock.now_ns += HALF_HOUR_NS
    prune(as_writer)
    assert size_of(backend) < before / 3
    assert_whole(repository, [(second, kept)])


def test_a_limit_on_moving_is_kept(
    repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    many = {b"%d" % n: noise(n, 4_000) for n in range(60)}
    first = back_up(repository, DictSource(many))
    kept = {name: data for name, data in many.items() if name.endswith(b"0")}
    second = back_up(repository, DictSource(kept))
    let_go(repository, first)
    report = prune(repository, limits=Limits(max_unused=0.0, max_repack_bytes=70_000))
    assert 0 < report.repacked.read_bytes <= 70_000
    assert report.unused_bytes > 0
    assert_whole(repository, [(second, kept)])


def test_many_small_packs_and_index_objects_become_few(
    repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    contents = []
    for seed in range(70):
        data = {b"a": noise(seed, 1500)}
        contents.append((back_up(repository, DictSource(data, name=f"s{seed}")), data))
    before = len(packs_of(backend))
    assert before >= 140
    prune(repository)
    clock.now_ns += HALF_HOUR_NS
    prune(repository)
    assert len(packs_of(backend)) < before / 5
    assert len(list(backend.list(INDEX_PREFIX))) < 10
    assert_whole(repository, contents)


def test_what_an_interrupted_backup_left_goes_unless_something_is_at_work(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    names = packs_of(backend)
    data = sorted(name for name in names if name.startswith("data/"))[0]
    orphan = backend.get(data) + b"x"
    name = pack_name(1, object_id(orphan))
    backend.put(name, orphan)
    with Lease(backend, repository.keys, Owner("backup", "far", 3), clock):
        assert prune(repository).marked == 0
    assert prune(repository).marked == 1
    clock.now_ns += HALF_HOUR_NS
    assert prune(repository).deleted == 1
    assert packs_of(backend) == names


@pytest.mark.parametrize("prefix", [SNAPSHOT_PREFIX, INDEX_PREFIX, "meta/"])
def test_nothing_is_deleted_while_something_damaged_hides_what_is_needed(
    repository: Repository,
    two: list[Snapshot],
    backend: MemoryBackend,
    open_again: Opener,
    prefix: str,
    clock: FakeClock,
) -> None:
    let_go(repository, two[0])
    prune(repository)
    clock.now_ns += HALF_HOUR_NS
    for stat in list(backend.list(prefix)):
        stored = backend.get(stat.name)
        spoiled = stored[:44] + bytes(len(stored) - 44) if prefix == "meta/" else stored[:-1]
        backend.put(stat.name, spoiled)
    names = packs_of(backend)
    with pytest.raises(NeedsUnknown, match="nothing is deleted"):
        prune(open_again())
    assert packs_of(backend) == names


def test_data_that_is_lost_does_not_keep_the_rest_from_being_pruned(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    let_go(repository, two[0])
    needed = [p for p in packs_of(backend) if p.startswith("data/")]
    prune(repository)
    doomed = {id_.hex() for id_ in list_doomed(backend, repository.keys).pack_ids()}
    gone = next(p for p in needed if p[-64:] not in doomed)
    backend.delete(gone)
    clock.now_ns += HALF_HOUR_NS
    report = prune(repository)
    assert report.deleted > 0
    assert any(gone[-64:] in lost for lost in report.lost)


def test_what_the_store_does_not_let_go_stays_doomed_and_is_tried_again(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    let_go(repository, two[0])
    prune(repository)
    clock.now_ns += HALF_HOUR_NS
    faulty = FaultyBackend(
        backend, Fault("delete", "data/", times=None, error=lambda: ObjectRetained("retained"))
    )
    repository.backend = faulty
    report = prune(repository)
    assert report.refused
    assert "does not let" in report.waiting[0].reason
    assert_whole(repository, [(two[1], files(2))])
    faulty.faults.clear()
    report = prune(repository)
    assert report.deleted > 0
    assert report.waiting == []
    assert_whole(repository, [(two[1], files(2))])


def test_an_index_object_that_must_stay_keeps_its_packs(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    let_go(repository, two[0])
    prune(repository)
    clock.now_ns += HALF_HOUR_NS
    names = packs_of(backend)
    repository.backend = FaultyBackend(
        backend, Fault("delete", INDEX_PREFIX, times=None, error=lambda: ObjectRetained("retained"))
    )
    report = prune(repository)
    assert report.deleted == 0
    assert packs_of(backend) == names
    assert_whole(repository, [(two[1], files(2))])
    before = len(list(backend.list(INDEX_PREFIX)))
    prune(repository)
    assert len(list(backend.list(INDEX_PREFIX))) == before, "nothing is written again and again"
    repository.backend = backend
    assert prune(repository).deleted > 0
    assert_whole(repository, [(two[1], files(2))])


def test_tombstones_stay_for_a_week_and_go_then(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    let_go(repository, two[0])
    prune(repository, now=True)
    doomed = list_doomed(backend, repository.keys)
    assert doomed.pack_ids()
    clock.now_ns += TOMBSTONE_NS
    prune(repository)
    left = list_doomed(backend, repository.keys)
    assert left.pack_ids() == frozenset()
    assert left.forgotten() == {two[0].id}


def test_marks_of_forgetting_become_one(
    repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    gone = [back_up(repository, DictSource({b"f": b"%d" % n})) for n in range(17)]
    back_up(repository, DictSource({b"f": b"stays"}))
    for snapshot in gone:
        let_go(repository, snapshot)
    prune(repository)
    doomed = list_doomed(backend, repository.keys)
    assert len([record for record in doomed.records if record.snapshots]) == 1
    assert doomed.forgotten() == {snapshot.id for snapshot in gone}
    for again in range(2):
        more = [back_up(repository, DictSource({b"f": b"%d" % n}), time_ns=n) for n in range(16)]
        for snapshot in more:
            let_go(repository, snapshot)
        gone += more
        prune(repository)
        (mark,) = [r for r in list_doomed(backend, repository.keys).records if not r.packs]
        assert mark.snapshots == {snapshot.id for snapshot in gone}
        assert len(mark.replaces) == 17, f"those of the marks before it are gone: {again}"


def test_a_damaged_doomed_object_is_told_and_harms_nothing(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    let_go(repository, two[0])
    prune(repository)
    for stat in list(backend.list(DOOMED_PREFIX)):
        backend.put(stat.name, backend.get(stat.name)[:-1])
    clock.now_ns += HALF_HOUR_NS
    snapshot = back_up(repository, DictSource(files(1)))
    report = prune(repository)
    assert any("damaged" in warning for warning in report.warnings)
    assert report.deleted == 0
    assert_whole(repository, [(snapshot, files(1)), (two[1], files(2))])


def test_a_prune_that_dies_at_any_operation_loses_nothing_and_the_next_goes_on(
    open_again: Opener,
    repository: Repository,
    backend: MemoryBackend,
    recovery_key: str,
    clock: FakeClock,
) -> None:
    many = {b"%d" % n: noise(n, 4_000) for n in range(20)}
    kept = {b"3": many[b"3"]}
    first = back_up(repository, DictSource(many))
    second = back_up(repository, DictSource(kept))
    third = back_up(repository, DictSource({b"x": noise(99)}))
    clock.now_ns += HALF_HOUR_NS
    # There is something ripe to be deleted, something to be marked, and something to be moved.
    let_go(repository, third)
    prune(repository)
    let_go(repository, first)
    clock.now_ns += HALF_HOUR_NS
    objects = {stat.name: backend.get(stat.name) for stat in backend.list("")}
    now_ns = clock.now_ns
    at, died = 0, True
    while died:
        at += 1
        clock.now_ns = now_ns - HALF_HOUR_NS
        store = MemoryBackend(clock=clock)
        for name, stored in objects.items():
            store.put(name, stored)
        clock.now_ns = now_ns
        faulty = FaultyBackend(store)
        with open_repository(faulty, recovery_key, cache_dir=None, clock=clock) as dying:
            death = Fault("*", at=at, times=None)
            faulty.faults.append(death)
            with contextlib.suppress(BackendUnavailable):
                report = prune(dying)
            died = death.calls >= at
            faulty.faults.clear()
        clock.now_ns += HALF_HOUR_NS
        with open_repository(store, recovery_key, cache_dir=None, clock=clock) as after:
            assert_whole(after, [(second, kept)])
            for _ in range(3):
                prune(after)
                clock.now_ns += HALF_HOUR_NS
            assert size_of(store) < 10_000
            assert_whole(after, [(second, kept)])
    assert report.deleted > 0
    assert report.repacked.packs > 0
    assert at > 40


def test_what_a_forget_that_was_killed_left_is_removed_half_an_hour_later(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    """In a copy no backup does it, and packs in no index would stay there for ever."""
    stray = b"left by something that was killed"
    id_ = object_id(stray)
    backend.put(pack_name(1, id_), stray)
    killed = [Owner(name, "host", 2**22 + 1) for name in ("forget", "hold", "tag", "backup")]
    for owner in killed:
        Lease(backend, repository.keys, owner, clock)._put()
    prune(repository)
    left = [state.owner for state in list_leases(backend, repository.keys)]
    assert set(left) == set(killed), "another container of that name may still run them"
    clock.now_ns += HALF_HOUR_NS
    prune(repository)
    (backups,) = list_leases(backend, repository.keys)
    assert backups.owner == killed[-1], "what it left is adopted by the next backup"
    backend.delete(backups.name)
    assert prune(repository).marked == 1


@pytest.mark.parametrize("days", [0, 30])
def test_a_pack_that_reappears_is_deleted_again_and_serves_nobody(
    repository: Repository,
    two: list[Snapshot],
    backend: MemoryBackend,
    clock: FakeClock,
    days: int,
) -> None:
    stored = {name: backend.get(name) for name in packs_of(backend)}
    let_go(repository, two[0])
    prune(repository, now=True)
    gone = stored.keys() - packs_of(backend)
    clock.now_ns += days * 24 * 60 * MINUTE_NS
    prune(repository)
    for name in gone:
        backend.put(name, stored[name])
    third = back_up(repository, DictSource(files(1)))
    assert third.statistics.bytes_new >= 40_000, "it does not count on them"
    for _ in range(2):
        prune(repository)
        clock.now_ns += HALF_HOUR_NS
    assert not gone & packs_of(backend)
    assert_whole(repository, [(third, files(1)), (two[1], files(2))])
