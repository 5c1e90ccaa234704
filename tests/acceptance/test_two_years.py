"""Two years of nights (in CI some months of them) of a repository and its copies, with crashes.

What the nights are is in nights.py, what is backed up in service_life.py.
"""

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import mean, median

import pytest

from tests.scale import rounds

from .nights import DAILY, KINDS, MAIN, MONTHLY, Nights, PruneCost

pytestmark = pytest.mark.slow

NIGHTS = rounds(730, otherwise=110)
CHECKPOINT = 90
LATE = 100 if NIGHTS > 500 else 35
EARLY = range(LATE, 2 * LATE)
EARLY_MONTHLY = range(380, 480) if NIGHTS > 500 else EARLY
"""The copy that keeps 12 months grows for a year, to twice what it has in its fourth month."""
_SPREAD = 2.0 if NIGHTS > 500 else 3.0
"""So few nights differ by chance, and the repository still grows in them."""


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """Return what is left of the nights; at each checkpoint but the last all was found whole."""
    folder = tmp_path_factory.mktemp("nights")
    nights = Nights(folder, seed=1)
    for number in range(NIGHTS):
        is_last = number == NIGHTS - 1
        is_checked = number % CHECKPOINT == CHECKPOINT - 1 or is_last
        nights.night(number, is_quiet=is_checked)
        if is_checked and not is_last:
            nights.assert_whole()
    _write(nights, folder / "two_years.csv")
    return nights


def test_every_place_keeps_what_its_policy_says_and_restores_it_equal(nights: Nights) -> None:
    nights.assert_whole()
    kept = {name: len(nights.policy_keeps(name)) for name in nights.places}
    assert kept[MAIN] in range(10, 17)
    assert kept[DAILY] == 14
    assert kept[MONTHLY] in ([12] if NIGHTS > 500 else range(4, 7))


def test_something_crashed_every_week_and_all_that_can_did_in_time(nights: Nights) -> None:
    assert nights.crashes.total() >= NIGHTS // 7 - 2
    steps = Counter(step.split()[0] for step, _ in nights.crashes.elements())
    assert {"backup", "forget", "prune", "replicate"} <= steps.keys()
    assert {place for _, place in nights.crashes} == nights.places.keys()


@pytest.mark.parametrize("name", [MAIN, DAILY, MONTHLY])
def test_a_place_is_not_much_larger_than_a_new_one_with_the_same_snapshots(
    nights: Nights, name: str, tmp_path: Path
) -> None:
    now, fresh = nights.places[name].total_bytes(), nights.fresh_bytes(name, tmp_path / "fresh")
    assert now <= 2.2 * fresh


@pytest.mark.parametrize("name", [MAIN, DAILY, MONTHLY])
def test_no_place_grows_from_night_to_night(nights: Nights, name: str) -> None:
    """All that is stored, and each kind of object; snapshots are as many as they should be."""
    early, late = _windows(nights, name)
    assert _most(late, lambda p: p.total_bytes) <= _SPREAD * _most(early, lambda p: p.total_bytes)
    for kind in ("data", "meta", "index", "doomed", "checks"):
        before, now = (median(prune.objects[kind] for prune in some) for some in (early, late))
        assert now <= _SPREAD * before, kind


@pytest.mark.parametrize("name", [MAIN, DAILY, MONTHLY])
def test_what_dies_leaves_nothing_for_ever(nights: Nights, name: str) -> None:
    late = nights.places[name].prunes[-LATE:]
    assert _most_of(late, "leases") <= 2
    assert _most_of(late, "index") <= 40
    # A crash can leave what one object replaced beside it until the next is made.
    assert _most_of(late, "doomed") <= 60
    assert _most_of(late, "checks") <= 3
    assert _most(late, lambda p: p.objects["data"] + p.objects["meta"]) <= 200


@pytest.mark.parametrize("name", [MAIN, DAILY, MONTHLY])
def test_the_last_prunes_have_no_more_to_do_than_the_first(nights: Nights, name: str) -> None:
    """Requests and bytes; seconds would say how loaded the machine is."""
    early, late = _windows(nights, name)
    before, now = (median(prune.operations for prune in some) for some in (early, late))
    assert now <= _SPREAD * before
    # A median of bytes says nothing: on most nights there is little to move, on some much.
    before, now = (mean(p.read_bytes + p.put_bytes for p in some) for some in (early, late))
    assert now <= _SPREAD * before


Number = Callable[[PruneCost], int]


def _most(prunes: Sequence[PruneCost], number: Number) -> int:
    return max(map(number, prunes))


def _most_of(prunes: Sequence[PruneCost], kind: str) -> int:
    return _most(prunes, lambda prune: prune.objects[kind])


def _windows(nights: Nights, name: str) -> tuple[list[PruneCost], list[PruneCost]]:
    prunes = nights.places[name].prunes
    nights_then = EARLY_MONTHLY if name == MONTHLY else EARLY
    early = [prune for prune in prunes if prune.night in nights_then]
    late = [prune for prune in prunes if prune.night >= NIGHTS - LATE]
    assert len(early) > LATE / 2 < len(late)
    return early, late


def _write(nights: Nights, path: Path) -> None:
    """Write what each prune took."""
    names = [field.name for field in fields(PruneCost) if field.name != "objects"]
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["place", *names, *KINDS])
        for name, place in nights.places.items():
            for cost in place.prunes:
                numbers = [getattr(cost, name) for name in names]
                rows.writerow([name, *numbers, *(cost.objects[kind] for kind in KINDS)])
