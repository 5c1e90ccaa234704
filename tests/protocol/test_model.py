"""The prune protocol, explored: its promise holds in every state, and fails without its rules.

``pytest -s`` prints how many states each case has, and the counter-examples.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from time import perf_counter

import pytest

from tests.scale import rounds

from .cases import (
    FAST,
    GHOST,
    HUGE,
    LEFT_OUT,
    NOT_NEEDED,
    REUSED,
    SIMPLE,
    SLOW,
    SWEEP,
    TAG,
    UNUSED,
    Case,
)
from .checker import Actor, Explored, Machine
from .model import mark, sweep, tag
from .rules import Rule, Rules
from .store import Snapshot, Store, blobs_of, missed, named_by, wrong_if_killed

SMALL = [name for name in FAST if FAST[name].least < 50_000]
LARGE = [name for name in FAST if name not in SMALL]


@cache
def explored(case: Case, *without: Rule) -> Explored:
    return case.explore(*without)


def check(name: str, case: Case) -> None:
    began = perf_counter()
    found = case.explore()
    print(f"\n{name}: {found.states:,} states, {len(found.stores):,} stores, ", end="")
    print(f"{perf_counter() - began:.1f} s")
    assert not found.wrong, "\n".join([found.wrong, *found.trace])
    assert found.states >= case.least


@pytest.mark.parametrize("name", FAST)
def test_no_committed_snapshot_ever_misses_a_blob(name: str) -> None:
    check(name, FAST[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *list(SLOW)[: rounds(len(SLOW), otherwise=2)],
        *list(HUGE)[: rounds(len(HUGE), otherwise=0)],
    ],
)
def test_no_committed_snapshot_ever_misses_a_blob_with_more_at_once(name: str) -> None:
    check(name, SLOW.get(name) or HUGE[name])


@pytest.mark.parametrize("rule", LEFT_OUT, ids=lambda rule: rule.name)
def test_without_a_rule_it_goes_wrong(rule: Rule) -> None:
    left_out = LEFT_OUT[rule]
    found = explored(left_out.case, *left_out.also, rule)
    print(f"\nwithout: {rule.value}\n  " + "\n  ".join([*found.trace, f"=> {found.wrong}"]))
    assert found.wrong
    assert len(found.trace) <= 45, "a counter-example that nobody would read"
    whole = explored(left_out.case, *left_out.also)
    assert not whole.wrong, "this case goes wrong by itself"


@pytest.mark.parametrize("rule", NOT_NEEDED, ids=lambda rule: rule.name)
@pytest.mark.parametrize("name", SMALL)
def test_some_rules_are_not_needed_for_safety(name: str, rule: Rule) -> None:
    """Should one of them come to be needed, then spec/DESIGN.md says something that is wrong."""
    assert not explored(FAST[name], rule).wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_those_rules_are_not_needed_in_larger_cases_even_all_at_once(name: str) -> None:
    assert not FAST[name].explore(*NOT_NEEDED).wrong


def test_each_rule_is_either_needed_or_not() -> None:
    assert sorted(rule.name for rule in Rule) == sorted(
        rule.name for rule in (*LEFT_OUT, *NOT_NEEDED)
    )


def test_the_design_says_the_same() -> None:
    text = (Path(__file__).parents[2] / "spec/DESIGN.md").read_text()
    for rule, left_out in LEFT_OUT.items():
        assert f"| {rule.value} | {left_out.happens} |" in text


# What is left: a writer that was paused between confirming and putting, or a tag, and then killed.


def test_a_writer_killed_after_a_pause_between_confirming_and_putting_leaves_a_broken_one() -> None:
    found = explored(replace(SIMPLE, wrong=wrong_if_killed))
    print("\n  " + "\n  ".join([*found.trace, f"=> {found.wrong}, if B is killed here"]))
    own = [line for line in found.trace if " B is paused" in line or line.startswith("B:")]
    at = own.index("B: puts snapshot B")
    assert own[at - 2 : at] == [
        "B: confirms its lease",
        "   B is paused for over 30 minutes: its lease is dead",
    ]


@pytest.mark.parametrize("name", SMALL)
def test_that_is_the_only_way_to_a_broken_snapshot(name: str) -> None:
    """Were confirming and putting one step, nobody could leave one, wherever paused and killed.

    For a tag, "confirming" is to look whether the former revision is still there.
    """
    case = replace(FAST[name], wrong=wrong_if_killed, rules=Rules(fused=True))
    assert not explored(case).wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_that_is_the_only_way_in_larger_cases(name: str) -> None:
    assert not replace(FAST[name], wrong=wrong_if_killed, rules=Rules(fused=True)).explore().wrong


def test_two_revisions_in_a_row_can_hide_from_two_listings() -> None:
    """Each put, and its former one deleted, within one of a sweep's two listings: not prevented."""
    second = Snapshot("s+T", frozenset("a"), "T")
    case = Case(REUSED, ((*TAG, (tag, "U", second)), SWEEP), torn=("snapshots",))
    found = explored(case)
    print("\n  " + "\n  ".join([*found.trace, f"=> {found.wrong}"]))
    assert found.wrong == "snapshot s+T+U misses a"


# Nothing leaks: from every state on, with everybody killed there.

RULES = Rules(days_later=True)
TWO_PRUNES: Actor = tuple(
    (phase, (RULES, f"{name}{i}")) for i in "89" for phase, name in ((sweep, "S"), (mark, "M"))
)
ONE_PRUNE = TWO_PRUNES[:2]
"""A prune sweeps what earlier ones have marked, then marks."""


def left(store: Store) -> str | None:
    """Say what two prunes should have freed and have not."""
    needed = {blob for snapshot in store.snapshots for blob in snapshot.blobs}
    idle = [p for p in store.packs if needed <= blobs_of(store.packs - {p})]
    if idle:
        return f"packs {idle} are not needed"
    if named_by(store.index) != store.packs:
        return f"the index names {sorted(named_by(store.index))}, there is {sorted(store.packs)}"
    return f"records {sorted(r.name for r in store.doomed)} stay" if store.doomed else None


def test_one_prune_leaves_something() -> None:
    at_the_end = Machine().run_alone(UNUSED, ONE_PRUNE)
    assert left(at_the_end) == "packs ['P:a'] are not needed"
    assert left(Machine().run_alone(UNUSED, TWO_PRUNES)) is None
    stays = Machine().run_alone(UNUSED, ((sweep, (Rules(), "S")), (mark, (Rules(), "M"))) * 2)
    assert left(stays) == "records ['M?M'] stay"
    assert "the index names" in (left(GHOST) or "")


@pytest.mark.parametrize("name", FAST)
def test_two_prunes_free_all_that_nobody_needs_wherever_all_were_killed(name: str) -> None:
    machine = Machine()
    after_kill = {
        replace(
            store,
            leases=frozenset(),
            committed=frozenset(),
            snapshots=store.snapshots - set(missed(store)),
        )
        for store in explored(FAST[name]).stores
    }
    for store in after_kill:
        at_the_end = machine.run_alone(store, TWO_PRUNES)
        assert not left(at_the_end), f"{left(at_the_end)}, beginning with {store}"
        assert at_the_end.snapshots == store.snapshots
        assert not missed(at_the_end)
