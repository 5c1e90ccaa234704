"""What a repository can be repaired from that has no copy: itself."""

import contextlib
import random
from dataclasses import replace
from typing import Unpack

import pytest

from snap.backends.base import BackendError, Buffer, ObjectRetained, PutOptions
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.errors import SnapError
from snap.repo.aside import ASIDE_PREFIX
from snap.repo.catalog import list_snapshots
from snap.repo.check import run_check
from snap.repo.clock import system_clock
from snap.repo.doomed import Doomed, DoomedPack, put_doomed
from snap.repo.ids import ObjectId, object_id
from snap.repo.keys import MINIMUM_COST, Capability
from snap.repo.lease import Lease, Owner, RepositoryLocked
from snap.repo.progress import SilentReporter
from snap.repo.rebuild import RebuildOptions, RebuildReport, run_rebuild
from snap.repo.repository import create_repository, open_repository

from .conftest import SMALL, back_up
from .copies import contents, errors, files, flip, let_index_lie, names, objects
from .dictsource import DictSource

Place = tuple[MemoryBackend, str]
OPTIONS = RebuildOptions(Owner("repair", "host", 1), read_data=True)


@pytest.fixture(scope="module")
def original() -> Place:
    backend = MemoryBackend()
    _, recovery = create_repository(backend, "p", label="", cost=MINIMUM_COST, parameters=SMALL)
    with open_repository(backend, recovery, cache_dir=None) as repository:
        for seed in (1, 2):
            back_up(repository, DictSource(files(seed)))
        repository.add_passphrase_slot(
            "writer", capability=Capability.WRITER, label="w", cost=MINIMUM_COST
        )
    return backend, recovery


@pytest.fixture
def place(original: Place) -> Place:
    return clone(original[0]), original[1]


def clone(backend: MemoryBackend) -> MemoryBackend:
    made = MemoryBackend()
    for stat in backend.list(""):
        made.put(stat.name, backend.get(stat.name))
    return made


def rebuild(
    backend: MemoryBackend | FaultyBackend, credential: str, options: RebuildOptions = OPTIONS
) -> RebuildReport:
    with open_repository(backend, credential, cache_dir=None) as repository:
        return run_rebuild(repository, options, SilentReporter())


def largest(backend: MemoryBackend) -> str:
    """Return the name of the largest data pack: the last of a backup may hold one blob."""
    return max(names(backend, "data/"), key=lambda name: len(backend.get(name)))


def all_bytes(backend: MemoryBackend) -> set[bytes]:
    return {data for name, data in objects(backend).items() if not name.startswith("leases/")}


def test_where_all_is_whole_nothing_is_done(place: Place) -> None:
    backend, recovery = place
    before = objects(backend)
    report = rebuild(backend, recovery)
    assert report == RebuildReport(snapshots=2, bytes_read=report.bytes_read, losses=report.losses)
    assert report.ok
    assert objects(backend) == before


@pytest.mark.parametrize("credential", ["full", "writer"])
def test_a_lost_index_is_rebuilt_from_the_packs_also_with_a_writer_key(
    place: Place, credential: str
) -> None:
    backend, recovery = place
    lost = names(backend, "index/")
    for name in lost[1:]:
        backend.delete(name)
    flip(backend, lost[0])
    damaged = backend.get(lost[0])
    options = replace(OPTIONS, read_data=False)
    report = rebuild(backend, recovery if credential == "full" else "writer", options)
    assert report.ok
    assert report.indexed == names(backend, "data/", "meta/")
    assert report.unread == len(names(backend, "data/"))
    assert [p.object for p in report.aside] == [lost[0]]
    assert damaged in [backend.get(name) for name in names(backend, ASIDE_PREFIX)]
    assert errors(backend, recovery) == []
    assert contents(backend, recovery) == [files(1), files(2)]


def test_a_pack_whose_bytes_are_not_its_name_s_is_not_trusted(place: Place) -> None:
    backend, recovery = place
    for name in names(backend, "index/"):
        backend.delete(name)
    pack = largest(backend)
    flip(backend, pack)
    report = rebuild(backend, recovery)
    assert pack not in report.indexed
    assert pack in [p.object for p in report.aside]
    assert report.blobs_saved
    assert report.blobs_lost == 1
    assert {lost.path for lost in report.losses.paths} <= {(b"a",), (b"b",)}


def test_whole_blobs_of_a_damaged_pack_are_saved_and_the_rest_is_told_by_path(
    place: Place,
) -> None:
    backend, recovery = place
    pack = largest(backend)
    flip(backend, pack)
    damaged = backend.get(pack)
    report = rebuild(backend, recovery)
    assert not report.ok
    assert report.blobs_lost == 1
    assert report.blobs_saved > 1
    assert pack not in names(backend, "data/")
    assert damaged in all_bytes(backend)
    [lost] = report.losses.paths
    assert lost.problem.startswith("blob ")
    with open_repository(backend, recovery, cache_dir=None) as repository:
        checked = run_check(repository, read_fraction=1, reporter=SilentReporter())
    assert [(e.snapshot.id, e.path) for e in checked.losses.paths] == [
        (lost.snapshot.id, lost.path)
    ]
    assert all(p.object.startswith("snapshot ") for p in checked.errors)


def test_a_writer_key_leaves_a_damaged_data_pack_where_it_is(place: Place) -> None:
    backend, recovery = place
    pack = largest(backend)
    flip(backend, pack)
    before = objects(backend)
    report = rebuild(backend, "writer")
    assert not report.ok
    assert [p.object for p in report.left] == [pack]
    assert "writer key" in report.left[0].problem
    assert objects(backend) == before
    assert rebuild(backend, recovery).blobs_saved


@pytest.mark.parametrize("credential", ["full", "writer"])
def test_what_surrounds_the_blobs_is_made_anew_to_the_very_byte(
    place: Place, credential: str
) -> None:
    backend, recovery = place
    pack = names(backend, "data/")[0]
    good = backend.get(pack)
    # Changed, not set: what seals the directory may be any byte.
    changed = good[:-13] + bytes([good[-13] ^ 1]) + good[-12:]
    for damaged in (b"X" + good[1:], good[:-1], changed, good + b"more"):
        backend.put(pack, damaged)
        report = rebuild(backend, recovery if credential == "full" else "writer")
        assert report.ok
        assert [p.object for p in report.healed] == [pack]
        assert backend.get(pack) == good
        assert damaged in all_bytes(backend)


def test_lost_packs_leave_the_index_and_the_next_backup_stores_their_blobs_again(
    place: Place,
) -> None:
    backend, recovery = place
    chance = random.Random(3)
    packs = names(backend, "data/", "meta/")
    lost, broken = chance.sample(packs, 2)
    backend.delete(lost)
    backend.put(broken, chance.randbytes(len(backend.get(broken))))
    report = rebuild(backend, recovery)
    assert [p.object for p in report.gone] == [lost]
    assert report.losses.count
    with open_repository(backend, recovery, cache_dir=None) as repository:
        for seed in (1, 2):
            back_up(repository, DictSource(files(seed)), full=True)
    assert contents(backend, recovery) == [files(1), files(2), files(1), files(2)]
    assert errors(backend, recovery) == []


def test_a_lost_pack_is_healed_by_a_backup_without_any_repair(place: Place) -> None:
    backend, recovery = place
    for name in names(backend, "data/"):
        backend.delete(name)
    with open_repository(backend, recovery, cache_dir=None) as repository:
        for seed in (1, 2):
            back_up(repository, DictSource(files(seed)), full=True)
    assert contents(backend, recovery) == [files(1), files(2), files(1), files(2)]


def test_an_index_that_says_other_than_a_pack_s_directory_is_replaced(place: Place) -> None:
    backend, recovery = place
    with open_repository(backend, recovery, cache_dir=None) as repository:
        let_index_lie(repository)
    assert errors(backend, recovery)
    report = rebuild(backend, recovery)
    assert report.ok
    assert len(report.aside) == 1
    assert errors(backend, recovery) == []
    assert contents(backend, recovery) == [files(1), files(2)]


def test_a_damaged_snapshot_is_set_aside_and_the_others_stay(place: Place) -> None:
    backend, recovery = place
    first, second = names(backend, "snapshots/")
    flip(backend, first)
    report = rebuild(backend, recovery)
    assert [p.object for p in report.aside] == [first]
    assert not report.ok
    assert names(backend, "snapshots/") == [second]
    assert len(contents(backend, recovery)) == 1
    assert rebuild(backend, recovery).ok


def test_doomed_packs_are_left_to_the_prune(place: Place) -> None:
    backend, recovery = place
    for name in names(backend, "index/"):
        backend.delete(name)
    doomed, broken, *rest = names(backend, "data/")
    flip(backend, broken)
    packs = {ObjectId(bytes.fromhex(name[-64:])): DoomedPack(1, 9) for name in (doomed, broken)}
    with open_repository(backend, recovery, cache_dir=None) as repository:
        put_doomed(backend, repository.keys, Doomed(1, packs))
    report = rebuild(backend, recovery)
    assert report.indexed == sorted(rest + names(backend, "meta/"))
    assert report.aside == []
    assert {doomed, broken} <= set(names(backend, "data/"))


@pytest.mark.parametrize("owner", ["prune", None])
def test_it_refuses_while_a_prune_runs_or_somebody_unknown(place: Place, owner: str | None) -> None:
    backend, recovery = place
    before = objects(backend)
    with contextlib.ExitStack() as stack:
        repository = stack.enter_context(open_repository(backend, recovery, cache_dir=None))
        if owner is None:
            backend.put("leases/" + "1e" * 32, b"no lease")
        else:
            other = Owner(owner, "elsewhere", 7)
            stack.enter_context(Lease(backend, repository.keys, other, system_clock))
        with pytest.raises(RepositoryLocked) as caught:
            run_rebuild(repository, OPTIONS, SilentReporter())
        assert caught.value.hint
    assert objects(backend) == before


def test_what_the_store_does_not_let_go_stays_and_is_told(place: Place) -> None:
    backend, recovery = place
    pack = largest(backend)
    flip(backend, pack)
    kept = Fault("delete", prefix="data/", times=None, error=lambda: ObjectRetained("kept"))
    report = rebuild(FaultyBackend(backend, kept), recovery)
    assert [p.object for p in report.left] == [pack]
    assert "does not let it go" in report.left[0].problem
    assert report.blobs_saved
    assert pack in names(backend, "data/")


@pytest.mark.parametrize("prefix", ["data/", "index/", "snapshots/"])
def test_what_was_damaged_on_its_way_only_stays_where_it_is(place: Place, prefix: str) -> None:
    backend, recovery = place
    before = objects(backend)
    once = Fault("get", prefix=prefix, error=None, change=lambda d: d[:-1] + bytes([d[-1] ^ 1]))
    report = rebuild(FaultyBackend(backend, once), recovery)
    assert not report.ok
    assert "read again" in report.left[0].problem
    after = objects(backend)
    assert before.items() <= after.items()
    assert not [name for name in after if name.startswith(ASIDE_PREFIX)]


def hints(backend: MemoryBackend, recovery: str) -> list[str]:
    with open_repository(backend, recovery, cache_dir=None) as repository:
        report = run_check(repository, read_fraction=1, reporter=SilentReporter())
        assert report.errors == []
        return report.hints


def put_mark(backend: MemoryBackend, recovery: str, packs: dict[ObjectId, DoomedPack]) -> str:
    with open_repository(backend, recovery, cache_dir=None) as repository:
        return put_doomed(backend, repository.keys, Doomed(1, packs)).name


def test_a_damaged_mark_of_a_prune_is_told_by_check_and_set_aside(place: Place) -> None:
    backend, recovery = place
    name = put_mark(backend, recovery, {ObjectId(b"p" * 32): DoomedPack(1, 5)})
    assert hints(backend, recovery) == []
    flip(backend, name)
    (told,) = hints(backend, recovery)
    assert told.startswith(f"{name}: damaged")
    assert "'snap repair' sets it aside" in told
    dry = rebuild(backend, recovery, replace(OPTIONS, dry_run=True))
    assert ([p.object for p in dry.aside], names(backend, "doomed/")) == ([name], [name])
    report = rebuild(backend, recovery)
    assert (report.ok, [p.object for p in report.aside]) == (True, [name])
    assert names(backend, "doomed/") == []
    assert len(names(backend, f"{ASIDE_PREFIX}doomed/")) == 1
    assert hints(backend, recovery) == []


def test_a_damaged_mark_stays_while_a_prune_may_go_by_it(place: Place) -> None:
    """One that began, read it and was paused, all after the repair looked for prunes."""
    backend, recovery = place
    name = put_mark(backend, recovery, {})
    flip(backend, name)
    with contextlib.ExitStack() as stack:
        repository = stack.enter_context(open_repository(backend, recovery, cache_dir=None))
        prune = Lease(backend, repository.keys, Owner("prune", "elsewhere", 7), system_clock)

        def begin(data: bytes) -> bytes:
            stack.enter_context(prune)
            return data

        seen = Fault("get", prefix="doomed/", error=None, change=begin)
        report = rebuild(FaultyBackend(backend, seen), recovery)
    assert [p.object for p in report.left] == [name]
    assert "a prune runs on elsewhere" in report.left[0].problem
    assert names(backend, "doomed/") == [name]


def test_a_mark_that_is_as_it_was_written_stays_though_it_cannot_be_read(place: Place) -> None:
    """A newer snap may have written it, and go by it."""
    backend, recovery = place
    stored = b"SNAPOBJ\0 of another time"
    name = f"doomed/{object_id(stored).hex()}"
    backend.put(name, stored)
    report = rebuild(backend, recovery)
    assert [p.object for p in report.left] == [name]
    assert names(backend, "doomed/") == [name]


def damaged_in_many_ways(place: Place, *, index: bool = True) -> MemoryBackend:
    backend = clone(place[0])
    data, meta = names(backend, "data/"), names(backend, "meta/")
    flip(backend, data[0])
    backend.delete(data[1])
    backend.put(data[2], backend.get(data[2])[:-5])
    flip(backend, meta[-1])
    if index:
        flip(backend, names(backend, "index/")[0])
    return backend


def readable(backend: MemoryBackend, recovery: str) -> set[tuple[bytes, bytes]]:
    """Return the snapshots with the paths of which nothing is lost."""
    with open_repository(backend, recovery, cache_dir=None) as repository:
        report = run_check(repository, read_fraction=1, reporter=SilentReporter())
    lost = {(e.snapshot.id, e.path[0] if e.path else b"") for e in report.losses.paths}
    ids = {bytes.fromhex(name[-64:]) for name in names(backend, "snapshots/")}
    whole = {id_ for id_ in ids if (id_, b"") not in lost}
    return {(id_, name) for id_ in whole for name in (b"a", b"b") if (id_, name) not in lost}


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_repair_whose_nth_operation_fails_loses_nothing_and_is_taken_up_again(
    place: Place, late: bool
) -> None:
    recovery = place[1]
    reference = damaged_in_many_ways(place)
    before = all_bytes(reference)
    was_readable = readable(reference, recovery)
    rebuild(reference, recovery)
    best = readable(reference, recovery)
    assert was_readable <= best
    for n in range(20, 400, 3):
        backend = damaged_in_many_ways(place)
        fault = Fault("*", at=n, times=None, error=lambda: BackendError("dead"), late=late)
        with contextlib.suppress(SnapError):
            rebuild(FaultyBackend(backend, fault), recovery)
        assert before <= all_bytes(backend)
        if n % 4 == 0:
            assert was_readable <= readable(backend, recovery)
        rebuild(backend, recovery)
        assert before <= all_bytes(backend)
        assert readable(backend, recovery) == best
        if fault.calls < n:
            return
    pytest.fail("more than 400 operations")


def test_two_repairs_at_once_end_as_one(place: Place) -> None:
    recovery = place[1]
    reference = damaged_in_many_ways(place)
    before = all_bytes(reference)
    rebuild(reference, recovery)
    backend = damaged_in_many_ways(place)

    class Second(FaultyBackend):
        """Runs a whole other repair in the middle of the first one."""

        ran = False

        def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
            super().put(name, data, **options)
            if name.startswith("index/") and not self.ran:
                self.ran = True
                rebuild(backend, recovery)

    rebuild(Second(backend), recovery)
    assert before <= all_bytes(backend)
    assert readable(backend, recovery) == readable(reference, recovery)


def test_a_backup_that_runs_meanwhile_is_whole(place: Place) -> None:
    backend, recovery = damaged_in_many_ways(place, index=False), place[1]

    class Busy(FaultyBackend):
        """Repairs when the backup has looked at the index and put its first pack."""

        ran = False

        def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
            super().put(name, data, **options)
            if name.startswith("data/") and not self.ran:
                self.ran = True
                rebuild(backend, recovery)

    busy = Busy(backend)
    with open_repository(backend, recovery, cache_dir=None) as repository:
        first = list_snapshots(repository)[0].id
    was_whole = {path for id_, path in readable(backend, recovery) if id_ == first}
    new = files(1) | {b"c": random.Random(4).randbytes(90_000)}
    with open_repository(busy, recovery, cache_dir=None) as other:
        snapshot = back_up(other, DictSource(new))
    assert busy.ran
    with open_repository(backend, recovery, cache_dir=None) as repository:
        report = run_check(repository, read_fraction=1, reporter=SilentReporter())
    lost = {e.path for e in report.losses.paths if e.snapshot.id == snapshot.id}
    assert (b"c",) not in lost
    assert lost.isdisjoint((name,) for name in was_whole)
