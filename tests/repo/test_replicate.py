"""Copies end byte-equal and never show a snapshot that cannot be restored."""

import threading
from collections.abc import Callable, Sequence

import pytest

from snap.backends.base import (
    BackendError,
    BackendUnavailable,
    ObjectRetained,
    StorageFull,
)
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.backends.readonly import ReadOnlyBackend
from snap.errors import IntegrityError, SnapError
from snap.repo import copy_needs
from snap.repo.catalog import list_snapshots
from snap.repo.clock import system_clock
from snap.repo.copy import ForeignRepository
from snap.repo.doomed import Doomed, put_doomed
from snap.repo.ids import BlobId
from snap.repo.keys import MINIMUM_COST, Capability
from snap.repo.lease import LEASE_PREFIX, Lease, Owner, RepositoryLocked
from snap.repo.live import LiveBlobs
from snap.repo.replicate import OPERATION
from snap.repo.repository import Repository, create_repository, open_repository

from .conftest import SMALL, Opener, back_up, change_tags
from .copies import DEAD, contents, errors, files, flip, names, new_copy, objects, replicate
from .dictsource import DictSource


@pytest.fixture
def filled(repository: Repository) -> Repository:
    for seed in (1, 2):
        back_up(repository, DictSource(files(seed)))
    return repository


def test_a_copy_becomes_equal_and_restores_alone(filled: Repository, recovery_key: str) -> None:
    place = new_copy(filled)
    report = replicate(filled, place)
    assert report.ok
    assert report.snapshots == 2
    assert report.packs == len(names(place, "data/", "meta/")) > 3
    assert report.bytes == sum(
        len(stored) for name, stored in objects(place).items() if not name.startswith(("READ", "k"))
    )
    assert objects(place) == objects(filled.backend)
    assert contents(place, recovery_key) == [files(1), files(2)]
    assert errors(place, recovery_key) == []
    assert not names(place, LEASE_PREFIX)
    assert not names(filled.backend, LEASE_PREFIX)


def test_only_what_is_new_is_put(filled: Repository) -> None:
    place = FaultyBackend(new_copy(filled))
    replicate(filled, place)
    place.calls.clear()
    assert replicate(filled, place).bytes == 0
    puts = [n for operation, n in place.calls if operation == "put"]
    assert all(name.startswith(LEASE_PREFIX) for name in puts)
    assert sum(operation == "list" for operation, _ in place.calls) == 8
    gets = [n for operation, n in place.calls if operation == "get"]
    assert [n for n in gets if not n.startswith(LEASE_PREFIX)] == ["config"]
    back_up(filled, DictSource(files(3)))
    assert replicate(filled, place).snapshots == 1
    assert objects(place) == objects(filled.backend)


def test_a_writer_key_is_enough(filled: Repository, open_again: Opener, recovery_key: str) -> None:
    filled.add_passphrase_slot("w", capability=Capability.WRITER, label="", cost=MINIMUM_COST)
    writer = open_again("w")
    place = new_copy(writer)
    assert replicate(writer, place).ok
    assert contents(place, recovery_key) == [files(1), files(2)]


def test_a_dry_run_says_what_would_be_put_and_puts_nothing(filled: Repository) -> None:
    place = FaultyBackend(new_copy(filled))
    place.calls.clear()
    told = replicate(filled, place, dry_run=True)
    assert not [name for operation, name in place.calls if operation in ("put", "delete")]
    done = replicate(filled, place)
    assert (told.packs, told.bytes, told.snapshots) == (done.packs, done.bytes, done.snapshots)


def test_what_is_cut_short_in_the_copy_is_put_again(filled: Repository) -> None:
    place = new_copy(filled)
    replicate(filled, place)
    for prefix in ("keys/", "data/", "meta/", "index/", "snapshots/"):
        name = names(place, prefix)[0]
        place.put(name, place.get(name)[:-3])
    assert replicate(filled, place).ok
    assert objects(place) == objects(filled.backend)


def test_an_object_that_is_damaged_here_is_never_put(filled: Repository, recovery_key: str) -> None:
    place = new_copy(filled)
    replicate(filled, place)
    back_up(filled, DictSource(files(3)))
    new = sorted(set(names(filled.backend, "data/")) - set(names(place, "data/")))
    flip(filled.backend, new[0])
    report = replicate(filled, place)
    assert [p.object for p in report.problems] == new[:1]
    assert new[0] not in names(place, "data/")
    # What needs it is not shown, what does not is.
    assert [s.id for s in report.held_back] == [list_snapshots(filled)[-1].id]
    assert contents(place, recovery_key) == [files(1), files(2)]
    back_up(filled, DictSource(files(4)))
    assert replicate(filled, place).snapshots == 1
    assert contents(place, recovery_key) == [files(1), files(2), files(4)]
    # As soon as it is whole again, the rest comes as well.
    flip(filled.backend, new[0])
    assert replicate(filled, place).ok
    assert objects(place) == objects(filled.backend)


def test_what_is_damaged_here_and_whole_there_keeps_nothing_back(filled: Repository) -> None:
    place = new_copy(filled)
    replicate(filled, place)
    flip(filled.backend, names(filled.backend, "data/")[0])
    back_up(filled, DictSource(files(3)))
    report = replicate(filled, place)
    assert report.ok
    assert report.snapshots == 1


@pytest.mark.parametrize("prefix", ["index/", "snapshots/", "keys/"])
def test_a_damaged_object_of_any_kind_is_named_and_harms_no_other(
    filled: Repository, recovery_key: str, prefix: str
) -> None:
    place = new_copy(filled)
    damaged = next(n for n in names(filled.backend, prefix) if filled.slot.id.hex() not in n)
    if prefix == "keys/":
        place.delete(damaged)
    flip(filled.backend, damaged)
    report = replicate(filled, place)
    assert [p.object for p in report.problems] == [damaged]
    assert damaged not in names(place, prefix)
    whole = {"index/": 1, "snapshots/": 1, "keys/": 2}[prefix]
    assert len(contents(place, recovery_key)) == whole
    assert errors(place, recovery_key) == []


def test_a_snapshot_whose_index_was_lost_here_is_not_shown_there(
    filled: Repository, open_again: Opener, recovery_key: str
) -> None:
    known = set(names(filled.backend, "index/"))
    back_up(filled, DictSource(files(3)))
    [lost] = set(names(filled.backend, "index/")) - known
    filled.backend.delete(lost)
    place = new_copy(filled)
    report = replicate(open_again(), place)
    assert [s.id for s in report.held_back] == [list_snapshots(filled)[-1].id]
    assert not report.ok
    assert contents(place, recovery_key) == [files(1), files(2)]


def test_verify_finds_and_replaces_what_rotted_in_the_copy(filled: Repository) -> None:
    place = new_copy(filled)
    replicate(filled, place)
    for prefix in ("keys/", "data/", "meta/", "index/", "snapshots/"):
        flip(place, names(place, prefix)[-1])
    assert replicate(filled, place).bytes == 0
    report = replicate(filled, place, verify=True)
    assert report.ok
    assert report.bytes_read == sum(map(len, objects(place).values())) - len(place.get("README"))
    assert objects(place) == objects(filled.backend)


def test_verify_names_what_rotted_and_cannot_be_replaced(filled: Repository) -> None:
    place = new_copy(filled)
    replicate(filled, place)
    lost = names(place, "data/")[0]
    flip(place, lost)
    flip(filled.backend, lost)
    report = replicate(filled, place, verify=True)
    assert {p.object for p in report.problems} == {lost}


def test_a_place_that_does_not_give_back_what_it_took_is_told(filled: Repository) -> None:
    spoiling = Fault("put", "data/", times=None, error=None, change=lambda data: data[:-1] + b"?")
    place = FaultyBackend(new_copy(filled), spoiling)
    with pytest.raises(IntegrityError, match="does not give back what was just stored"):
        replicate(filled, place, verify=True)
    assert not names(place, "snapshots/")


def test_a_deleted_snapshot_stays_in_the_copy_and_is_told(
    filled: Repository, recovery_key: str
) -> None:
    place = new_copy(filled)
    replicate(filled, place)
    filled.backend.delete(names(filled.backend, "snapshots/")[0])
    report = replicate(filled, place)
    assert report.ok
    assert report.ahead == 1
    assert len(contents(place, recovery_key)) == 2


def test_new_tags_replace_the_former_revision_in_the_copy(
    filled: Repository, recovery_key: str
) -> None:
    place = new_copy(filled)
    replicate(filled, place)
    tagged = change_tags(filled, list_snapshots(filled)[0], add=["a"])
    change_tags(filled, tagged, add=["b"])
    report = replicate(filled, place)
    assert (report.snapshots, report.removed, report.ahead) == (1, 1, 0)
    assert objects(place) == objects(filled.backend)
    # Tags that the copy alone has are newer, and stay.
    with open_repository(place, recovery_key, cache_dir=None) as opened:
        change_tags(opened, list_snapshots(opened)[0], add=["c"])
        report = replicate(filled, place)
        assert (report.snapshots, report.removed, report.ahead) == (0, 0, 1)
        assert list_snapshots(opened)[0].tags == ("a", "b", "c")


def test_a_former_revision_that_cannot_be_deleted_yet_is_told(filled: Repository) -> None:
    inner = new_copy(filled)
    replicate(filled, inner)
    change_tags(filled, list_snapshots(filled)[0], add=["a"])
    place = FaultyBackend(
        inner, Fault("delete", "snapshots/", error=lambda: ObjectRetained("kept"))
    )
    report = replicate(filled, place)
    assert report.ok
    assert report.warnings == ["the former revision of a snapshot stays in the copy: kept"]
    assert replicate(filled, inner).removed == 1


def test_a_key_slot_that_was_removed_stays_in_the_copy_and_is_told(filled: Repository) -> None:
    slot = filled.add_passphrase_slot(
        "x", capability=Capability.WRITER, label="", cost=MINIMUM_COST
    )
    place = new_copy(filled)
    filled.remove_slot(slot.id.hex())
    assert replicate(filled, place).extra_slots == [f"keys/{slot.id.hex()}"]


def test_another_repository_is_left_alone(filled: Repository) -> None:
    other = MemoryBackend()
    create_repository(other, "other", label="", cost=MINIMUM_COST)
    before = objects(other)
    with pytest.raises(ForeignRepository):
        replicate(filled, other)
    assert objects(other) == before


def test_leases_of_killed_runs_are_removed_and_others_stay(filled: Repository) -> None:
    place = new_copy(filled)
    left = Lease(filled.backend, filled.keys, Owner("repair", "host", 2**22 + 1), filled.clock)
    left._put()
    dead = Lease(place, filled.keys, Owner(OPERATION, "host", 2**22 + 1), filled.clock)
    dead._put()
    other = Lease(place, filled.keys, Owner("backup", "host", 2**22 + 1), filled.clock)
    other._put()
    replicate(filled, place)
    assert names(place, LEASE_PREFIX) == [other.name]
    assert names(filled.backend, LEASE_PREFIX) == []


def test_a_backup_that_runs_meanwhile_harms_nothing(
    filled: Repository, open_again: Opener, recovery_key: str
) -> None:
    place = new_copy(filled)
    other = open_again()
    stop = threading.Event()

    def keep_backing_up() -> None:
        seed = 10
        while not stop.is_set():
            back_up(other, DictSource(files(seed)))
            seed += 1

    thread = threading.Thread(target=keep_backing_up)
    thread.start()
    try:
        for _ in range(5):
            assert replicate(filled, place).ok
            assert errors(place, recovery_key) == []
    finally:
        stop.set()
        thread.join()
    assert replicate(filled, place).ok
    assert objects(place) == objects(filled.backend)


def test_two_at_once_into_one_copy_harm_nothing(filled: Repository, open_again: Opener) -> None:
    place = new_copy(filled)
    failures: list[BaseException] = []

    def run(repository: Repository) -> None:
        try:
            replicate(repository, place)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(open_again(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert objects(place) == objects(filled.backend)


@pytest.fixture(scope="module")
def small() -> tuple[MemoryBackend, str]:
    backend = MemoryBackend()
    _, recovery = create_repository(backend, "p", label="", cost=MINIMUM_COST, parameters=SMALL)
    with open_repository(backend, recovery, cache_dir=None) as repository:
        back_up(repository, DictSource(files(1)))
        back_up(repository, DictSource(files(2)))
    return backend, recovery


@pytest.mark.parametrize("side", ["repository", "copy"])
@pytest.mark.parametrize("error", [StorageFull, BackendUnavailable])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after it was done"])
def test_a_run_whose_nth_operation_fails_shows_no_broken_snapshot_and_is_taken_up_again(
    small: tuple[MemoryBackend, str], error: type[BackendError], side: str, late: bool
) -> None:
    backend, recovery = small
    raised: Callable[[], BackendError] = lambda: error("injected")  # noqa: E731
    with open_repository(backend, recovery, cache_dir=None) as repository:
        for n in range(1, 200):
            place = new_copy(repository)
            fault = Fault("*", at=n, error=raised, late=late)
            faulty = FaultyBackend(backend if side == "repository" else place, fault)
            if side == "repository":
                repository.backend = faulty
            try:
                replicate(repository, place if side == "repository" else faulty, owner=DEAD)
            except SnapError:
                pass
            finally:
                repository.backend = backend
            seen = contents(place, recovery)
            assert all(found in (files(1), files(2)) for found in seen), n
            assert replicate(repository, place).ok, n
            assert objects(place) == objects(backend), n
            if fault.calls < n:
                return
    pytest.fail("more than 200 operations")


def test_a_cache_that_is_begun_anew_meanwhile_puts_no_snapshot_that_is_not_whole(
    filled: Repository, recovery_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found to be needed before that is forgotten."""
    place = new_copy(filled)

    class Forgetful(LiveBlobs):
        def follow(self, where: str, subtree: Sequence[BlobId]) -> None:
            super().follow(where, subtree)
            monkeypatch.undo()
            filled.cache.clear()
            filled.load_index()

    monkeypatch.setattr(copy_needs, "LiveBlobs", Forgetful)
    report = replicate(filled, place)
    # The first snapshot's was found before, the second's after that.
    assert len(report.held_back) == 1
    assert len(contents(place, recovery_key)) == 1
    assert errors(place, recovery_key) == []
    assert any("cache" in warning for warning in report.warnings)
    assert replicate(filled, place).ok
    assert contents(place, recovery_key) == [files(1), files(2)]


def test_a_mark_in_the_copy_that_cannot_be_read_stops_it_only_beside_a_prune_there(
    filled: Repository,
) -> None:
    place = new_copy(filled)
    flip(place, put_doomed(place, filled.keys, Doomed(1)).name)
    with (
        Lease(place, filled.keys, Owner("prune", "far", 2), system_clock),
        pytest.raises(RepositoryLocked, match="prune is at work"),
    ):
        replicate(filled, place)
    assert names(place, "snapshots/") == []
    report = replicate(filled, place)
    assert report.snapshots == 2
    assert any("counts as held" in text for text in report.warnings)


@pytest.mark.parametrize("is_full", [False, True], ids=["read-only", "full"])
def test_a_repository_that_nothing_can_be_written_to_is_copied(
    filled: Repository, recovery_key: str, is_full: bool
) -> None:
    place = new_copy(filled)
    full = Fault("put", error=lambda: StorageFull("no space left"), times=None)
    store = FaultyBackend(filled.backend, full) if is_full else ReadOnlyBackend(filled.backend)
    with open_repository(store, recovery_key, cache_dir=None) as repository:
        assert replicate(repository, place).ok
    assert contents(place, recovery_key) == [files(1), files(2)]
    down = Fault("put", error=lambda: BackendUnavailable("gone"), times=None)
    with (
        open_repository(FaultyBackend(store, down), recovery_key, cache_dir=None) as repository,
        pytest.raises(BackendUnavailable),
    ):
        replicate(repository, place)
