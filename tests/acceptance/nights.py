"""Nights of a repository and its copies: backup, forget, prune, replicate; now and then a crash.

In this process and in memory, with one clock for all: two years pass in minutes.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Unpack
from zoneinfo import ZoneInfo

from snap.backends.base import Backend, BackendUnavailable, Buffer, ObjectStat, PutOptions
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.backends.wrapper import Wrapper
from snap.errors import SnapError
from snap.repo.backup import BackupOptions, run_backup
from snap.repo.catalog import list_snapshots
from snap.repo.check import run_check
from snap.repo.clock import SECOND_NS
from snap.repo.config import Parameters
from snap.repo.copy import create_copy
from snap.repo.forget import PolicyOf, forget, judge, kept_ids, stored_times
from snap.repo.ids import ObjectId
from snap.repo.keys import MINIMUM_COST
from snap.repo.lease import Lease, Owner
from snap.repo.progress import SilentReporter
from snap.repo.prune import PruneOptions, PruneReport, run_prune
from snap.repo.replicate import OPERATION, ReplicateOptions, run_replicate
from snap.repo.repository import Repository, create_repository, open_repository
from snap.repo.restore import run_restore
from snap.repo.retention import Calendar, Keep, Policy
from snap.repo.snapshot import SUCCESS, Snapshot
from tests.repo.memorytarget import MemoryTarget

from .service_life import (
    CHROMA,
    FILES,
    NEO4J,
    PARAMETERS,
    SQLITE,
    Content,
    Life,
    component_digest,
    sources_of,
)

ZONE = ZoneInfo("Europe/Berlin")
DAY_NS = 86_400 * SECOND_NS
MAIN, DAILY, MONTHLY = "repository", "14 days", "12 months"
POLICIES: dict[str, Policy] = {
    MAIN: Calendar(),
    DAILY: Keep((("daily", 14),)),
    MONTHLY: Keep((("monthly", 12),)),
}
_FIRST_NIGHT_NS = 1_789_954_200 * SECOND_NS
"""2026-09-21 at 01:30 UTC."""
_LOOK_NS = SECOND_NS // 50


class NightClock:
    """A clock that moves a little with every look, and to the next night when it is told."""

    def __init__(self) -> None:
        self.now_ns = _FIRST_NIGHT_NS - DAY_NS

    def __call__(self) -> int:
        self.now_ns += _LOOK_NS
        return self.now_ns

    def go_to(self, night: int) -> None:
        """Go to a night's beginning, which may not lie in the past."""
        start_ns = _FIRST_NIGHT_NS + night * DAY_NS
        assert start_ns >= self.now_ns
        self.now_ns = start_ns


class Metered(Wrapper):
    """Passes everything on and counts it. What is read and put is in bytes."""

    def __init__(self, inner: MemoryBackend, location: str) -> None:
        super().__init__(inner)
        self._location = location
        self.operations = self.read_bytes = self.put_bytes = 0

    @property
    def location(self) -> str:
        """Return the place's name."""
        return self._location

    def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
        """Store an object."""
        self.operations += 1
        self.put_bytes += len(data)
        super().put(name, data, **options)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return an object."""
        self.operations += 1
        found = super().get(name, offset, length)
        self.read_bytes += len(found)
        return found

    def stat(self, name: str) -> ObjectStat:
        """Return size and time."""
        self.operations += 1
        return super().stat(name)

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """Yield the objects under a prefix."""
        self.operations += 1
        return super().list(prefix)

    def delete(self, name: str) -> None:
        """Remove an object."""
        self.operations += 1
        super().delete(name)


KINDS = ("data", "meta", "index", "snapshots", "doomed", "checks", "leases")


@dataclass(frozen=True, slots=True)
class PruneCost:
    """What a prune took, and what the place held after it; sizes in bytes."""

    night: int
    seconds: float
    operations: int
    read_bytes: int
    put_bytes: int
    repacked_bytes: int
    total_bytes: int
    objects: Counter[str]


@dataclass
class Place:
    """A store with its policy, and what prunes took there."""

    name: str
    clock: NightClock
    memory: MemoryBackend = field(init=False)
    store: Metered = field(init=False)
    prunes: list[PruneCost] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = MemoryBackend(clock=self.clock)
        self.store = Metered(self.memory, self.name)

    @property
    def policy_of(self) -> PolicyOf:
        """Return the policy, which is that of every source."""
        return lambda _service, _name: POLICIES[self.name]

    def meter(self) -> tuple[int, int, int]:
        """Return operations, bytes read and bytes put up to now."""
        return self.store.operations, self.store.read_bytes, self.store.put_bytes

    def note_prune(
        self, night: int, seconds: float, before: tuple[int, int, int], report: PruneReport
    ) -> None:
        """Note what a prune took."""
        operations, read, put = (n - b for n, b in zip(self.meter(), before, strict=True))
        moved = report.repacked.read_bytes
        total = self.total_bytes()
        cost = PruneCost(night, seconds, operations, read, put, moved, total, self.objects())
        self.prunes.append(cost)

    def objects(self) -> Counter[str]:
        """Return how many objects there are of each kind."""
        return Counter(stat.name.partition("/")[0] for stat in self.memory.list(""))

    def total_bytes(self, *prefixes: str) -> int:
        """Return what is stored, or only what lies under some prefixes."""
        return sum(s.size_bytes for p in prefixes or ("",) for s in self.memory.list(p))


@dataclass
class Crash:
    """From the ``at``-th operation on ``place`` fails, while ``step`` is done."""

    step: str
    place: str
    at: int
    is_late: bool

    def backend(self, store: Backend) -> FaultyBackend:
        """Return a store that dies; ``is_late``: the operation is done, and nobody hears of it."""
        if not self.is_late:
            return FaultyBackend(store, Fault("*", at=self.at, times=None))
        return FaultyBackend(
            store, Fault("*", at=self.at, late=True), Fault("*", at=self.at + 1, times=None)
        )


class Nights:
    """The repository, its copies, and all that is to be known about them.

    Attributes:
        expected: What each snapshot holds, by the night that its tag names.
        snapshots: All that there ever were.
        crashes: How many struck, by step and place.
    """

    def __init__(self, folder: Path, seed: int, parameters: Parameters = PARAMETERS) -> None:
        self.clock = NightClock()
        self.places = {name: Place(name, self.clock) for name in POLICIES}
        self.cache_dir = folder / "cache"
        (folder / "life").mkdir(parents=True)
        self.life = Life(folder / "life", seed, self.clock)
        self.expected: dict[str, dict[str, str]] = {}
        self.snapshots: dict[ObjectId, Snapshot] = {}
        self.crashes: Counter[tuple[str, str]] = Counter()
        self.parameters = parameters
        self._seed = seed
        self._to_strike: list[tuple[str, str]] = []
        self._usual: dict[tuple[str, str], int] = {}
        self._crash: Crash | None = None
        self._struck = False
        self._planned = 0
        _, self.credential = create_repository(
            self.places[MAIN].store,
            "correct horse",
            label="first",
            cost=MINIMUM_COST,
            clock=self.clock,
            parameters=parameters,
        )
        with self.open(MAIN) as repository:
            for name in (DAILY, MONTHLY):
                create_copy(repository, self.places[name].store)

    def open(self, place: str, backend: Backend | None = None) -> Repository:
        """Open a place as a new process does that finds the cache of the last."""
        store = backend or self.places[place].store
        return open_repository(store, self.credential, cache_dir=self.cache_dir, clock=self.clock)

    def night(self, number: int, *, is_quiet: bool = False) -> None:
        """Do all that a night does, or what it does until it crashes; a quiet one does not."""
        self.clock.go_to(number)
        if number:
            self.life.live(number)
        self._planned += number % 7 == 1
        # Of each night's own: what is drawn later does not hang on what struck before.
        chance = random.Random(f"{self._seed} {number}")
        is_due = self._planned > 1 or (self._planned and chance.random() < 0.4)
        if is_due and not is_quiet:
            self._crash = self._next_crash(chance)
        try:
            self._all_steps(number)
        except SnapError:
            if not self._struck:
                raise
            assert self._crash is not None
            struck = self._crash.step, self._crash.place
            self.crashes[struck] += 1
            self._to_strike.remove(struck)
            self._planned -= 1
        self._crash, self._struck = None, False
        with self.open(MAIN) as repository:
            self.snapshots |= {s.id: s for s in list_snapshots(repository)}

    def _next_crash(self, chance: random.Random) -> Crash | None:
        """Choose a step of which is known how many operations it takes; each, then each again."""
        self._to_strike = self._to_strike or sorted(self._usual)
        if not self._to_strike:
            return None
        step, place = chance.choice(self._to_strike)
        at = chance.randint(1, self._usual[step, place])
        return Crash(step, place, at, chance.random() < 0.3)

    def _all_steps(self, number: int) -> None:
        self._back_up(number)
        self._forget_and_prune(MAIN, number)
        for name in (DAILY, MONTHLY):
            self._replicate(name)
            self._forget_and_prune(name, number)
        if number % 7 == 6:
            self._check_some()

    @contextmanager
    def _stores(self, step: str, *places: str) -> Iterator[list[FaultyBackend]]:
        """Give the stores of a step, one of which dies if that is planned."""
        crash = self._crash
        if crash is not None and (crash.step != step or crash.place not in places):
            crash = None
        stores = {
            name: crash.backend(self.places[name].store)
            if crash is not None and crash.place == name
            else FaultyBackend(self.places[name].store)
            for name in places
        }
        try:
            yield list(stores.values())
        finally:
            struck = crash is not None and len(stores[crash.place].calls) >= crash.at
            self._struck |= struck
        if struck:
            # Where failing is allowed, as when a lease is given back: dead all the same.
            raise BackendUnavailable("the process died")
        for name, store in stores.items():
            self._usual[step, name] = len(store.calls)

    def _back_up(self, number: int) -> None:
        tag = f"night-{number}"
        self.expected[tag] = self.life.picture()
        options = BackupOptions(service="shop", hostname="host", username="user", tags=(tag,))
        with self._stores("backup", MAIN) as [store], self.open(MAIN, store) as repository:
            snapshot = run_backup(repository, self.life.sources(), options, SilentReporter())
        assert snapshot.status == SUCCESS

    def _forget_and_prune(self, place: str, number: int) -> None:
        with self._stores("forget", place) as [store], self.open(place, store) as repository:
            self._forget(repository, self.places[place].policy_of)
        before = self.places[place].meter()
        began = time.perf_counter()
        with self._stores("prune", place) as [store], self.open(place, store) as repository:
            report = run_prune(repository, PruneOptions(_owner("prune")), SilentReporter())
        assert report.lost == []
        assert report.warnings == []
        seconds = time.perf_counter() - began
        self.places[place].note_prune(number, seconds, before, report)

    def _forget(self, repository: Repository, policy_of: PolicyOf) -> None:
        """Forget as ``snap forget`` does."""
        owner = _owner("forget")
        with Lease(repository.backend, repository.keys, owner, repository.clock) as lease:
            now_ns = min(repository.clock(), lease.renewed_ns)
            stored = stored_times(repository)
            judged = judge(list_snapshots(repository), stored, policy_of, now_ns, ZONE)
            forget(repository, [j.snapshot for j in judged if not j.keep], lease)

    def _replicate(self, place: str) -> None:
        keeps = partial(
            kept_ids,
            policy_of=self.places[place].policy_of,
            now_ns=self.clock(),
            zone=ZONE,
        )
        options = ReplicateOptions(_owner(OPERATION), keeps=keeps)
        with (
            self._stores(f"replicate into {place}", MAIN, place) as [store, copy],
            self.open(MAIN, store) as repository,
        ):
            report = run_replicate(repository, copy, options, SilentReporter(), name=place)
        assert report.ok, report
        assert report.warnings == []

    def _check_some(self) -> None:
        for name in self.places:
            with self.open(name) as repository:
                run_check(repository, read_fraction=0.05, reporter=SilentReporter(), remember=True)

    # What must hold

    def assert_whole(self) -> None:
        """Assert that every place is sound, keeps what its policy says, and restores it equal."""
        for name in self.places:
            with self.open(name) as repository:
                report = run_check(repository, read_fraction=1, reporter=SilentReporter())
                assert report.errors == [], name
                assert {s.id for s in list_snapshots(repository)} == self.policy_keeps(name)
                for snapshot in list_snapshots(repository):
                    found = {
                        component: component_digest(component, content)
                        for component, content in restored(repository, snapshot).items()
                    }
                    assert found == self.expected[snapshot.tags[0]], (name, snapshot.tags)

    def policy_keeps(self, place: str) -> frozenset[ObjectId]:
        """Return what the policy keeps of all the snapshots that there ever were."""
        everything = list(self.snapshots.values())
        return kept_ids(everything, self.places[place].policy_of, self.clock(), ZONE)

    def fresh_bytes(self, place: str, folder: Path) -> int:
        """Return the size of a new repository into which all that a place keeps is backed up."""
        folder.mkdir()
        new = MemoryBackend(clock=self.clock)
        create_repository(
            new,
            "correct horse",
            label="first",
            cost=MINIMUM_COST,
            clock=self.clock,
            parameters=self.parameters,
        )
        database = folder / "orders.db"
        with self.open(place) as old:
            for snapshot in sorted(list_snapshots(old), key=lambda s: s.time_ns):
                content = restored(old, snapshot)
                (rows,) = content[SQLITE].values()
                database.write_bytes(rows)
                vectors, graph, small = (content[name] for name in (CHROMA, NEO4J, FILES))
                sources = sources_of(database, vectors, graph, small, self.clock)
                options = BackupOptions(service="shop", hostname="host", username="user")
                with open_repository(
                    new, "correct horse", cache_dir=folder, clock=self.clock
                ) as repository:
                    run_backup(repository, sources, options, SilentReporter())
        return sum(stat.size_bytes for stat in new.list(""))


def restored(repository: Repository, snapshot: Snapshot) -> dict[str, Content]:
    """Return the files of each component."""
    found = {}
    for component in snapshot.components:
        target = MemoryTarget()
        run_restore(repository, snapshot, component.name, (), target, reporter=SilentReporter())
        found[component.name] = dict(target.files)
    return found


def _owner(operation: str) -> Owner:
    return Owner(operation, "host", os.getpid())
