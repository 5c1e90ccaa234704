"""Visits every state that some actors and their environment can reach, breadth first.

An actor is a list of calls of generator functions ("phases"). A phase yields operations and gets their results;
what it returns is the next phase with its arguments, or None. One operation is one step, and between any two
steps any other actor may do any number of its own. Nothing else about an actor is known than its phase, the
arguments and the results so far, so two histories that lead to the same phase with the same arguments are one state.

A crash is not a step of its own: an actor that crashed is one that is never scheduled again, and every such
course is among those visited, since what is asked of a state is asked of all states on the way.
"""

from collections.abc import Callable, Generator, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Steps: TypeAlias = Generator["Operation", Any, "Call | None"]
Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]
Actor: TypeAlias = tuple[Call, ...]

DONE = 0
"""The place of an actor that has nothing left to do."""


class Operation(Protocol):
    """One step of an actor: atomic, with all results that it may have."""

    def run(self, store: Any) -> Iterable[tuple[Any, Any]]: ...

    def told(self, result: Any) -> str: ...


@dataclass(frozen=True)
class System:
    """What is explored.

    Args:
        store: where it begins; anything that can be hashed.
        actors: each with the calls that it makes, one after the other.
        environment: what may happen to a store at any time, with the words for it.
        wrong: says what is wrong with a store, or nothing.
    """

    store: Hashable
    actors: tuple[Actor, ...]
    environment: Callable[[Any], Iterable[tuple[str, Any]]]
    wrong: Callable[[Any], str | None]


@dataclass
class Explored:
    """What was found: the number of states, all stores, and the shortest way to a wrong one."""

    states: int = 0
    stores: list[Any] = field(default_factory=list)
    wrong: str | None = None
    trace: list[str] = field(default_factory=list)


class Machine:
    """Runs actors one operation at a time; stores and places of actors are numbers here."""

    def __init__(self) -> None:
        self.stores: list[Any] = []
        self._store_numbers: dict[Any, int] = {}
        self._places: list[tuple[Any, ...]] = [()]
        self._place_numbers: dict[Any, int] = {}
        self._moves: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def number_of(self, store: Any) -> int:
        number = self._store_numbers.setdefault(store, len(self.stores))
        if number == len(self.stores):
            self.stores.append(store)
        return number

    def start(self, actor: Actor) -> int:
        return self._place(actor[0], (), actor[1:]) if actor else DONE

    def _place(self, call: Call, results: tuple[Any, ...], rest: Actor) -> int:
        """Return the number of the place of an actor that is at its next operation."""
        key = (call, results, rest)
        if (known := self._place_numbers.get(key)) is not None:
            return known
        phase = call[0](*call[1])
        try:
            operation = next(phase)
            for result in results:
                operation = phase.send(result)
        except StopIteration as stop:
            place = self._place(stop.value, (), rest) if stop.value else self.start(rest)
        else:
            place = len(self._places)
            self._places.append((operation, *key))
        self._place_numbers[key] = place
        return place

    def moves(self, store: int, place: int) -> list[tuple[int, int]]:
        """Return where the operation at this place may lead: (store, place)."""
        known = self._moves.get((store, place))
        if known is None:
            operation, call, results, rest = self._places[place]
            known = [
                (self.number_of(after), self._place(call, (*results, result), rest))
                for after, result in operation.run(self.stores[store])
            ]
            self._moves[store, place] = known
        return known

    def told(self, store: int, place: int, which: int) -> str:
        operation, call, _, _ = self._places[place]
        result = list(operation.run(self.stores[store]))[which][1]
        return f"{call[1][1]}: {operation.told(result)}"

    def run_alone(self, store: Any, actor: Actor) -> Any:
        """Return the store after this actor has done all its steps with no one else there."""
        at, place = self.number_of(store), self.start(actor)
        while place != DONE:
            at, place = self.moves(at, place)[0]
        return self.stores[at]


def explore(system: System) -> Explored:
    """Visit every state; stop at the first that is wrong, which is then a nearest one."""
    machine = Machine()
    happens: dict[int, list[int]] = {}
    judged: dict[int, str | None] = {}
    first = (machine.number_of(system.store), *(machine.start(a) for a in system.actors))
    parents: dict[tuple[int, ...], tuple[int, ...] | None] = {first: None}
    todo = [first]
    for state in todo:
        store = state[0]
        if store not in judged:
            judged[store] = wrong = system.wrong(machine.stores[store])
            happens[store] = [
                machine.number_of(s) for _, s in system.environment(machine.stores[store])
            ]
            if wrong:
                return Explored(
                    len(parents), machine.stores, wrong, _trace(system, machine, parents, state)
                )
        following = [(after, *state[1:]) for after in happens[store]]
        for i in range(1, len(state)):
            if state[i] != DONE:
                head, tail = state[1:i], state[i + 1 :]
                following += [(s, *head, p, *tail) for s, p in machine.moves(store, state[i])]
        for new in following:
            if new not in parents:
                parents[new] = state
                todo.append(new)
    return Explored(len(parents), machine.stores)


def _trace(
    system: System,
    machine: Machine,
    parents: dict[tuple[int, ...], tuple[int, ...] | None],
    state: tuple[int, ...],
) -> list[str]:
    lines: list[str] = []
    while (before := parents[state]) is not None:
        lines.append(_step(system, machine, before, state))
        state = before
    return lines[::-1]


def _step(
    system: System, machine: Machine, before: tuple[int, ...], after: tuple[int, ...]
) -> str:
    if before[1:] == after[1:]:
        for words, store in system.environment(machine.stores[before[0]]):
            if store == machine.stores[after[0]]:
                return words
    for i in range(1, len(before)):
        if before[i] != DONE and before[1:i] == after[1:i] and before[i + 1 :] == after[i + 1 :]:
            for which, move in enumerate(machine.moves(before[0], before[i])):
                if move == (after[0], after[i]):
                    return machine.told(before[0], before[i], which)
    raise LookupError("no step leads there")
