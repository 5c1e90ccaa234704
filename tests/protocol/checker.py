"""Visits every state that some actors and their environment can reach, breadth first.

An actor is a list of calls of generator functions ("phases"). A phase yields operations and gets
their results; what it returns is the next phase with its arguments, or None. One operation is one
step, and between any two steps any other actor may do any number of its own. All there is to know
of an actor is its phase, the arguments and the results so far, so two histories that lead to the
same phase with the same arguments are one state.

A crash is not a step of its own: an actor that crashed is one that is never scheduled again, and
every such course is among those visited, since each state on the way is judged.
"""

import gc
from array import array
from collections.abc import Callable, Generator, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

Steps: TypeAlias = Generator["Operation", Any, "Call | None"]
Answer: TypeAlias = Generator["Operation", Any, Any]
"""A part of a phase, with a result."""
Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]
Actor: TypeAlias = tuple[Call, ...]

_BITS = 24
_MASK = (1 << _BITS) - 1
"""Of a state's number, those of its store; those of each actor's place follow."""

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
            if number > _MASK:
                raise OverflowError("more stores than a state's number has room for")
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
            if place > _MASK:
                raise OverflowError("more places than a state's number has room for")
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
    collecting = gc.isenabled()
    gc.disable()  # Nothing here is cyclic, and looking at millions of objects takes minutes.
    try:
        return _explore(system)
    finally:
        if collecting:
            gc.enable()


def _explore(system: System) -> Explored:
    """A state is one number, of the store and the place of each actor: tuples would not fit."""
    machine, shifts = Machine(), [_BITS * (i + 1) for i in range(len(system.actors))]
    first = machine.number_of(system.store)
    for shift, actor in zip(shifts, system.actors, strict=True):
        first |= machine.start(actor) << shift
    seen, todo, parents = {first}, [first], array("q", [-1])
    happens: dict[int, list[int]] = {}
    for at, state in enumerate(todo):
        store = state & _MASK
        if store not in happens:
            found = machine.stores[store]
            if wrong := system.wrong(found):
                trace = _trace(system, machine, _way(todo, parents, at))
                return Explored(len(todo), machine.stores, wrong, trace)
            happens[store] = [machine.number_of(s) for _, s in system.environment(found)]
        following = [state - store + after for after in happens[store]]
        for shift in shifts:
            if place := state >> shift & _MASK:
                rest = state - store - (place << shift)
                following += [rest + s + (p << shift) for s, p in machine.moves(store, place)]
        for new in following:
            if new not in seen:
                seen.add(new)
                todo.append(new)
                parents.append(at)
    return Explored(len(todo), machine.stores)


def _way(todo: list[int], parents: "array[int]", at: int) -> list[int]:
    """Return the states from the first to this one."""
    way = []
    while at >= 0:
        way.append(todo[at])
        at = parents[at]
    return way[::-1]


def _trace(system: System, machine: Machine, way: list[int]) -> list[str]:
    return [_step(system, machine, before, after) for before, after in pairwise(way)]


def _step(system: System, machine: Machine, before: int, after: int) -> str:
    old, new = before & _MASK, after & _MASK
    if before - old == after - new:
        for words, store in system.environment(machine.stores[old]):
            if store == machine.stores[new]:
                return words
    for i in range(len(system.actors)):
        shift = _BITS * (i + 1)
        if place := before >> shift & _MASK:
            rest = before - old - (place << shift)
            for which, (s, p) in enumerate(machine.moves(old, place)):
                if rest + s + (p << shift) == after:
                    return machine.told(old, place, which)
    raise LookupError("no step leads there")
