"""Whatever is damaged or lost comes back from a copy, whichever way round."""

import contextlib
import random
from collections.abc import Callable

import pytest

from snap.backends.base import Backend, BackendError, BackendUnavailable, StorageFull
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.backends.readonly import ReadOnlyBackend
from snap.errors import IntegrityError, SnapError
from snap.repo.catalog import list_snapshots
from snap.repo.clock import system_clock
from snap.repo.config import RepositoryNotFound, decode_config
from snap.repo.copy import ForeignRepository
from snap.repo.doomed import Doomed, put_doomed
from snap.repo.ids import id_of_name
from snap.repo.keys import MINIMUM_COST, Capability, WrongPassword
from snap.repo.lease import Lease, Owner, RepositoryLocked
from snap.repo.progress import SilentReporter
from snap.repo.repair import RepairReport, run_repair, unlock_either
from snap.repo.repository import Repository, create_repository, open_repository

from .conftest import SMALL, back_up, change_tags
from .copies import contents, errors, files, flip, names, new_copy, objects, replicate
from .dictsource import DictSource

Pair = tuple[MemoryBackend, MemoryBackend, str]


@pytest.fixture(scope="module")
def original() -> Pair:
    backend = MemoryBackend()
    _, recovery = create_repository(backend, "p", label="", cost=MINIMUM_COST, parameters=SMALL)
    with open_repository(backend, recovery, cache_dir=None) as repository:
        for seed in (1, 2, 3):
            back_up(repository, DictSource(files(seed)))
        place = new_copy(repository)
        replicate(repository, place)
    return backend, place, recovery


def clone(backend: MemoryBackend) -> MemoryBackend:
    clone = MemoryBackend()
    for stat in backend.list(""):
        clone.put(stat.name, backend.get(stat.name))
    return clone


@pytest.fixture
def pair(original: Pair) -> Pair:
    return clone(original[0]), clone(original[1]), original[2]


def repair(target: MemoryBackend, source: Backend, credential: str) -> RepairReport:
    secrets = unlock_either(target, source, credential)
    owner = Owner("repair", "host", 1)
    return run_repair(target, source, secrets, SilentReporter(), owner=owner, clock=system_clock)


def all_are_whole(place: MemoryBackend, recovery: str) -> bool:
    found = contents(place, recovery)
    return found == [files(1), files(2), files(3)] and errors(place, recovery) == []


def test_where_all_is_whole_nothing_is_put(pair: Pair) -> None:
    target, source, recovery = pair
    before = {s.name: target.get(s.name) for s in target.list("")}
    report = repair(target, source, recovery)
    assert report.ok
    assert (report.healed, report.returned, report.bytes) == ([], [], 0)
    # But for what says that all was read.
    assert len(names(target, "checks/")) == 1
    after = {s.name: target.get(s.name) for s in target.list("")}
    assert {n: b for n, b in after.items() if not n.startswith("checks/")} == before


@pytest.mark.parametrize("turned", [False, True], ids=["repository", "copy"])
def test_half_of_the_packs_lost_and_a_tenth_damaged_is_healed(pair: Pair, turned: bool) -> None:
    target, source, recovery = (pair[1], pair[0], pair[2]) if turned else pair
    chance = random.Random(7)
    packs = names(target, "data/", "meta/")
    lost = set(chance.sample(packs, len(packs) // 2))
    rest = [name for name in packs if name not in lost]
    damaged = set(chance.sample(rest, max(2, len(rest) // 10)))
    for name in lost:
        target.delete(name)
    for name in damaged:
        flip(target, name)
    assert lost | damaged <= set(errors(target, recovery))
    report = repair(target, source, recovery)
    assert report.ok
    assert {p.object for p in report.healed} == lost | damaged
    assert {p.object for p in report.healed if p.problem == "missing"} == lost
    assert objects(target) == objects(source)
    assert all_are_whole(target, recovery)


@pytest.mark.parametrize("harm", [flip, lambda b, n: b.delete(n)], ids=["damaged", "lost"])
@pytest.mark.parametrize("prefix", ["keys/", "index/", "snapshots/", "data/", "meta/"])
def test_an_object_of_any_kind_is_healed(
    pair: Pair, prefix: str, harm: Callable[[MemoryBackend, str], None]
) -> None:
    target, source, recovery = pair
    harmed = names(target, prefix)
    for name in harmed:
        harm(target, name)
    report = repair(target, source, recovery)
    assert report.ok
    assert [p.object for p in report.healed] == harmed
    was_lost = harm is not flip and prefix in ("keys/", "snapshots/")
    assert report.returned == (harmed if was_lost else [])
    assert objects(target) == objects(source)
    assert all_are_whole(target, recovery)


@pytest.mark.parametrize("change", [None, b"no json", "id", "line"])
def test_a_lost_or_damaged_config_is_made_anew(pair: Pair, change: bytes | str | None) -> None:
    target, source, recovery = pair
    stored = target.get("config")
    before = decode_config(stored)
    digits = before.repository_id.hex().encode()
    match change:
        case None:
            target.delete("config")
        case "id":
            target.put("config", stored.replace(digits, digits[::-1]))
        case "line":
            target.put("config", stored[:-3] + b"zz\n")
        case _:
            target.put("config", change)  # type: ignore[arg-type]  # bytes: all else is above
    report = repair(target, source, recovery)
    assert [p.object for p in report.healed] == ["config"]
    after = decode_config(target.get("config"))
    assert (after.repository_id, after.parameters) == (before.repository_id, before.parameters)
    there = decode_config(source.get("config"))
    assert after.instance_id not in (before.instance_id, there.instance_id)
    assert all_are_whole(target, recovery)


def test_everything_but_one_index_object_lost_is_healed(pair: Pair) -> None:
    target, source, recovery = pair
    kept = names(target, "index/")[0]
    for stat in list(target.list("")):
        if stat.name != kept:
            target.delete(stat.name)
    assert repair(target, source, recovery).ok
    assert objects(target) == objects(source)
    assert all_are_whole(target, recovery)


def test_a_readme_that_is_gone_or_spoilt_is_written_anew(pair: Pair) -> None:
    target, source, recovery = pair
    for spoilt in (None, b"x"):
        target.delete("README")
        if spoilt is not None:
            target.put("README", spoilt)
        assert [p.object for p in repair(target, source, recovery).healed] == ["README"]
        assert target.get("README") == source.get("README")


def test_what_the_copy_does_not_have_whole_is_named_and_stays(pair: Pair) -> None:
    target, source, recovery = pair
    first, second, third, fourth = names(target, "data/")[:4]
    for name in (first, second):
        flip(target, name)
    for name in (third, fourth):
        target.delete(name)
    source.delete(first)
    source.delete(third)
    flip(source, second)
    flip(source, fourth)
    damaged = target.get(second)
    report = repair(target, source, recovery)
    assert not report.ok
    assert {p.object: p.problem for p in report.left} == {
        first: "its bytes do not have the hash in its name; in the copy: missing",
        second: "its bytes do not have the hash in its name; "
        "in the copy: its bytes do not have the hash in its name",
        third: "missing; in the copy: missing",
        fourth: "missing; in the copy: its bytes do not have the hash in its name",
    }
    assert target.get(second) == damaged
    assert report.healed == []


def test_what_a_copy_never_had_stays_damaged_and_the_rest_is_healed(
    pair: Pair,
) -> None:
    target, source, recovery = pair
    with open_repository(target, recovery, cache_dir=None) as repository:
        back_up(repository, DictSource(files(4)))
    new = sorted(set(names(target, "data/", "snapshots/")) - set(names(source, "")))
    old = names(source, "data/")[0]
    for name in (*new, old):
        flip(target, name)
    report = repair(target, source, recovery)
    assert [p.object for p in report.healed] == [old]
    assert [p.object for p in report.left] == new


def test_replaced_revisions_do_not_come_back(pair: Pair) -> None:
    target, source, recovery = pair
    with open_repository(target, recovery, cache_dir=None) as repository:
        change_tags(repository, list_snapshots(repository)[0], add=["a"])
    assert repair(target, source, recovery).healed == []
    # But the copy's later one does.
    with open_repository(source, recovery, cache_dir=None) as repository:
        tagged = change_tags(repository, list_snapshots(repository)[1], add=["b"])
    report = repair(target, source, recovery)
    assert report.returned == [f"snapshots/{tagged.id.hex()}"]


def test_places_that_do_not_belong_together_are_left_alone(pair: Pair) -> None:
    target, source, recovery = pair
    other = MemoryBackend()
    create_repository(other, "p", label="", cost=MINIMUM_COST)
    before = objects(other)
    with pytest.raises(ForeignRepository):
        repair(target, other, recovery)
    with pytest.raises(ForeignRepository):
        repair(other, source, recovery)
    other.delete("config")
    with pytest.raises(RepositoryNotFound, match="no repository at"):
        repair(other, source, recovery)
    with pytest.raises(RepositoryNotFound, match="no repository at"):
        repair(MemoryBackend(), source, recovery)
    with pytest.raises(RepositoryNotFound, match="no copy at"):
        repair(target, MemoryBackend(), recovery)
    assert objects(other) == before
    with pytest.raises(WrongPassword):
        repair(target, source, "wrong")
    source.put("config", b"spoilt")
    with pytest.raises(IntegrityError):
        repair(target, source, recovery)


def test_a_writer_key_is_enough(repository: Repository, recovery_key: str) -> None:
    repository.add_passphrase_slot("w", capability=Capability.WRITER, label="", cost=MINIMUM_COST)
    back_up(repository, DictSource(files(1)))
    place = new_copy(repository)
    replicate(repository, place)
    for name in names(place, "data/", "snapshots/"):
        place.delete(name)
    assert isinstance(repository.backend, MemoryBackend)
    assert repair(place, repository.backend, "w").ok
    assert contents(place, recovery_key) == [files(1)]


@pytest.mark.parametrize("error", [StorageFull, BackendUnavailable])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after it was done"])
def test_a_repair_whose_nth_operation_fails_is_taken_up_again(
    original: Pair, error: type[BackendError], late: bool
) -> None:
    for n in range(1, 400, 3):
        target, source, recovery = clone(original[0]), original[1], original[2]
        for name in names(target, "data/")[:3]:
            flip(target, name)
        for name in ("config", names(target, "index/")[0], names(target, "snapshots/")[0]):
            target.delete(name)
        fault = Fault("*", at=n, error=lambda: error("injected"), late=late)
        faulty = FaultyBackend(target, fault)
        secrets = unlock_either(target, source, recovery)
        owner = Owner("repair", "host", 1)
        with contextlib.suppress(SnapError):
            run_repair(faulty, source, secrets, SilentReporter(), owner=owner, clock=system_clock)
        assert repair(target, source, recovery).ok
        assert objects(target) == objects(source)
        if fault.calls < n:
            return
    pytest.fail("more than 400 operations")


def test_it_refuses_while_a_prune_runs_where_it_would_put(pair: Pair) -> None:
    target, source, recovery = pair
    flip(target, names(target, "data/")[0])
    keys = unlock_either(target, source, recovery).keys
    with Lease(target, keys, Owner("prune", "elsewhere", 7), system_clock):
        before = objects(target)
        with pytest.raises(RepositoryLocked, match="a prune runs on elsewhere"):
            repair(target, source, recovery)
        assert objects(target) == before
    assert repair(target, source, recovery).ok


def test_a_forgotten_snapshot_that_the_store_kept_is_healed_when_it_is_damaged(pair: Pair) -> None:
    target, source, recovery = pair
    kept, gone = names(target, "snapshots/")[:2]
    ids = frozenset(id_ for name in (kept, gone) if (id_ := id_of_name(name)) is not None)
    keys = unlock_either(target, source, recovery).keys
    put_doomed(target, keys, Doomed(1, snapshots=ids))
    flip(target, kept)
    target.delete(gone)
    report = repair(target, source, recovery)
    assert [problem.object for problem in report.healed] == [kept]
    assert gone not in names(target, "snapshots/")


def test_a_damaged_mark_of_a_prune_is_told(pair: Pair) -> None:
    target, source, recovery = pair
    keys = unlock_either(target, source, recovery).keys
    flip(target, put_doomed(target, keys, Doomed(1)).name)
    assert any("counts as held" in text for text in repair(target, source, recovery).warnings)


def test_a_copy_on_a_read_only_disk_heals(pair: Pair) -> None:
    target, source, recovery = pair
    for name in names(target, "data/"):
        target.delete(name)
    report = repair(target, ReadOnlyBackend(source), recovery)
    assert report.ok
    assert report.healed
    assert all_are_whole(target, recovery)
