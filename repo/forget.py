"""Forgetting: what goes by a policy or by name, and removing it from the list (design §10).

Only the snapshots' own objects are deleted. What they needed and nothing else does stays in the
packs until a prune.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo

from snap.backends.base import BackendError, ObjectNotFound

from .catalog import BEFORE_RESTORE_TAG, FUTURE_NS, HELD_TAG, load_snapshot
from .clock import MINUTE_NS
from .doomed import Doomed, list_doomed, put_doomed
from .ids import ObjectId, id_of_name
from .lease import Lease
from .repository import SNAPSHOT_PREFIX, Repository
from .retention import Candidate, Policy, decide
from .snapshot import QUARANTINED, SUCCESS, Component, Snapshot

_DAY_NS = 24 * 60 * MINUTE_NS
_TOLD_NS = 3 * _DAY_NS
"""A mark that is older says it no longer: a prune lets go of it when it is seven days old."""
PAST_NS = 2 * _DAY_NS
"""It may be so much older than its object, on top of how long the backup took."""

PolicyOf = Callable[[str, str], Policy]
"""Gives the policy for a source by service and name."""


@dataclass(slots=True)
class Judged:
    """A snapshot with the verdict on it; ``reasons`` name the source where it has several."""

    snapshot: Snapshot
    keep: bool = False
    reasons: list[str] = field(default_factory=list)


def is_held(snapshot: Snapshot) -> bool:
    """Return whether a mark keeps it whatever retention says."""
    return HELD_TAG in snapshot.tags


def is_trusted(snapshot: Snapshot, stored_ns: int | None) -> bool:
    """Return whether a snapshot's own time can be true, by when the store got its object.

    None: the store was not asked. The object of a copy or of a changed tag is younger than its
    snapshot: that costs nothing, since what is not trusted only stays longer.
    """
    if stored_ns is None:
        return True
    took_ns = max(0, snapshot.statistics.duration_ns)
    return stored_ns - PAST_NS - took_ns <= snapshot.time_ns <= stored_ns + FUTURE_NS


def judge(
    snapshots: Sequence[Snapshot],
    stored_ns: Mapping[ObjectId, int],
    policy_of: PolicyOf,
    now_ns: int,
    zone: tzinfo,
) -> list[Judged]:
    """Return the verdict on each snapshot, in their order.

    Grouped by service and source name, never by place. A snapshot goes when none of the sources
    in it needs it.

    Raises:
        UsageError: a policy keeps nothing.
    """
    groups: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for snapshot in snapshots:
        trusted = is_trusted(snapshot, stored_ns.get(snapshot.id))
        for component in snapshot.components:
            groups[snapshot.service, component.name].append(
                Candidate(
                    snapshot.id,
                    snapshot.time_ns,
                    is_good=_counts(snapshot, component),
                    is_trusted=trusted,
                    is_held=is_held(snapshot),
                    tags=frozenset(snapshot.tags),
                )
            )
    verdicts = {snapshot.id: Judged(snapshot) for snapshot in snapshots}
    removals: dict[ObjectId, list[tuple[str, str]]] = defaultdict(list)
    stays: dict[ObjectId, list[tuple[str, str]]] = defaultdict(list)
    for (service, name), candidates in groups.items():
        for id_, verdict in decide(candidates, policy_of(service, name), now_ns, zone).items():
            verdicts[id_].keep |= verdict.keep
            (stays if verdict.keep else removals)[id_] += [(name, r) for r in verdict.reasons]
    for id_, judged in verdicts.items():
        judged.reasons = _in_words(stays[id_] if judged.keep else removals[id_], judged.snapshot)
        if not judged.snapshot.components:
            judged.keep, judged.reasons = True, ["has no component that a policy could be about"]
    return list(verdicts.values())


def kept_ids(
    snapshots: Sequence[Snapshot], policy_of: PolicyOf, now_ns: int, zone: tzinfo
) -> frozenset[ObjectId]:
    """Return the snapshots that stay, each taken at its word."""
    judged = judge(snapshots, {}, policy_of, now_ns, zone)
    return frozenset(j.snapshot.id for j in judged if j.keep)


def _counts(snapshot: Snapshot, component: Component) -> bool:
    return (
        component.status == SUCCESS
        and snapshot.status != QUARANTINED
        and BEFORE_RESTORE_TAG not in snapshot.tags
    )


def _in_words(reasons: Iterable[tuple[str, str]], snapshot: Snapshot) -> list[str]:
    """Return each reason once, with the names of the sources unless it is about all of them."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, reason in reasons:
        names[reason].append(name)
    everything = len(snapshot.components)
    return [
        reason if len(found) == everything else f"{', '.join(found)}: {reason}"
        for reason, found in names.items()
    ]


def last_good_ones(snapshots: Sequence[Snapshot]) -> dict[ObjectId, list[str]]:
    """Return the snapshots that are the last good one of a source, with the sources' names."""
    last: dict[tuple[str, str], ObjectId] = {}
    for snapshot in sorted(snapshots, key=lambda s: s.time_ns):
        for component in snapshot.components:
            if _counts(snapshot, component):
                last[snapshot.service, component.name] = snapshot.id
    found: dict[ObjectId, list[str]] = defaultdict(list)
    for (_, name), id_ in last.items():
        found[id_].append(name)
    return found


def stored_times(repository: Repository) -> dict[ObjectId, int]:
    """Return when the store got each snapshot's object, by its own clock."""
    found = {}
    for stat in repository.backend.list(SNAPSHOT_PREFIX):
        id_ = id_of_name(stat.name)
        if id_ is not None:
            found[id_] = stat.modified_ns
    return found


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of the snapshots that were to go; of each that stays, why the store kept it."""

    removed: list[Snapshot]
    refused: list[tuple[Snapshot, BackendError]]


def forget(repository: Repository, snapshots: Sequence[Snapshot], lease: Lease) -> Forgotten:
    """Delete snapshots, with their former revisions; durable on return.

    That they were forgotten and not lost is written down first (spec/FORMAT.md §12.1). One that
    got a newer revision meanwhile (a hold, a tag) stays as that.

    Raises:
        RepositoryLocked: the lease ran out before anything was deleted.
    """
    lease.confirm()
    former = _revisions(repository, snapshots)
    gone = frozenset(s.original or s.id for s in snapshots)
    doomed = list_doomed(repository.backend, repository.keys)
    if not gone <= doomed.forgotten(lease.renewed_ns - _TOLD_NS):
        # Else an earlier run said so already, and the store kept them.
        mark = Doomed(repository.clock(), snapshots=gone)
        put_doomed(repository.backend, repository.keys, mark)
    removed: list[Snapshot] = []
    refused: list[tuple[Snapshot, BackendError]] = []
    for snapshot in snapshots:
        try:
            for id_ in former[snapshot.id]:
                _delete(repository, id_)
        except BackendError as error:
            refused.append((snapshot, error))
        else:
            removed.append(snapshot)
    return Forgotten(removed, refused)


def _revisions(
    repository: Repository, snapshots: Sequence[Snapshot]
) -> dict[ObjectId, list[ObjectId]]:
    """Return the objects of each snapshot, the oldest revision first.

    In this order what is left by an interruption is still the revision that counts.
    """
    found = {(s.original or s.id): [(s.revision, s.id)] for s in snapshots}
    wanted = {s.id for s in snapshots}
    for name in repository.names(SNAPSHOT_PREFIX):
        try:
            other = load_snapshot(repository, name)
        except ObjectNotFound:
            continue
        lineage = found.get(other.original or other.id)
        if lineage is not None and other.id not in wanted and other.revision <= lineage[0][0]:
            lineage.append((other.revision, other.id))
    return {lineage[0][1]: [id_ for _, id_ in sorted(lineage)] for lineage in found.values()}


def _delete(repository: Repository, id_: ObjectId) -> None:
    try:
        repository.backend.delete(SNAPSHOT_PREFIX + id_.hex())
    except ObjectNotFound:
        # Somebody else forgot it at the same time.
        return
