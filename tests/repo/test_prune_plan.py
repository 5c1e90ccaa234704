from snap.repo.clock import MINUTE_NS
from snap.repo.doomed import DoomedPack
from snap.repo.ids import ObjectId
from snap.repo.pack import DATA_PACK, META_PACK
from snap.repo.progress import SilentReporter
from snap.repo.prune_plan import Limits, Plan, full_bytes, make_plan
from snap.repo.repository import Repository
from snap.repo.survey import survey

from .conftest import FakeClock, back_up
from .dictsource import DictSource
from .pruning import let_go, noise, prune, size_of


def plan(
    repository: Repository,
    limits: Limits | None = None,
    *,
    doomed: frozenset[ObjectId] = frozenset(),
    spare: bool = False,
) -> Plan:
    found = survey(repository, doomed, SilentReporter())
    return make_plan(
        repository,
        found,
        doomed,
        limits or Limits(),
        spare=lambda _: spare,
        take_unindexed=True,
    )


def test_what_is_wholly_in_use_is_left_alone(repository: Repository) -> None:
    back_up(repository, DictSource({b"f": noise(1)}))
    found = plan(repository)
    assert (found.unneeded, found.repack, found.unused_bytes) == ({}, [], 0)
    assert found.needed == found.named


def test_mostly_unused_packs_are_moved_whatever_the_limit_says(repository: Repository) -> None:
    many = {b"%d" % n: noise(n, 4_000) for n in range(10)}
    first = back_up(repository, DictSource(many))
    back_up(repository, DictSource({b"3": many[b"3"]}))
    let_go(repository, first)
    found = plan(repository, Limits(max_unused=1.0))
    assert any(use.kind == 1 for use in found.repack)
    assert all(use.unused_bytes * 2 > use.size_bytes for use in found.repack)


def test_of_partly_used_packs_the_least_used_are_moved_until_the_limit_is_met(
    repository: Repository,
) -> None:
    many = {b"%02d" % n: noise(n, 4_000) for n in range(60)}
    first = back_up(repository, DictSource(many))
    back_up(repository, DictSource({name: d for name, d in many.items() if name >= b"12"}))
    let_go(repository, first)
    strict, loose = plan(repository, Limits(0.0)), plan(repository, Limits(0.4))
    assert strict.unused_bytes == 0
    assert len(loose.repack) < len(strict.repack)
    assert 0 < loose.unused_bytes <= 0.4 * loose.kept_bytes


def test_what_is_doomed_and_needed_is_rescued_and_what_is_spared_is_left(
    repository: Repository,
) -> None:
    back_up(repository, DictSource({b"f": noise(1)}))
    repository.load_index()
    everything = frozenset(pack.id for pack in repository.cache.packs())
    found = plan(repository, doomed=everything)
    assert {use.id for use in found.rescue} == everything
    assert found.unneeded == {}
    for snapshot in [back_up(repository, DictSource({b"f": noise(2)}))]:
        let_go(repository, snapshot)
    assert plan(repository).unneeded
    spared = plan(repository, spare=True)
    assert not spared.unneeded
    assert spared.spared, "they are told, and take their place"


def test_packs_in_no_index_are_unneeded_where_that_is_certain(repository: Repository) -> None:
    from snap.repo.ids import object_id, pack_name

    stray = b"left by a backup that was killed"
    id_ = object_id(stray)
    repository.backend.put(pack_name(1, id_), stray)
    assert plan(repository).unneeded == {id_: DoomedPack(1, len(stray))}


def test_packs_become_as_large_as_an_eighth_of_what_is_kept_and_no_larger_than_usual(
    repository: Repository,
) -> None:
    pack_bytes = repository.config.parameters.pack_bytes
    kept = {0: pack_bytes // 32, 4 * pack_bytes: pack_bytes // 2, 99 * pack_bytes: pack_bytes}
    assert {n: full_bytes(repository, DATA_PACK, n) for n in kept} == kept
    assert full_bytes(repository, META_PACK, 4 * pack_bytes) == pack_bytes // 2


def test_a_small_repository_is_not_moved_as_a_whole_each_time_a_little_of_it_is_unused(
    repository: Repository, clock: FakeClock
) -> None:
    """Its packs would take their place twice until the next prune.

    Of the share that is moved at once, where one pack is all there is, 0.45 was the least worst of
    60 draws, and 0.27 the worst of 190 as it is: which files a pack has is a matter of the keys.
    """
    many = {b"%02d" % n: noise(n, 2_000) for n in range(30)}
    before = back_up(repository, DictSource(many))
    moved = []
    for n in range(24):
        many[b"%02d" % n] = noise(1000 + n, 2_000)
        now = back_up(repository, DictSource(many))
        let_go(repository, before)
        before = now
        clock.now_ns += 31 * MINUTE_NS
        moved.append(prune(repository).repacked.read_bytes / size_of(repository.backend))
    assert sum(moved) > 0
    assert max(moved[5:]) < 0.4, "but for the first pack, which is all there is"
