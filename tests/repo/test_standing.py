from snap.backends.base import BackendUnavailable
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.errors import SnapError
from snap.repo.catalog import list_snapshots
from snap.repo.keys import MINIMUM_COST
from snap.repo.replicate import first_id
from snap.repo.repository import Repository, create_repository
from snap.repo.standing import (
    CopyState,
    Place,
    Rule,
    Standing,
    examine_copy,
    examine_repository,
    judge,
    lacks_verification,
)
from snap.repo.verified import Coverage

from .conftest import back_up, change_tags
from .copies import files, flip, names, new_copy, replicate
from .dictsource import DictSource


def examine(repository: Repository, place: object) -> Standing:
    repository.load_index()
    return examine_copy(repository, lambda: place, list_snapshots(repository))  # type: ignore[arg-type,return-value]  # any backend


def filled(repository: Repository, *seeds: int) -> MemoryBackend:
    for seed in seeds:
        back_up(repository, DictSource(files(seed)))
    place = new_copy(repository)
    replicate(repository, place)
    return place


def test_a_copy_that_has_everything_is_whole(repository: Repository) -> None:
    place = filled(repository, 1, 2)
    firsts = frozenset(map(first_id, list_snapshots(repository)))
    assert examine(repository, place) == Standing(CopyState.WHOLE, firsts)
    own = examine_repository(repository, list_snapshots(repository))
    assert own == Standing(CopyState.WHOLE, firsts)


def test_one_that_is_behind_or_ahead_is_whole_with_what_it_has(repository: Repository) -> None:
    place = filled(repository, 1, 2)
    back_up(repository, DictSource(files(3)))
    # New tags are the same snapshot.
    change_tags(repository, list_snapshots(repository)[0], add=["x"])
    standing = examine(repository, place)
    assert standing.state is CopyState.WHOLE
    assert standing.first_ids == frozenset(map(first_id, list_snapshots(repository)[:2]))
    gone = list_snapshots(repository)[1]
    repository.backend.delete(f"snapshots/{gone.id.hex()}")
    assert gone.id in examine(repository, place).first_ids


def test_one_that_lacks_a_pack_is_incomplete_also_where_it_is_behind(
    repository: Repository,
) -> None:
    place = filled(repository, 1)
    back_up(repository, DictSource(files(2)))
    pack = names(place, "data/")[0]
    stored = place.get(pack)
    place.put(pack, stored[:-1])
    standing = examine(repository, place)
    assert standing.state is CopyState.INCOMPLETE
    assert "1 of the packs" in standing.problem
    place.put(pack, stored)
    assert examine(repository, place).state is CopyState.WHOLE
    index = names(place, "index/")[0]
    place.put(index, place.get(index)[:-1])
    assert examine(repository, place).state is CopyState.INCOMPLETE


def test_packs_that_only_the_copy_knows_are_looked_for_too(repository: Repository) -> None:
    place = filled(repository, 1, 2)
    index = names(repository.backend, "index/")[0]
    repository.backend.delete(index)
    repository.load_index()
    known = {pack.id for pack in repository.cache.packs()}
    place.delete(next(n for n in names(place, "data/") if bytes.fromhex(n[-64:]) not in known))
    assert examine(repository, place).state is CopyState.INCOMPLETE


def test_the_repository_itself_may_be_incomplete(repository: Repository) -> None:
    filled(repository, 1)
    repository.backend.delete(names(repository.backend, "data/")[0])
    standing = examine_repository(repository, list_snapshots(repository))
    assert standing.state is CopyState.INCOMPLETE


def test_what_is_no_copy_that_can_be_looked_at_is_told_apart(repository: Repository) -> None:
    place = filled(repository, 1)
    other = MemoryBackend()
    create_repository(other, "x", label="", cost=MINIMUM_COST)
    away = FaultyBackend(
        place, Fault("list", times=None, error=lambda: BackendUnavailable("cut off"))
    )
    assert examine(repository, MemoryBackend()).state is CopyState.MISSING
    assert examine(repository, other).state is CopyState.FOREIGN
    assert examine(repository, repository.backend).state is CopyState.FOREIGN
    assert examine(repository, away) == Standing(CopyState.UNREACHABLE, problem="cut off")
    place.put("config", place.get("config")[:-3] + b"zz\n")
    assert examine(repository, place).state is CopyState.DAMAGED

    def refuse() -> MemoryBackend:
        raise SnapError("no such host")

    found = examine_copy(repository, refuse, [])
    assert found == Standing(CopyState.UNREACHABLE, problem="no such host")


def test_a_damaged_snapshot_that_only_the_copy_has_is_told(repository: Repository) -> None:
    place = filled(repository, 1, 2)
    lost = names(repository.backend, "snapshots/")[0]
    repository.backend.delete(lost)
    flip(place, lost)
    assert examine(repository, place).state is CopyState.DAMAGED


def test_the_rule_counts_whole_copies_their_media_and_those_off_site(
    repository: Repository,
) -> None:
    for seed in (1, 2):
        back_up(repository, DictSource(files(seed)))
    old, new = list_snapshots(repository)

    def place(name: str, media: str, *held: object, offsite: bool = False) -> Place:
        firsts = frozenset(s.id for s in (old, new) if s in held)
        return Place(name, media, offsite, Standing(CopyState.WHOLE, firsts))

    own = place("repository", "disk", old, new)
    usb = place("usb", "disk", old, new)
    office = place("office", "server", old, new, offsite=True)
    behind = place("office", "server", old, offsite=True)
    assert judge([old, new], [own, usb, office], Rule()).ok
    assert judge([], [], Rule()).ok
    verdict = judge([old, new], [own, usb, behind], Rule())
    assert verdict.reasons == [
        "1 of 2 snapshots is in fewer than 3 copies",
        "1 of 2 snapshots is on fewer than 2 media",
        "1 of 2 snapshots is not off-site",
    ]
    assert [s.meets(Rule()) for s in verdict.spreads] == [True, False]
    assert [p.name for p in verdict.spreads[1].places] == ["repository", "usb"]
    assert judge([new], [own, usb], Rule(2, 2, 0)).reasons == [
        "1 of 1 snapshots is on fewer than 2 media"
    ]
    assert judge([new], [own, usb], Rule(2, 1, 0)).ok
    assert judge([new], [own, usb, office], Rule(3, 2, 2)).reasons == [
        "1 of 1 snapshots is off-site fewer than 2 times"
    ]
    broken = Place("x", "server", True, Standing(CopyState.INCOMPLETE, frozenset({new.id})))
    assert not judge([new], [own, usb, broken], Rule()).ok


def test_how_far_a_place_was_read_counts_the_packs_that_it_has(repository: Repository) -> None:
    place = filled(repository, 1, 2)
    count = len(names(place, "data/", "meta/"))
    replicate(repository, place, verify=True)
    back_up(repository, DictSource(files(3)))
    verified = examine(repository, place).verified
    assert verified is not None
    assert (verified.packs, verified.never) == (count, 0)
    own = examine_repository(repository, list_snapshots(repository), since_ns=1).verified
    assert own is not None
    assert own.never == own.packs == len(names(repository.backend, "data/", "meta/")) > count
    assert own.overdue == 0, "all were put since"
    # Also those that only its own index objects name.
    repository.backend.delete(names(place, "index/")[0])
    repository.load_index()
    known = {pack.id.hex() for pack in repository.cache.packs()}
    assert not {n[-64:] for n in names(place, "data/", "meta/")} <= known
    verified = examine(repository, place).verified
    assert verified is not None
    assert (verified.packs, verified.never) == (count, 0)


def test_the_reason_names_the_place_and_how_many_packs() -> None:
    late = Coverage(packs=40, never=3, overdue=2)
    assert lacks_verification("usb", late, "30d") == [
        "usb: 2 of 40 packs were not read and found whole within 30d"
    ]
    assert lacks_verification("usb", Coverage(packs=40, never=3), "30d") == []
    assert lacks_verification("usb", None, "30d") == []
