"""The checker itself, on systems whose states can be counted by hand."""

from dataclasses import dataclass
from typing import Any

from .checker import Explored, Machine, Steps, System, explore


@dataclass(frozen=True)
class Read:
    def run(self, store: int) -> list[tuple[int, int]]:
        return [(store, store)]

    def told(self, result: int) -> str:
        return f"reads {result}"


@dataclass(frozen=True)
class Write:
    value: int

    def run(self, store: int) -> list[tuple[int, None]]:
        return [(self.value, None)]

    def told(self, result: None) -> str:
        return f"writes {self.value}"


@dataclass(frozen=True)
class Either:
    def run(self, store: int) -> list[tuple[int, bool]]:
        return [(store, True), (store, False)]

    def told(self, result: bool) -> str:
        return f"gets {result}"


def increment(_: None, me: str) -> Steps:
    value = yield Read()
    yield Write(value + 1)
    return None


def look_twice(_: None, me: str) -> Steps:
    yield Read()
    yield Read()
    return None


def toss(_: None, me: str) -> Steps:
    if (yield Either()):
        return write, (None, me, 1)
    return write, (None, me, 2)


def write(_: None, me: str, value: int) -> Steps:
    yield Write(value)
    return None


def explored(*phases: Any, never: Any = None, store: int = 0) -> Explored:
    actors = tuple(((phase, (None, f"A{i}")),) for i, phase in enumerate(phases))
    return explore(
        System(store, actors, lambda _: [], lambda found: "wrong" if found == never else None)
    )


def test_two_actors_of_two_steps_have_nine_states() -> None:
    assert explored(look_twice, look_twice).states == 9


def test_a_lost_update_is_found_with_a_shortest_course() -> None:
    found = explored(increment, increment)
    assert {1, 2} <= set(found.stores)
    found = explored(increment, increment, never=2)
    assert found.trace == ["A0: reads 0", "A0: writes 1", "A1: reads 1", "A1: writes 2"]
    assert found.wrong == "wrong"


def test_all_results_of_an_operation_are_followed_into_the_next_phase() -> None:
    assert set(explored(toss).stores) == {0, 1, 2}
    assert explored(toss, never=2).trace == ["A0: gets False", "A0: writes 2"]


def test_actors_that_stop_anywhere_are_among_the_courses() -> None:
    assert explored(increment, toss, never=3).wrong, "A0 reads 2 after A1 wrote it"
    assert not explored(increment, toss, never=4).wrong


def test_the_environment_acts_between_any_two_steps() -> None:
    def tens(store: int) -> list[tuple[str, int]]:
        return [("ten more", store + 10)] if store < 10 else []

    actors = (((increment, (None, "A")),),)
    found = explore(System(0, actors, tens, lambda store: "wrong" if store == 11 else None))
    assert found.trace in (
        ["ten more", "A: reads 10", "A: writes 11"],
        ["A: reads 0", "A: writes 1", "ten more"],
    )


def test_an_actor_run_alone_does_all_its_calls() -> None:
    chain = ((increment, (None, "A")), (increment, (None, "A")), (write, (None, "A", 7)))
    assert Machine().run_alone(3, chain[:2]) == 5
    assert Machine().run_alone(3, chain) == 7
