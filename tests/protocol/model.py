"""The prune protocol as actors; spec/DESIGN.md has it in words.

Each function is a phase (see checker.py) of the operation ``me``. ``if rules.has(Rule.X)`` marks
what is done for safety, so that it can be left out; the branch without it is never the protocol.

What is not modelled, and why that changes nothing:

* Local work between two store operations belongs to the step before it.
* Where a listing is one step, listing twice until both are equal is the same as listing once, and
  write-once objects need not be read after they were listed. ``Rules.torn`` has both in full.
* The 30 minutes that a record waits: the model's sweeps never wait, and are safe without.
"""

from collections.abc import Iterable
from typing import Any

from .checker import Answer, Call, Steps
from .rules import Rule, Rules
from .store import (
    Confirm,
    Delete,
    End,
    EndOfList,
    Get,
    Index,
    Kind,
    Lease,
    List,
    Put,
    PutConfirmed,
    Record,
    Snapshot,
    blobs_of,
    named_by,
)

Names = frozenset[str]
NONE: Names = frozenset()


# What all do.


def listing(rules: Rules, kind: Kind) -> Answer:
    found = yield List(kind)
    if kind in rules.torn:
        found = yield EndOfList(kind, found)
    return found


def doomed_packs(rules: Rules) -> Answer:
    records = yield from listing(rules, "doomed")
    return packs_of(records)


def packs_of(records: Iterable[Record]) -> Names:
    return frozenset(pack for record in records for pack in record.packs)


def finish(rules: Rules, me: str, success: str = "") -> Steps:
    yield End(me, success)
    return None


# Backup.


def backup(rules: Rules, me: str, wanted: str, adopt: bool = False) -> Steps:
    """Find out which of the wanted blobs are held.

    With ``adopt``, packs that no index object names are taken too: a killed backup left them.
    """
    doomed = NONE
    if rules.has(Rule.LEASE_FIRST):
        yield Put("leases", Lease(me))
    if rules.has(Rule.ASKS_DOOMED) and rules.has(Rule.DOOMED_FIRST):
        doomed = yield from doomed_packs(rules)
    packs = named_by((yield from listing(rules, "index")))
    orphans = NONE
    if rules.has(Rule.SEES_PACKS):
        there = yield from listing(rules, "packs")
        orphans = there - packs if adopt else NONE
        packs &= there
    if rules.has(Rule.ASKS_DOOMED) and not rules.has(Rule.DOOMED_FIRST):
        doomed = yield from doomed_packs(rules)
    if not rules.has(Rule.LEASE_FIRST):
        yield Put("leases", Lease(me))
    missing = set(wanted) - blobs_of((packs | orphans) - doomed)
    return store_blobs, (rules, me, wanted, text(missing), orphans - doomed)


def store_blobs(rules: Rules, me: str, wanted: str, missing: str, orphans: Names) -> Steps:
    if orphans:
        yield Put("index", Index(f"{me}+", orphans))
    if missing:
        yield Put("packs", f"{me}:{missing}")
        yield Put("index", Index(me, frozenset({f"{me}:{missing}"})))
    return commit, (rules, me, Snapshot(me, frozenset(wanted), me))


def commit(rules: Rules, me: str, snapshot: Snapshot) -> Steps:
    now_is_enough = not rules.has(Rule.CONFIRMS_EVER)
    if rules.fused and rules.has(Rule.CONFIRMS):
        if not (yield PutConfirmed(snapshot)):
            return finish, (rules, me)
        return put, (rules, me, snapshot)
    if rules.has(Rule.CONFIRMS) and not (yield Confirm(me, now_is_enough)):
        return finish, (rules, me)
    yield Put("snapshots", snapshot)
    return put, (rules, me, snapshot)


def put(rules: Rules, me: str, snapshot: Snapshot) -> Steps:
    now_is_enough = not rules.has(Rule.CONFIRMS_EVER)
    if rules.has(Rule.CONFIRMS_AGAIN) and not (yield Confirm(me, now_is_enough)):
        return check_own, (rules, me, snapshot)
    return finish, (rules, me, snapshot.name)


def check_own(rules: Rules, me: str, snapshot: Snapshot) -> Steps:
    """The lease had been dead: is all there that the snapshot needs, and none of it doomed?"""
    doomed = NONE
    if rules.has(Rule.CHECK_ASKS_DOOMED):
        doomed = yield from doomed_packs(rules)
    packs = named_by((yield from listing(rules, "index")))
    packs &= yield from listing(rules, "packs")
    if snapshot.blobs <= blobs_of(packs - doomed):
        return finish, (rules, me, snapshot.name)
    yield Delete("snapshots", snapshot)
    return finish, (rules, me)


# Tag and forget.


def tag(rules: Rules, me: str, old: Snapshot) -> Steps:
    """Put a new revision while the former one is there, so that every listing sees one of them."""
    # Without TAG_HAS_LEASE nobody sees this one; it is there for `wrong`, which asks who has ended.
    yield Put("leases", Lease(me, "alive" if rules.has(Rule.TAG_HAS_LEASE) else "dead"))
    if not (yield Get("snapshots", old)):
        return finish, (rules, me)
    new = Snapshot(f"{old.name}+{me}", old.blobs, me)
    if not rules.has(Rule.NEW_REVISION_FIRST):
        yield Delete("snapshots", old)
        yield Put("snapshots", new)
        return finish, (rules, me, new.name)
    if rules.fused:
        if not (yield PutConfirmed(new, old)):
            return finish, (rules, me)
    else:
        yield Put("snapshots", new)
    if rules.has(Rule.TAG_LOOKS_AGAIN) and not (yield Get("snapshots", old)):
        yield Delete("snapshots", new)
        return finish, (rules, me)
    yield Delete("snapshots", old)
    return finish, (rules, me, new.name)


def forget(rules: Rules, me: str, name: str) -> Steps:
    """Delete a snapshot, in whatever revisions it is there."""
    yield Put("leases", Lease(me))
    found = yield from listing(rules, "snapshots")
    for snapshot in sorted(found):
        if snapshot.name.partition("+")[0] == name:
            yield Delete("snapshots", snapshot)
    return finish, (rules, me)


# Replicate, seen from the place into which it puts.


def replicate(rules: Rules, me: str, snapshot: str, packs: Names) -> Steps:
    """Bring a snapshot and its packs, under their own names where that is possible."""
    yield Put("leases", Lease(me))
    records = yield from listing(rules, "doomed")
    doomed = packs_of(records) if rules.has(Rule.REPLICATE_ASKS_DOOMED) else NONE
    named = named_by((yield from listing(rules, "index")))
    there = yield from listing(rules, "packs")
    new = Snapshot(snapshot, blobs_of(packs), me)
    if doomed & packs and not rules.has(Rule.REPLICATE_RENAMES):
        return take_back, (rules, me, new, packs, records, named)
    missing = frozenset(
        f"{me}:{pack.partition(':')[2]}" if pack in doomed else pack
        for pack in packs
        if pack in doomed or pack not in there
    )
    return bring, (rules, me, new, missing, (packs - doomed | missing) - named)


def take_back(
    rules: Rules, me: str, new: Snapshot, packs: Names, records: frozenset[Record], named: Names
) -> Steps:
    """Without REPLICATE_RENAMES: take packs out of their records, unless a prune is there."""
    if rules.has(Rule.EXCLUSION):
        alive = yield from listing(rules, "leases")
        if any(is_prune(name) for name in alive):
            return finish, (rules, me)
    for record in sorted(records, key=str):
        if record.packs & packs:
            yield Put("doomed", without(record, packs, me))
            yield Delete("doomed", record)
    missing = packs - (yield from listing(rules, "packs"))
    return bring, (rules, me, new, missing, packs - named | missing)


def bring(rules: Rules, me: str, new: Snapshot, missing: Names, unnamed: Names) -> Steps:
    for pack in sorted(missing):
        yield Put("packs", pack)
    if unnamed:
        yield Put("index", Index(me, unnamed))
    return commit, (rules, me, new)


def is_prune(lease: str) -> bool:
    return lease[0] in "MS"


def without(record: Record, packs: Names, me: str) -> Record:
    return record._replace(name=f"{record.name}-{me}", packs=record.packs - packs)


# Both steps of prune.


def excluded(rules: Rules) -> Answer:
    """Without REPLICATE_RENAMES: is a replicate there, so that a prune has to stop?"""
    if rules.has(Rule.REPLICATE_RENAMES) or not rules.has(Rule.EXCLUSION):
        return False
    alive = yield from listing(rules, "leases")
    return any(name[0] == "R" for name in alive)


def look(
    rules: Rules, me: str, then: Any, args: tuple[Any, ...], seen: tuple[Any, ...] = ()
) -> Steps:
    """Read snapshots and index; go on with ``then(rules, me, *args, snapshots, index)``."""
    order: tuple[Kind, Kind] = ("snapshots", "index")
    if not rules.has(Rule.SNAPSHOTS_BEFORE_INDEX):
        order = ("index", "snapshots")
    if len(seen) == 2:
        snapshots, index = seen if order[0] == "snapshots" else seen[::-1]
        return then, (rules, me, *args, snapshots, index)
    kind = order[len(seen)]
    again: Call = look, (rules, me, then, args, seen)
    found = yield from listing(rules, kind)
    if kind in rules.torn:
        for one in sorted(found):
            if not (yield Get(kind, one)):
                return again
        if rules.has(Rule.STABLE_LISTING) and found != (yield from listing(rules, kind)):
            return again
    return look, (rules, me, then, args, (*seen, found))


def needed_by(snapshots: Iterable[Snapshot]) -> Names:
    return frozenset(blob for snapshot in snapshots for blob in snapshot.blobs)


def text(blobs: Iterable[str]) -> str:
    return "".join(sorted(blobs))


# Mark.


def mark(rules: Rules, me: str, moving: bool = False) -> Steps:
    """Begin a mark; ``moving``: what is needed is moved out of packs that are partly unused."""
    yield Put("leases", Lease(me))
    if (yield from excluded(rules)):
        return finish, (rules, me)
    return look, (rules, me, choose, (moving,))


def choose(
    rules: Rules,
    me: str,
    moving: bool,
    snapshots: frozenset[Snapshot],
    index: frozenset[Index],
) -> Steps:
    """Keep one place of each needed blob, rather in no record, then the smallest; doom the rest.

    Packs that no index object names are doomed too, and those that one names but are not there,
    so that a sweep takes them out of the index.
    """
    records = yield from listing(rules, "doomed")
    there = yield from listing(rules, "packs")
    needed, named, doomed = needed_by(snapshots), named_by(index), packs_of(records)
    places = named & there
    if rules.has(Rule.REFUSES) and not needed <= blobs_of(places):
        return finish, (rules, me)
    kept: dict[str, str] = {}
    for blob in sorted(needed & blobs_of(places)):
        pack = min((p for p in places if blob in blobs_of({p})), key=lambda p: (p in doomed, p))
        kept[pack] = kept.get(pack, "") + blob
    waste = (named | there) - doomed - set(kept)
    partly = {p: b for p, b in kept.items() if p not in doomed and set(b) != blobs_of({p})}
    if moving and partly:
        return repack, (rules, me, waste, frozenset(partly), text("".join(partly.values())))
    return doom, (rules, me, waste, index)


def repack(rules: Rules, me: str, waste: Names, partly: Names, blobs: str) -> Steps:
    for pack in sorted(partly):
        if not (yield Get("packs", pack)):
            return finish, (rules, me)
    yield Put("packs", f"{me}:{blobs}")
    yield Put("index", Index(me, frozenset({f"{me}:{blobs}"})))
    return doom, (rules, me, waste | partly, frozenset())


def doom(rules: Rules, me: str, waste: Names, index: frozenset[Index]) -> Steps:
    if not waste or (rules.has(Rule.MARK_CONFIRMS) and not (yield Confirm(me))):
        return finish, (rules, me)
    alive: Names = NONE
    if not rules.has(Rule.LEASES_LISTED_LAST):
        alive = yield from listing(rules, "leases")
        yield Put("doomed", Record(me, waste, alive - {me}))
    elif not rules.has(Rule.NOTES_LEASES):
        yield Put("doomed", Record(me, waste, NONE))
    else:
        record = Record(f"{me}?", waste, None)
        yield Put("doomed", record)
        yield from finish_record(rules, me, record)
    if not rules.has(Rule.INDEX_LEFT):
        return rewrite_index, (rules, me, waste, frozenset(), index)
    return finish, (rules, me)


def finish_record(rules: Rules, me: str, record: Record) -> Answer:
    alive = yield from listing(rules, "leases")
    finished = Record(f"{record.name}{me}", record.packs, alive - {me}, of=record.name)
    yield Put("doomed", finished)
    if not rules.has(Rule.RECORD_STAYS):
        yield Delete("doomed", record)
    return finished


# Sweep.


def sweep(rules: Rules, me: str) -> Steps:
    yield Put("leases", Lease(me))
    if (yield from excluded(rules)):
        return finish, (rules, me)
    records = yield from listing(rules, "doomed")
    done = {record.of for record in records}
    for record in sorted(records, key=str):
        if record.leases is None and record.name not in done and rules.has(Rule.FINISHES):
            records |= {(yield from finish_record(rules, me, record))}
    if not records:
        return finish, (rules, me)
    if rules.has(Rule.LEASES_BEFORE_NEEDS):
        return ask_leases, (rules, me, records)
    return look, (rules, me, ask_leases, (records,))


def ask_leases(
    rules: Rules,
    me: str,
    records: frozenset[Record],
    snapshots: frozenset[Snapshot] | None = None,
    index: frozenset[Index] | None = None,
) -> Steps:
    """A record is ripe when its leases are gone or dead, and with it the one that it finishes."""
    alive = yield from listing(rules, "leases")
    ripe = frozenset(r for r in records if r.leases is not None and not r.leases & alive)
    finished = {r.of for r in ripe}
    if not rules.has(Rule.FINISHES):
        finished |= {r.name for r in records if r.leases is None}
    ripe |= {r for r in records if r.leases is None and r.name in finished}
    if not ripe:
        return finish, (rules, me)
    if snapshots is None:
        return look, (rules, me, decide, (records, ripe))
    return decide, (rules, me, records, ripe, snapshots, index)


def decide(
    rules: Rules,
    me: str,
    records: frozenset[Record],
    ripe: frozenset[Record],
    snapshots: frozenset[Snapshot],
    index: frozenset[Index],
) -> Steps:
    """Rescue what is needed; all else in the ripe records goes."""
    there = yield from listing(rules, "packs")
    named, needed, waste, doomed = (
        named_by(index),
        needed_by(snapshots),
        packs_of(ripe),
        packs_of(records),
    )
    waste &= there | named
    places = named & there
    if not waste:
        return delete_packs, (rules, me, waste, ripe)
    if not rules.has(Rule.NEEDS_ANEW):
        return rewrite_index, (rules, me, waste, ripe, index)
    if rules.has(Rule.REFUSES) and not needed <= blobs_of(places):
        return finish, (rules, me)
    lost = needed & blobs_of(places & waste) - blobs_of(places - doomed)
    if not rules.has(Rule.RESCUES):
        lost = frozenset(b for b in lost if sum(b in blobs_of({p}) for p in places) == 1)
    if lost and rules.has(Rule.RESCUE_COPIES):
        sources = frozenset(first_with(blob, places) for blob in lost)
        return rescue, (rules, me, waste, ripe, index, sources, text(lost))
    if lost:
        kept = frozenset(first_with(blob, places) for blob in lost)
        return take_out, (rules, me, waste, ripe, index, records, kept)
    return rewrite_index, (rules, me, waste, ripe, index)


def first_with(blob: str, packs: Names) -> str:
    return min(pack for pack in packs if blob in blobs_of({pack}))


def rescue(
    rules: Rules,
    me: str,
    waste: Names,
    ripe: frozenset[Record],
    index: frozenset[Index],
    sources: Names,
    blobs: str,
) -> Steps:
    for pack in sorted(sources):
        if not (yield Get("packs", pack)):
            return finish, (rules, me)
    yield Put("packs", f"{me}:{blobs}")
    yield Put("index", Index(f"{me}+", frozenset({f"{me}:{blobs}"})))
    return rewrite_index, (rules, me, waste, ripe, index)


def take_out(
    rules: Rules,
    me: str,
    waste: Names,
    ripe: frozenset[Record],
    index: frozenset[Index],
    records: frozenset[Record],
    kept: Names,
) -> Steps:
    """Without RESCUE_COPIES: what is needed is doomed no more."""
    for record in sorted(records, key=str):
        if record.packs & kept:
            yield Put("doomed", without(record, kept, me))
            yield Delete("doomed", record)
    return rewrite_index, (rules, me, waste - kept, ripe, index)


def rewrite_index(
    rules: Rules, me: str, waste: Names, ripe: frozenset[Record], index: frozenset[Index]
) -> Steps:
    """Replace the index objects that name what goes; then the packs go, then the records."""
    if rules.has(Rule.SWEEP_CONFIRMS) and not (yield Confirm(me)):
        return finish, (rules, me)
    if not rules.has(Rule.INDEX_BEFORE_PACKS):
        for pack in sorted(waste):
            yield Delete("packs", pack)
    old = frozenset(one for one in index if one.packs & waste)
    new = named_by(old) - waste
    if not rules.has(Rule.KEEPS_OTHERS):
        new = named_by(index) - waste
        old = yield from listing(rules, "index")
    if new and rules.has(Rule.NEW_INDEX_FIRST):
        yield Put("index", Index(me, new))
    for one in sorted(old):
        yield Delete("index", one)
    if new and not rules.has(Rule.NEW_INDEX_FIRST):
        yield Put("index", Index(me, new))
    return delete_packs, (rules, me, waste if rules.has(Rule.INDEX_LEFT) or ripe else NONE, ripe)


def delete_packs(rules: Rules, me: str, waste: Names, ripe: frozenset[Record]) -> Steps:
    if rules.has(Rule.RECORD_LAST):
        for pack in sorted(waste):
            yield Delete("packs", pack)
    for record in sorted(ripe, key=str):
        if not rules.has(Rule.RECORD_OUTLIVES) or record.leases is None or rules.days_later:
            yield Delete("doomed", record)
    if not rules.has(Rule.RECORD_LAST):
        for pack in sorted(waste):
            yield Delete("packs", pack)
    return finish, (rules, me)
