"""The store of the model: what lies in it, and the operations of one step on it.

Blobs are letters. The name of a pack says what is in it: "P:ab" has the blobs a and b. Every
object is written once, under a name that nobody else makes; only leases change, and replicate puts
packs under the names that they have elsewhere.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

Kind = Literal["leases", "packs", "index", "snapshots", "doomed"]


class Lease(NamedTuple):
    """An operation that runs.

    alive: renewed in time. dead: not renewed for 30 minutes. late: renewed again after it was dead,
    so that to others it seems alive.
    """

    name: str
    state: str = "alive"


class Index(NamedTuple):
    """An index object: it says that these packs, and so their blobs, are there."""

    name: str
    packs: frozenset[str]


class Snapshot(NamedTuple):
    """A snapshot; its writer is an operation. A new revision of "s" is called "s+T"."""

    name: str
    blobs: frozenset[str]
    writer: str


class Record(NamedTuple):
    """A doomed record. Without ``leases`` it is unfinished; a finished one says ``of`` which."""

    name: str
    packs: frozenset[str]
    leases: frozenset[str] | None
    of: str = ""


@dataclass(frozen=True)
class Store:
    """All objects, and what only the model knows: which snapshots somebody may rely on."""

    leases: frozenset[Lease] = frozenset()
    packs: frozenset[str] = frozenset()
    index: frozenset[Index] = frozenset()
    snapshots: frozenset[Snapshot] = frozenset()
    doomed: frozenset[Record] = frozenset()
    committed: frozenset[str] = frozenset()

    def lease(self, name: str) -> str:
        """Return the state of a lease: alive, dead, late or gone."""
        return next((lease.state for lease in self.leases if lease.name == name), "gone")

    def relied_on(self, snapshot: Snapshot) -> bool:
        """Tell whether a snapshot counts as committed when it is put, before its writer says so.

        The new revision that a tag puts counts once the tag has seen the former one still there.
        """
        return "+" not in snapshot.name and self.lease(snapshot.writer) == "alive"


def blobs_of(packs: Iterable[str]) -> frozenset[str]:
    return frozenset(blob for pack in packs for blob in pack.partition(":")[2])


def named_by(index: Iterable[Index]) -> frozenset[str]:
    return frozenset(pack for one in index for pack in one.packs)


@dataclass(frozen=True)
class Put:
    """A backup's snapshot is committed when it is put while its lease is alive."""

    kind: Kind
    what: Any

    def run(self, store: Store) -> Iterable[tuple[Store, None]]:
        after = replace(store, **{self.kind: getattr(store, self.kind) | {self.what}})
        if isinstance(self.what, Snapshot) and store.relied_on(self.what):
            after = replace(after, committed=store.committed | {self.what.name})
        return [(after, None)]

    def told(self, result: None) -> str:
        return f"puts {words(self.kind, self.what)}"


@dataclass(frozen=True)
class Delete:
    kind: Kind
    what: Any

    def run(self, store: Store) -> Iterable[tuple[Store, None]]:
        return [(replace(store, **{self.kind: getattr(store, self.kind) - {self.what}}), None)]

    def told(self, result: None) -> str:
        return f"deletes {words(self.kind, self.what)}"


@dataclass(frozen=True)
class Get:
    """Reading one object that was listed: is it still there?"""

    kind: Kind
    what: Any

    def run(self, store: Store) -> Iterable[tuple[Store, bool]]:
        return [(store, self.what in getattr(store, self.kind))]

    def told(self, result: bool) -> str:
        return f"reads {words(self.kind, self.what)}" + ("" if result else ": it is gone")


@dataclass(frozen=True)
class List:
    """A listing at one moment. Of leases: the names of those that seem alive."""

    kind: Kind

    def run(self, store: Store) -> Iterable[tuple[Store, Any]]:
        return [(store, _listed(store, self.kind))]

    def told(self, result: Any) -> str:
        return f"lists {self.kind}: {_names(self.kind, result)}"


@dataclass(frozen=True)
class EndOfList:
    """The end of a listing that takes time; it began with a ``List``, which found ``begun``.

    What was there at the beginning and at the end is found. What was put or deleted meanwhile may
    be found or not.
    """

    kind: Kind
    begun: frozenset[Any]

    def run(self, store: Store) -> Iterator[tuple[Store, Any]]:
        now = _listed(store, self.kind)
        certain, maybe = self.begun & now, sorted(self.begun ^ now, key=str)
        for choice in range(2 ** len(maybe)):
            yield store, certain | {one for i, one in enumerate(maybe) if choice >> i & 1}

    def told(self, result: Any) -> str:
        return f"... and has listed {self.kind}: {_names(self.kind, result)}"


@dataclass(frozen=True)
class Confirm:
    """Was the lease never dead (or, where that is enough, does it seem alive now)?"""

    me: str
    now_is_enough: bool = False

    def run(self, store: Store) -> Iterable[tuple[Store, bool]]:
        good = ("alive", "late") if self.now_is_enough else ("alive",)
        return [(store, store.lease(self.me) in good)]

    def told(self, result: bool) -> str:
        return "confirms its lease" + ("" if result else ": it had been dead")


@dataclass(frozen=True)
class PutConfirmed:
    """What no store can do: put a snapshot only if the lease is alive, or the former one there."""

    snapshot: Snapshot
    former: Snapshot | None = None

    def run(self, store: Store) -> Iterable[tuple[Store, bool]]:
        alive = store.lease(self.snapshot.writer) == "alive"
        if not (self.former in store.snapshots if self.former else alive):
            return [(store, False)]
        return [(after, True) for after, _ in Put("snapshots", self.snapshot).run(store)]

    def told(self, result: bool) -> str:
        return "puts " + words("snapshots", self.snapshot) if result else "puts nothing"


@dataclass(frozen=True)
class End:
    """The lease is deleted, and success or failure told to whoever asked."""

    me: str
    success: str = ""

    def run(self, store: Store) -> Iterable[tuple[Store, None]]:
        leases = frozenset(lease for lease in store.leases if lease.name != self.me)
        committed = store.committed | {self.success} if self.success else store.committed
        return [(replace(store, leases=leases, committed=committed), None)]

    def told(self, result: None) -> str:
        return "deletes its lease" + (", success" if self.success else "")


def _listed(store: Store, kind: Kind) -> frozenset[Any]:
    if kind == "leases":
        return frozenset(lease.name for lease in store.leases if lease.state != "dead")
    found: frozenset[Any] = getattr(store, kind)
    return found


def _names(kind: Kind, found: Iterable[Any]) -> str:
    names = sorted(one if isinstance(one, str) else one.name for one in found)
    return ", ".join(names) or "none"


def words(kind: Kind, what: Any) -> str:
    if isinstance(what, Lease):
        return "its lease"
    if isinstance(what, Index):
        return f"index object {what.name} naming {', '.join(sorted(what.packs))}"
    if isinstance(what, Snapshot):
        return f"snapshot {what.name}"
    if isinstance(what, Record):
        leases = "no leases yet" if what.leases is None else f"leases {sorted(what.leases)}"
        return f"record {what.name} ({', '.join(sorted(what.packs))}; {leases})"
    return f"pack {what}"


def passing_time(store: Store) -> list[tuple[str, Store]]:
    """At any time an operation may be paused for so long that its lease is dead."""
    return [
        (f"   {lease.name} is paused for over 30 minutes: its lease is dead", after)
        for lease, after in _changed(store, "alive", "dead")
    ]


def passing_time_and_renewals(store: Store) -> list[tuple[str, Store]]:
    """... and may renew it when it wakes up."""
    return passing_time(store) + [
        (f"   {lease.name} wakes up and renews its lease", after)
        for lease, after in _changed(store, "dead", "late")
    ]


def _changed(store: Store, before: str, now: str) -> Iterator[tuple[Lease, Store]]:
    for lease in sorted(store.leases):
        if lease.state == before:
            leases = store.leases - {lease} | {lease._replace(state=now)}
            yield lease, replace(store, leases=leases)


def missed(store: Store) -> dict[Snapshot, frozenset[str]]:
    """Return what is missed by the snapshots that miss something."""
    there = blobs_of(store.packs & named_by(store.index))
    return {s: s.blobs - there for s in sorted(store.snapshots) if not s.blobs <= there}


def wrong(store: Store) -> str | None:
    """No snapshot that was committed, or whose writer has ended, misses a blob."""
    for snapshot, blobs in missed(store).items():
        what = f"snapshot {snapshot.name} misses {', '.join(sorted(blobs))}"
        if snapshot.name in store.committed:
            return what
        if store.lease(snapshot.writer) == "gone":
            return f"{what}, and its writer has ended"
    return None


def wrong_if_killed(store: Store) -> str | None:
    """No snapshot at all misses a blob, so that its writer may be killed at any time."""
    for snapshot, blobs in missed(store).items():
        return f"snapshot {snapshot.name} misses {', '.join(sorted(blobs))}"
    return None


def wrong_for_readers(store: Store) -> str | None:
    """... and the index names no pack that is not there."""
    if gone := named_by(store.index) - store.packs:
        return f"the index names {', '.join(sorted(gone))}, which is gone"
    return wrong(store)


def wrong_without(snapshot: str) -> Callable[[Store], str | None]:
    """... and this snapshot is there in one revision at least."""

    def judge(store: Store) -> str | None:
        if not any(s.name.partition("+")[0] == snapshot for s in store.snapshots):
            return f"there is no revision of snapshot {snapshot}"
        return wrong(store)

    return judge
