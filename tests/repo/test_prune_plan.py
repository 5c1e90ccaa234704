from snap.repo.doomed import DoomedPack
from snap.repo.ids import ObjectId
from snap.repo.progress import SilentReporter
from snap.repo.prune_plan import Limits, Plan, make_plan
from snap.repo.repository import Repository
from snap.repo.survey import survey

from .conftest import back_up
from .dictsource import DictSource
from .pruning import let_go, noise


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
    assert not plan(repository, spare=True).unneeded


def test_packs_in_no_index_are_unneeded_where_that_is_certain(repository: Repository) -> None:
    from snap.repo.ids import object_id, pack_name

    stray = b"left by a backup that was killed"
    id_ = object_id(stray)
    repository.backend.put(pack_name(1, id_), stray)
    assert plan(repository).unneeded == {id_: DoomedPack(1, len(stray))}
