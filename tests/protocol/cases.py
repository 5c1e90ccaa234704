"""The small cases that are explored, and what leaving out each rule of the protocol leads to."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from .checker import Explored, System, explore
from .model import (
    backup,
    decide,
    forget,
    look,
    mark,
    replicate,
    rewrite_index,
    sweep,
    tag,
)
from .rules import Rule, Rules
from .store import (
    Index,
    Kind,
    Lease,
    Record,
    Snapshot,
    Store,
    passing_time,
    passing_time_and_renewals,
    wrong,
    wrong_for_readers,
    wrong_if_killed,
)

Chain = tuple[tuple[Any, ...], ...]
"""The operations of one process, one after the other: (phase, name, arguments)."""


def nothing_happens(store: Store) -> list[tuple[str, Store]]:
    """The environment in which nobody is ever paused."""
    return []


def only_paused(name: str) -> Callable[[Store], list[tuple[str, Store]]]:
    """Return the environment in which one operation alone may be paused for 30 minutes."""
    return lambda store: [one for one in passing_time(store) if f" {name} is" in one[0]]


@dataclass(frozen=True)
class Case:
    """Some processes on a small store.

    Args:
        least: as many states it has at least; fewer mean that the model does less than it should.
    """

    store: Store
    chains: tuple[Chain, ...]
    least: int = 0
    torn: tuple[Kind, ...] = ()
    environment: Callable[[Store], Iterable[tuple[str, Store]]] = passing_time
    wrong: Callable[[Store], str | None] = wrong
    rules: Rules = field(default=Rules())

    def explore(self, *without: Rule) -> Explored:
        rules = replace(self.rules, without=frozenset(without), torn=frozenset(self.torn))
        actors = tuple(
            tuple((phase, (rules, *args)) for phase, *args in chain) for chain in self.chains
        )
        return explore(System(self.store, actors, self.environment, self.wrong))


def _store(
    packs: Iterable[str], snapshots: dict[str, str], records: Iterable[Record] = ()
) -> Store:
    return Store(
        packs=frozenset(packs),
        index=frozenset({Index("I", frozenset(packs))}),
        snapshots=frozenset(Snapshot(name, frozenset(b), "") for name, b in snapshots.items()),
        doomed=frozenset(records),
        committed=frozenset(snapshots),
    )


def _packs(*names: str) -> frozenset[str]:
    return frozenset(names)


ALL_TORN: tuple[Kind, ...] = ("leases", "packs", "index", "snapshots", "doomed")

OLD = Snapshot("s", frozenset("a"), "")
RIPE = Record("R1", _packs("P:a"), frozenset())

UNUSED = _store(["P:a", "K:k"], {"keep": "k"})
"""Pack P is not needed."""
USED = _store(["P:a", "K:k"], {"keep": "k", "s": "a"})
"""Pack P is needed by snapshot s alone."""
MARKED = replace(UNUSED, doomed=frozenset({RIPE}))
"""Pack P is in a record that any sweep may delete."""
REUSED = replace(USED, doomed=frozenset({RIPE}))
"""The same, but snapshot s needs it again."""
UNFINISHED = replace(
    USED, doomed=frozenset({Record("R1", _packs("P:a"), None)}), snapshots=UNUSED.snapshots | {OLD}
)
"""A mark was killed before it noted the leases; snapshot s, put since, needs the pack."""
DOUBLED = _store(
    ["P:a", "Q:a", "K:k"],
    {"keep": "k", "s": "a"},
    [RIPE, Record("R2", _packs("Q:a"), frozenset())],
)
"""Snapshot s needs a, and both packs that have it are in ripe records."""
EMPTY = _store(["K:k"], {"keep": "k"})
GHOST = replace(EMPTY, index=frozenset({Index("I", _packs("K:k", "P:a"))}))
"""The index names pack P, which is not there."""
PARTLY = _store(["A:ab", "K:k"], {"keep": "ak"})
"""Half of pack A is needed."""
SHARED = _store(["A:ab", "K:k"], {"keep": "bk", "s": "a"})
"""Half of pack A is needed by snapshot s, half by another one."""
ORPHAN = replace(EMPTY, packs=_packs("K:k", "P:a"))
"""A killed backup left pack P, and no index object names it."""

BACKUP: Chain = ((backup, "B", "ac"),)
REUSE: Chain = ((backup, "B", "a"),)
OTHER_REUSE: Chain = ((backup, "C", "a"),)
PRUNE: Chain = ((mark, "M"), (sweep, "S"))
OTHER_PRUNE: Chain = ((mark, "M2"), (sweep, "S2"))
MOVING_PRUNE: Chain = ((mark, "M2", True), (sweep, "S2"))
FORGET: Chain = ((forget, "F", "s"),)
TAG: Chain = ((tag, "T", OLD),)
OTHER_TAG: Chain = ((tag, "T2", OLD),)
REPLICATE: Chain = ((replicate, "R", "s", _packs("P:a")),)
SWEEP: Chain = ((sweep, "S"),)
OTHER_SWEEP: Chain = ((sweep, "S2"),)

FAST = {
    "1 backup; mark, sweep, sweep": Case(UNUSED, (BACKUP, (*PRUNE, (sweep, "S2"))), least=28_000),
    "1 backup; mark, sweep; dead leases are renewed": Case(
        UNUSED, (BACKUP, PRUNE), environment=passing_time_and_renewals, least=30_000
    ),
    "1 backup; mark, sweep; all listings in two halves": Case(
        UNUSED, (BACKUP, PRUNE), torn=ALL_TORN, least=86_000
    ),
    "1 backup that adopts; mark, sweep": Case(
        ORPHAN, (((backup, "B", "ac", True),), PRUNE), least=10_600
    ),
    "1 backup; 2 sweeps of a record": Case(REUSED, (BACKUP, SWEEP, OTHER_SWEEP), least=140_000),
    "2 prunes; one moves blobs": Case(PARTLY, (PRUNE, MOVING_PRUNE), least=260_000),
    "1 backup; forget; prune that moves blobs": Case(
        SHARED, (BACKUP, FORGET, MOVING_PRUNE), least=100_000
    ),
    "tag; sweep; listings of snapshots in two halves": Case(
        REUSED, (TAG, SWEEP), torn=("snapshots",), least=940
    ),
    "tag; forget; sweep of a record": Case(REUSED, (TAG, FORGET, SWEEP), least=7_500),
    "2 tags; sweep of a record": Case(REUSED, (TAG, OTHER_TAG, SWEEP), least=6_800),
    "1 backup; sweep of an unfinished record": Case(UNFINISHED, (REUSE, SWEEP), least=3_300),
    "1 backup; 2 sweeps of both places": Case(DOUBLED, (REUSE, SWEEP, OTHER_SWEEP), least=170_000),
    "forget; mark, sweep; sweep of both places": Case(
        DOUBLED, (FORGET, PRUNE, OTHER_SWEEP), least=77_000
    ),
    "tag; forget; sweep of both places": Case(DOUBLED, (TAG, FORGET, SWEEP), least=8_000),
    "replicate; 2 sweeps of both places": Case(
        DOUBLED, (REPLICATE, SWEEP, OTHER_SWEEP), least=100_000
    ),
    "replicate of a pack that the index names already; mark, sweep": Case(
        GHOST, (REPLICATE, PRUNE), least=6_600
    ),
    "tag; forget; mark, sweep": Case(USED, (TAG, FORGET, PRUNE), least=10_000),
    "tag; forget; mark, sweep; listings of snapshots in two halves": Case(
        USED, (TAG, FORGET, PRUNE), torn=("snapshots",), least=41_000
    ),
    "replicate; mark, sweep": Case(UNUSED, (REPLICATE, PRUNE), least=6_500),
    "replicate into an empty place; mark, sweep": Case(EMPTY, (REPLICATE, PRUNE), least=3_800),
    "replicate; 2 sweeps of a record": Case(MARKED, (REPLICATE, SWEEP, OTHER_SWEEP), least=44_000),
    "1 backup; replicate; sweep of a record": Case(
        MARKED, (BACKUP, REPLICATE, SWEEP), least=74_000
    ),
}

SLOW = {
    "tag; forget; 1 backup; sweep of a record": Case(
        REUSED, (TAG, FORGET, REUSE, SWEEP), least=440_000
    ),
    "1 backup; forget; 2 sweeps of a record": Case(
        REUSED, (REUSE, FORGET, SWEEP, OTHER_SWEEP), least=1_400_000
    ),
    "1 backup; 2 sweeps of an unfinished record": Case(
        UNFINISHED, (REUSE, SWEEP, OTHER_SWEEP), least=1_800_000
    ),
    "1 backup; mark; sweep": Case(UNUSED, (BACKUP, ((mark, "M"),), SWEEP), least=440_000),
    "2 backups; mark, sweep": Case(UNUSED, (BACKUP, OTHER_REUSE, PRUNE), least=2_600_000),
    "1 backup; replicate; mark, sweep": Case(UNUSED, (BACKUP, REPLICATE, PRUNE), least=2_600_000),
}

HUGE = {
    "2 backups that store; mark, sweep": Case(
        UNUSED, (BACKUP, ((backup, "C", "ac"),), PRUNE), least=5_800_000
    ),
    "1 backup; replicate; 2 sweeps of a record": Case(
        MARKED, (REUSE, REPLICATE, SWEEP, OTHER_SWEEP), least=4_400_000
    ),
    "1 backup; 2 prunes; nobody is paused": Case(
        UNUSED, (REUSE, PRUNE, OTHER_PRUNE), environment=nothing_happens, least=2_700_000
    ),
    "1 backup; 2 prunes; only S is paused": Case(
        UNUSED, (REUSE, PRUNE, OTHER_PRUNE), environment=only_paused("S"), least=5_600_000
    ),
    "1 backup; 2 prunes, one moves blobs; nobody is paused": Case(
        PARTLY, (REUSE, PRUNE, MOVING_PRUNE), environment=nothing_happens, least=2_700_000
    ),
}


@dataclass(frozen=True)
class LeftOut:
    """A case that goes wrong without one rule, and how, in a line.

    Args:
        also: rules left out as well; without these alone it does not go wrong.
    """

    case: Case
    happens: str
    also: tuple[Rule, ...] = ()


DAYS_LATER = Rules(days_later=True)
"""An operation may run so long that the record goes in the meantime."""
SIMPLE = Case(UNUSED, (REUSE, PRUNE))
LATE = Case(UNUSED, (REUSE, PRUNE), environment=passing_time_and_renewals)
TWO_PRUNES = Case(PARTLY, (PRUNE, MOVING_PRUNE))

LEFT_OUT = {
    Rule.ASKS_DOOMED: LeftOut(
        SIMPLE, "B begins after the leases of the record were listed, and reuses P; S deletes P"
    ),
    Rule.LEASE_FIRST: LeftOut(
        SIMPLE, "B has found nothing doomed; M marks P and sees no lease; S deletes P; B commits"
    ),
    Rule.DOOMED_FIRST: LeftOut(
        Case(MARKED, (REUSE, SWEEP), rules=DAYS_LATER),
        "B lists index and packs; S deletes P and its record; B finds nothing doomed, reuses P",
    ),
    Rule.SEES_PACKS: LeftOut(
        Case(
            ORPHAN,
            (
                ((backup, "B", "a", True),),
                ((mark, "M"), (sweep, "S"), (backup, "C", "a")),
            ),
            rules=DAYS_LATER,
        ),
        "B, paused while it adopts P, names P in the index after P was deleted; C believes it",
    ),
    Rule.CONFIRMS: LeftOut(
        replace(SIMPLE, wrong=wrong_if_killed, rules=Rules(fused=True)),
        "B is paused anywhere; S deletes P; B puts its snapshot and is killed",
    ),
    Rule.CONFIRMS_EVER: LeftOut(
        LATE, "B is paused, S deletes P, B wakes up, renews its lease and finds it alive"
    ),
    Rule.CONFIRMS_AGAIN: LeftOut(
        SIMPLE, "B confirms, is paused, S deletes P, B puts its snapshot and calls it a success"
    ),
    Rule.CHECK_ASKS_DOOMED: LeftOut(
        SIMPLE,
        "B confirms, is paused; S sees no snapshot; B puts it, finds P there; S deletes P",
    ),
    Rule.NOTES_LEASES: LeftOut(SIMPLE, "B reuses P before the mark and commits after the sweep"),
    Rule.LEASES_LISTED_LAST: LeftOut(
        SIMPLE, "B begins after the leases were listed and before the record is put"
    ),
    Rule.RECORD_STAYS: LeftOut(
        replace(SIMPLE, torn=("doomed",)),
        "B's listing misses the new record, put during it, and the old one, deleted during it",
    ),
    Rule.INDEX_LEFT: LeftOut(
        SIMPLE,
        "B reuses P; the mark takes P out of the index; B commits: no index object leads to a",
    ),
    Rule.FINISHES: LeftOut(SIMPLE, "M dies before it lists the leases; S waits for nobody"),
    Rule.NEEDS_ANEW: LeftOut(SIMPLE, "B reuses P, M marks P, B commits and ends, S deletes P"),
    Rule.LEASES_BEFORE_NEEDS: LeftOut(
        SIMPLE, "S reads the snapshots, B commits and ends, S sees no lease"
    ),
    Rule.STABLE_LISTING: LeftOut(
        Case(REUSED, (TAG, SWEEP), torn=("snapshots",)),
        "the listing misses the new revision, put during it, and the old one, deleted during it",
    ),
    Rule.RESCUES: LeftOut(
        TWO_PRUNES, "M2 has moved a into a new pack and dooms the old one; M dooms the new one"
    ),
    Rule.RESCUE_COPIES: LeftOut(
        TWO_PRUNES,
        "the same; S2, paused, is about to delete the old one; S keeps that, deletes the new one",
    ),
    Rule.KEEPS_OTHERS: LeftOut(
        Case(UNUSED, (((backup, "B", "c"),), PRUNE)),
        "S deletes B's new index object with the others, not having read it",
    ),
    Rule.NEW_INDEX_FIRST: LeftOut(
        Case(UNUSED, (PRUNE,)),
        "the index object is gone, the new one not there: a kill loses all it named",
    ),
    Rule.INDEX_BEFORE_PACKS: LeftOut(
        Case(UNUSED, (PRUNE,), wrong=wrong_for_readers),
        "not a loss: the index names a pack that is gone, which a reader then asks for",
    ),
    Rule.RECORD_LAST: LeftOut(
        Case(UNUSED, (((backup, "B", "a", True),), PRUNE), rules=DAYS_LATER),
        "the record is gone and P still there, in no index object: B adopts it; S deletes it",
    ),
    Rule.RECORD_OUTLIVES: LeftOut(
        Case(MARKED, (REPLICATE, SWEEP, OTHER_SWEEP), environment=nothing_happens),
        "nobody is paused: S deletes P and its record; R puts P again; S2 knows the old record",
    ),
    Rule.REPLICATE_ASKS_DOOMED: LeftOut(
        Case(MARKED, (REPLICATE, SWEEP)), "S has read the snapshots; R finds P there and commits"
    ),
    Rule.REPLICATE_RENAMES: LeftOut(
        Case(MARKED, (REPLICATE, SWEEP)),
        "S is paused; R sees no prune, takes P out of its record, commits; S deletes P",
    ),
    Rule.EXCLUSION: LeftOut(
        Case(MARKED, (REPLICATE, SWEEP), environment=nothing_happens),
        "(where R takes P out of its record) the same, and nobody is paused",
        also=(Rule.REPLICATE_RENAMES,),
    ),
    Rule.TAG_LOOKS_AGAIN: LeftOut(
        Case(REUSED, (TAG, FORGET, SWEEP), environment=nothing_happens),
        "T reads s; s is forgotten; S reads the snapshots; T puts s+T; S deletes P",
    ),
    Rule.NEW_REVISION_FIRST: LeftOut(
        Case(REUSED, (TAG, SWEEP)), "S reads the snapshots between the two, and deletes P"
    ),
}


# REFUSES needs three sweeps at once. From their first step on they have too many states, so they
# begin after each has read the records and the leases: Q was ripe for S2, U for S3, and all for S;
# S2 has read the rest too.
_NEEDED = _store(["N:n", "Q:q", "U:u", "K:k"], {"keep": "k", "late": "n"})
_N, _Q, _U = (Record(f"R{p}", _packs(f"{p}:{p.lower()}"), frozenset()) for p in "NQU")
_WHOLE = frozenset({Index("I", _NEEDED.packs)})
THREE_SWEEPS = Case(
    replace(
        _NEEDED,
        doomed=frozenset({_N, _Q, _U}),
        leases=frozenset({Lease("S"), Lease("S2"), Lease("S3")}),
    ),
    (
        ((look, "S", decide, (frozenset({_N, _Q, _U}), frozenset({_N, _Q, _U}))),),
        ((rewrite_index, "S2", _Q.packs, frozenset({_Q}), _WHOLE),),
        ((look, "S3", decide, (frozenset({_Q, _U}), frozenset({_U}))),),
    ),
    torn=("index",),
)
LEFT_OUT[Rule.REFUSES] = LeftOut(
    THREE_SWEEPS,
    "an index object is replaced in each of S's two listings: S finds none naming N, deletes N",
)

NOT_NEEDED = {
    Rule.TAG_HAS_LEASE: "the former revision was there until the new one was: each listing saw one",
    Rule.MARK_CONFIRMS: "a record is a hint: the sweep computes all anew",
    Rule.SWEEP_CONFIRMS: "what is doomed stays so: a late sweep deletes what nobody can need",
    Rule.SNAPSHOTS_BEFORE_INDEX: "who was alive at the mark has ended; nobody else needs it",
}
