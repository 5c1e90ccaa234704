"""Copies that forget and prune by themselves get what they need and no more."""

import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.catalog import list_snapshots
from snap.repo.clock import MINUTE_NS
from snap.repo.copy import create_copy
from snap.repo.doomed import list_doomed
from snap.repo.ids import Kind, ObjectId
from snap.repo.index import join_columns
from snap.repo.lease import Owner
from snap.repo.progress import SilentReporter
from snap.repo.repair import RepairReport, run_repair, unlock_either
from snap.repo.repository import Repository, open_repository

from .conftest import FakeClock, back_up
from .copies import errors, replicate
from .dictsource import DictSource
from .pruning import content, files, let_go, noise, packs_of, prune, size_of

HALF_HOUR_NS = 31 * MINUTE_NS


@pytest.fixture
def place(repository: Repository, clock: FakeClock) -> MemoryBackend:
    store = MemoryBackend(clock=clock)
    create_copy(repository, store)
    return store


def prune_copy(place: MemoryBackend, credential: str, clock: FakeClock, keep: int) -> None:
    """Keep the last snapshots of a copy, and give the space back."""
    with open_repository(place, credential, cache_dir=None, clock=clock) as copy:
        let_go(copy, *list_snapshots(copy)[:-keep])
        prune(copy)
        clock.now_ns += HALF_HOUR_NS
        prune(copy)


def doom_the_first(place: MemoryBackend, credential: str, clock: FakeClock) -> frozenset[ObjectId]:
    """Have a copy forget its first snapshot and mark its packs, half an hour later."""
    clock.now_ns += HALF_HOUR_NS
    with open_repository(place, credential, cache_dir=None, clock=clock) as copy:
        let_go(copy, list_snapshots(copy)[0])
        prune(copy)
        return list_doomed(place, copy.keys).pack_ids()


def restored(place: MemoryBackend, credential: str, clock: FakeClock) -> list[dict[bytes, bytes]]:
    with open_repository(place, credential, cache_dir=None, clock=clock) as copy:
        return [content(copy, snapshot) for snapshot in list_snapshots(copy)]


def test_what_a_copy_pruned_is_not_put_again_and_what_is_new_is(
    repository: Repository, place: MemoryBackend, recovery_key: str, clock: FakeClock
) -> None:
    for seed in (1, 2, 3):
        back_up(repository, DictSource(files(seed)))
    assert replicate(repository, place).ok
    clock.now_ns += HALF_HOUR_NS
    prune_copy(place, recovery_key, clock, keep=1)
    before = size_of(place)
    assert before < size_of(repository.backend) - 60_000
    fourth = back_up(repository, DictSource(files(4)))
    report = replicate(repository, place, keeps=lambda snapshots: {snapshots[-2].id, fourth.id})
    assert report.ok
    assert report.snapshots == 1
    assert size_of(place) - before < 50_000, "only what is new"
    assert restored(place, recovery_key, clock) == [files(3), files(4)]
    assert errors(place, recovery_key) == []


def test_what_is_about_to_be_deleted_there_or_was_goes_there_in_new_packs(
    repository: Repository, place: MemoryBackend, recovery_key: str, clock: FakeClock
) -> None:
    old = DictSource(files(1))
    back_up(repository, old)
    assert replicate(repository, place).ok
    back_up(repository, DictSource(files(2)))
    assert replicate(repository, place).ok
    doomed = doom_the_first(place, recovery_key, clock)
    assert doomed
    again = back_up(repository, old)
    report = replicate(repository, place, keeps=lambda snapshots: {again.id})
    assert report.ok
    assert list_doomed(place, repository.keys).pack_ids() == doomed, "once doomed, always doomed"
    assert restored(place, recovery_key, clock) == [files(2), files(1)]
    # They are deleted, and the names do not come back in the week after.
    clock.now_ns += HALF_HOUR_NS
    with open_repository(place, recovery_key, cache_dir=None, clock=clock) as copy:
        assert prune(copy).deleted > 0
    gone = {id_.hex() for id_ in doomed}
    assert errors(place, recovery_key) == []
    back_up(repository, DictSource({**files(1), b"more": noise(9)}))
    assert replicate(repository, place, keeps=lambda s: {s[-1].id}).ok
    assert not {name[-64:] for name in packs_of(place)} & gone
    assert restored(place, recovery_key, clock)[-1] == {**files(1), b"more": noise(9)}


def test_no_index_object_comes_that_names_what_a_prune_is_about_to_delete_there(
    repository: Repository, place: MemoryBackend, recovery_key: str, clock: FakeClock
) -> None:
    """Put after the prune had rewritten the index, it would name what is gone a moment later."""
    back_up(repository, DictSource(files(1)))
    assert replicate(repository, place).ok
    back_up(repository, DictSource(files(2)))
    assert replicate(repository, place).ok
    doomed = doom_the_first(place, recovery_key, clock)
    back_up(repository, DictSource(files(3)))
    # As after a prune of the repository, which merges small index objects: one names all packs.
    repository.load_index()
    packs = [repository.cache.columns_of(pack.id) for pack in repository.cache.packs()]
    assert doomed < {pack.id for pack in packs if pack is not None}
    for name in repository.names("index/"):
        repository.backend.delete(name)
    merged = repository.put_object("index/", Kind.INDEX, join_columns([p for p in packs if p]))
    report = replicate(repository, place, keeps=lambda snapshots: {snapshots[-1].id})
    assert report.ok
    assert report.snapshots == 1
    assert f"index/{merged.hex()}" not in {stat.name for stat in place.list("index/")}
    assert restored(place, recovery_key, clock) == [files(2), files(3)]
    assert replicate(repository, place, keeps=lambda snapshots: {snapshots[-1].id}).bytes == 0


def test_nothing_is_put_twice_when_nothing_is_new(
    repository: Repository, place: MemoryBackend, recovery_key: str, clock: FakeClock
) -> None:
    for seed in range(20):
        back_up(repository, DictSource({b"f": noise(seed, 500)}))
    assert replicate(repository, place).ok
    with open_repository(place, recovery_key, cache_dir=None, clock=clock) as copy:
        prune(copy)
        clock.now_ns += HALF_HOUR_NS
        prune(copy)
    names = {stat.name for stat in place.list("")}
    report = replicate(repository, place)
    assert report.bytes == 0
    assert {stat.name for stat in place.list("")} == names


def test_a_prune_of_the_repository_does_not_disturb_its_copies(
    repository: Repository, place: MemoryBackend, recovery_key: str, clock: FakeClock
) -> None:
    snapshots = [back_up(repository, DictSource(files(seed))) for seed in (1, 2, 3)]
    assert replicate(repository, place).ok
    clock.now_ns += HALF_HOUR_NS
    let_go(repository, snapshots[0])
    prune(repository, now=True)
    assert replicate(repository, place).ok
    assert restored(place, recovery_key, clock) == [files(1), files(2), files(3)]
    assert errors(place, recovery_key) == []


def heal(
    target: MemoryBackend, source: MemoryBackend, credential: str, clock: FakeClock
) -> RepairReport:
    secrets = unlock_either(target, source, credential)
    owner = Owner("repair", "host", 1)
    return run_repair(target, source, secrets, SilentReporter(), owner=owner, clock=clock)


def test_repair_brings_back_what_is_lost_and_neither_what_was_forgotten_nor_what_was_pruned(
    repository: Repository,
    backend: MemoryBackend,
    place: MemoryBackend,
    recovery_key: str,
    clock: FakeClock,
) -> None:
    snapshots = [back_up(repository, DictSource(files(seed))) for seed in (1, 2, 3)]
    assert replicate(repository, place).ok
    clock.now_ns += HALF_HOUR_NS
    let_go(repository, snapshots[0])
    prune(repository, now=True)
    before = {stat.name for stat in backend.list("") if not stat.name.startswith("checks/")}
    report = heal(backend, place, recovery_key, clock)
    assert (report.healed, report.left) == ([], [])
    after = {stat.name for stat in backend.list("") if not stat.name.startswith("checks/")}
    assert after == before
    # One that was not forgotten is lost, as is a pack of it.
    backend.delete(f"snapshots/{snapshots[1].id.hex()}")
    for gone in list(packs_of(backend))[::2]:
        # Some of them prune has made: the copy has the same blobs in others.
        backend.delete(gone)
    report = heal(backend, place, recovery_key, clock)
    assert report.returned == [f"snapshots/{snapshots[1].id.hex()}"]
    assert report.left == []
    assert restored(backend, recovery_key, clock) == [files(2), files(3)]
    prune(repository, now=True)
    assert errors(backend, recovery_key) == []


def test_repair_brings_back_index_objects_only_where_something_needs_them(
    repository: Repository,
    backend: MemoryBackend,
    place: MemoryBackend,
    recovery_key: str,
    clock: FakeClock,
) -> None:
    for seed in (1, 2):
        back_up(repository, DictSource(files(seed)))
    assert replicate(repository, place).ok
    for stat in list(backend.list("index/")):
        backend.delete(stat.name)
    report = heal(backend, place, recovery_key, clock)
    assert report.ok
    assert any(problem.object.startswith("index/") for problem in report.healed)
    assert restored(backend, recovery_key, clock) == [files(1), files(2)]
