"""The list of snapshots: loading, choosing one, changing tags."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum

from snap.backends.base import Backend, ObjectNotFound, ShortRead
from snap.errors import IntegrityError, SnapError, UsageError

from .clock import MINUTE_NS, SECOND_NS
from .codec import DecodeError
from .crypto import Keys
from .envelope import open_object
from .ids import Kind, ObjectId
from .objects import get_verified
from .repository import SNAPSHOT_PREFIX, Repository
from .snapshot import QUARANTINED, Snapshot, decode_snapshot

BEFORE_RESTORE_TAG = "before-restore"
"""Of snapshots that keep what a restore in place replaced."""
HELD_TAG = "held"
"""Of snapshots that stay whatever retention says."""
FUTURE_NS = 60 * MINUTE_NS
"""A snapshot may be so much younger than its object, or than now: clocks differ a little."""


class ProblemKind(StrEnum):
    """What is wrong with an object, for programs."""

    MISSING = "missing"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    INCONSISTENT = "inconsistent"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with one object.

    Attributes:
        kind: ``INCONSISTENT``: readable, and another object says otherwise. ``INCOMPLETE``: it
            needs what cannot be had.
    """

    object: str
    problem: str
    kind: ProblemKind = field(default=ProblemKind.DAMAGED, compare=False)


def kind_of(error: BaseException | None) -> ProblemKind:
    """Return what an error, or what it came from, says of the object that was read."""
    while error is not None:
        if isinstance(error, ObjectNotFound):
            return ProblemKind.MISSING
        if isinstance(error, ShortRead):
            return ProblemKind.TRUNCATED
        error = error.__cause__
    return ProblemKind.DAMAGED


class SnapshotNotFound(SnapError):
    """No snapshot is meant by what was asked for."""


def load_snapshot(repository: Repository, name: str) -> Snapshot:
    """Return one snapshot by its object name.

    Raises:
        IntegrityError: it is damaged.
        ObjectNotFound: it is gone.
    """
    return _decode(name, repository.get_object(name), repository.keys)


def snapshot_at(keys: Keys, backend: Backend, name: str) -> Snapshot:
    """Return one snapshot of any store that has it, as `load_snapshot` does."""
    return _decode(name, get_verified(backend, name), keys)


def _decode(name: str, stored: bytes, keys: Keys) -> Snapshot:
    try:
        body = open_object(keys, Kind.SNAPSHOT, stored)
        return decode_snapshot(body, ObjectId(bytes.fromhex(name[-64:])))
    except DecodeError as error:
        raise IntegrityError(f"{name}: damaged: {error}") from error


def readable_snapshots(repository: Repository) -> tuple[list[Snapshot], list[Problem]]:
    """Return all snapshots by time, and a problem for each that cannot be read."""
    snapshots: list[Snapshot] = []
    problems: list[Problem] = []
    for name in repository.names(SNAPSHOT_PREFIX):
        try:
            snapshots.append(load_snapshot(repository, name))
        except IntegrityError as error:
            problems.append(Problem(name, str(error).removeprefix(f"{name}: ")))
        except ObjectNotFound:
            continue
    return latest_revisions(snapshots), problems


def list_snapshots(repository: Repository) -> list[Snapshot]:
    """Return all snapshots by time.

    Raises:
        IntegrityError: one is damaged.
    """
    snapshots, problems = readable_snapshots(repository)
    if problems:
        raise IntegrityError(f"{problems[0].object}: {problems[0].problem}")
    return snapshots


def latest_revisions(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """Return, by time, of each snapshot the revision that counts (spec/FORMAT.md §10)."""
    latest: dict[ObjectId, Snapshot] = {}
    for snapshot in sorted(snapshots, key=lambda s: s.id, reverse=True):
        first = snapshot.original or snapshot.id
        known = latest.get(first)
        if known is None or snapshot.revision >= known.revision:
            latest[first] = snapshot
    return sorted(latest.values(), key=lambda s: (s.time_ns, s.id))


def select_snapshot(snapshots: Sequence[Snapshot], selector: str, zone: tzinfo) -> Snapshot:
    """Return the snapshot that ``selector`` means.

    An id prefix (of the snapshot or of what it was before its tags were changed), ``latest``,
    ``latest~2`` (the second before it), or ``@2026-11-01`` or ``@2026-11-01T02:00``: the last one
    not after it (a date means its end). Those tagged ``before-restore`` and those in quarantine are
    meant by id only.

    Raises:
        SnapshotNotFound: none, or several.
        UsageError: not a time.
    """
    if not snapshots:
        raise SnapshotNotFound("the repository has no snapshots", "make one with 'snap backup'")
    # What was kept of a database before it was replaced is what nobody wants back by mistake.
    # Nor is what was found collapsed or damaged.
    regular = [s for s in snapshots if is_regular(s)] or snapshots
    if re.fullmatch(r"latest(~\d{1,9})?", selector):
        return _before_latest(regular, int(selector.partition("~")[2] or 0))
    if selector.startswith("@"):
        return _not_after(regular, selector[1:], zone)
    prefix = selector.lower()
    found = [
        s
        for s in snapshots
        if s.id.hex().startswith(prefix)
        or (s.original is not None and s.original.hex().startswith(prefix))
    ]
    if not prefix or not found:
        raise SnapshotNotFound(f"no snapshot {selector!r}", "see 'snap snapshots'")
    if len(found) > 1:
        raise SnapshotNotFound(
            f"{len(found)} snapshots begin with {selector!r}", "give more digits"
        )
    return found[0]


def is_regular(snapshot: Snapshot) -> bool:
    """Return whether a snapshot is one that is meant without its id being said."""
    return BEFORE_RESTORE_TAG not in snapshot.tags and snapshot.status != QUARANTINED


def _before_latest(snapshots: Sequence[Snapshot], steps: int) -> Snapshot:
    if steps >= len(snapshots):
        raise SnapshotNotFound(
            f"there are {len(snapshots)} snapshots, none is {steps} before the latest",
            "see 'snap snapshots'",
        )
    return snapshots[-1 - steps]


def _not_after(snapshots: Sequence[Snapshot], text: str, zone: tzinfo) -> Snapshot:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"not a time: {text!r}", "write @2026-11-01 or @2026-11-01T02:00"
        ) from error
    if len(text) <= len("2026-11-01"):
        moment = datetime.combine(moment.date() + timedelta(days=1), time(), tzinfo=zone)
        moment -= timedelta(microseconds=1)
    elif moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    limit_ns = int(moment.timestamp()) * SECOND_NS + moment.microsecond * 1000 + 999
    earlier = [s for s in snapshots if s.time_ns <= limit_ns]
    if not earlier:
        raise SnapshotNotFound(f"no snapshot is as old as {text}", "see 'snap snapshots'")
    return earlier[-1]
