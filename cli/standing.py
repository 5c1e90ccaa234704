"""The part of ``snap status`` that is about copies: what each has, and what the rule says."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from snap.repo.catalog import is_regular, latest_revisions
from snap.repo.clock import SECOND_NS
from snap.repo.replicate import Keeps, first_id
from snap.repo.repository import Repository
from snap.repo.retention import Span
from snap.repo.snapshot import Snapshot
from snap.repo.standing import (
    CopyState,
    Place,
    Rule,
    Spread,
    Standing,
    Verdict,
    examine_copy,
    examine_repository,
    examine_verified,
    judge,
    lacks_verification,
)
from snap.repo.verified import Coverage

from .copies import REPOSITORY, copies_beside, place_in_use
from .output import counted, print_line, print_table
from .retention import keeps_of_copy
from .session import open_store
from .settings import Settings
from .times import iso_time, local_time, shown_age
from .verification import moment_before, parse_age, shown_verified, verified_record

_SHOWN_SPREADS = 10
_WITHIN = "verified_within"


@dataclass(frozen=True, slots=True)
class CopyStatus:
    """A copy, or the repository, and how far it is behind.

    Attributes:
        behind: How many snapshots of the repository it does not have and is meant to have.
        behind_since_ns: When the oldest of these was made; None where it has all.
        ahead: How many it has that the repository does not have.
    """

    location: str
    place: Place
    behind: int
    behind_since_ns: int | None
    ahead: int


@dataclass(frozen=True, slots=True)
class Copies:
    """All that status says of copies; ``within``: how long ago all data may have been read."""

    statuses: list[CopyStatus]
    rule: Rule
    verdict: Verdict
    within: Span | None = None

    @property
    def ok(self) -> bool:
        """Return whether the rule is kept, and no copy is damaged or somebody else's.

        One that is not there now may lie on a disk in a drawer: the rule says if that matters.
        """
        tolerated = (CopyState.WHOLE, CopyState.UNREACHABLE, CopyState.MISSING)
        return self.verdict.ok and all(
            status.place.standing.state in tolerated for status in self.statuses
        )


def examine_copies(
    repository: Repository, snapshots: Sequence[Snapshot], settings: Settings
) -> Copies | None:
    """Look at every configured copy; None where there is none. The index has to be loaded."""
    configured = copies_beside(settings)
    if not configured:
        return None
    within = verified_within(settings)
    since_ns = None if within is None else moment_before(within, repository.clock())
    in_use = place_in_use(settings)
    here = examine_repository(repository, snapshots, since_ns)
    own = Place(in_use.name, in_use.media, in_use.is_offsite, here)
    statuses = [_status(repository.backend.location, own, snapshots)]
    asked = {s.id for s in snapshots if is_regular(s)}
    for copy in configured:
        standing = examine_copy(
            repository, partial(open_store, settings, copy.location), snapshots, since_ns
        )
        place = Place(copy.name, copy.media, copy.is_offsite, standing)
        wanted = _wanted(snapshots, standing, keeps_of_copy(settings, copy.location))
        asked &= {s.id for s in wanted}
        statuses.append(_status(copy.location, place, snapshots, wanted))
    found = settings.configuration
    table = found.rule if found is not None else {}
    rule = Rule(**{key: value for key, value in table.items() if key != _WITHIN})
    # What one copy's own policy lets go is not asked for.
    regular = [s for s in snapshots if s.id in asked]
    verdict = judge(regular, [s.place for s in statuses], rule)
    for place in (status.place for status in statuses) if within is not None else ():
        verdict.reasons.extend(lacks_verification(place.name, place.standing.verified, str(within)))
    return Copies(statuses, rule, verdict, within)


def look_at_verified(repository: Repository, settings: Settings) -> tuple[Coverage, list[str]]:
    """Return how far a repository without copies was read, and why that is not as it should be."""
    within = verified_within(settings)
    since_ns = None if within is None else moment_before(within, repository.clock())
    verified = examine_verified(repository, since_ns)
    return verified, lacks_verification(REPOSITORY, verified, str(within))


def verified_within(settings: Settings) -> Span | None:
    """Return within which time all data has to be read and found whole; None where never."""
    found = settings.configuration
    text = found.rule.get(_WITHIN) if found is not None else None
    return None if text is None else parse_age(text)


def _wanted(
    snapshots: Sequence[Snapshot], standing: Standing, keeps: Keeps | None
) -> list[Snapshot]:
    """Return the snapshots of the repository that a copy is meant to have."""
    if keeps is None:
        return list(snapshots)
    stays = keeps(latest_revisions([*snapshots, *standing.extra]))
    return [s for s in snapshots if s.id in stays]


def _status(
    location: str,
    place: Place,
    snapshots: Sequence[Snapshot],
    wanted: Sequence[Snapshot] | None = None,
) -> CopyStatus:
    firsts = place.standing.first_ids
    meant = snapshots if wanted is None else wanted
    lacking = [s.time_ns for s in meant if first_id(s) not in firsts]
    ahead = firsts - set(map(first_id, snapshots))
    return CopyStatus(location, place, len(lacking), min(lacking, default=None), len(ahead))


def print_copies(copies: Copies, settings: Settings, now_ns: int) -> None:
    """Print for people what each copy has and what the rule says."""
    print()
    print_table(
        ("~copy", "~media", "offsite", "state", ">snapshots", "~behind", "~verified"),
        [
            (
                status.place.name,
                status.place.media,
                "yes" if status.place.is_offsite else "no",
                str(status.place.standing.state),
                f"{len(status.place.standing.first_ids):,}",
                _behind(status, now_ns),
                shown_verified(status.place.standing.verified),
            )
            for status in copies.statuses
        ],
    )
    for status in copies.statuses:
        standing = status.place.standing
        if standing.state is not CopyState.WHOLE:
            print_line(f"{standing.state.upper()}: {status.place.name}: {standing.problem}")
    if any(status.place.standing.state is CopyState.MISSING for status in copies.statuses[1:]):
        print_line("'snap replicate --init' makes copies that do not exist yet")
    print()
    _print_spreads(copies, settings)
    rule = copies.rule
    asked = f"{rule.copies} copies, {rule.media} media, {rule.offsite} off-site"
    if copies.within is not None:
        asked += f", verified within {copies.within}"
    if copies.verdict.ok:
        print_line(f"rule kept: every snapshot has {asked}")
    else:
        print_line(f"RULE BROKEN ({asked}): {'; '.join(copies.verdict.reasons)}")


def _behind(status: CopyStatus, now_ns: int) -> str:
    words = []
    if status.place.standing.state in (CopyState.WHOLE, CopyState.INCOMPLETE):
        if status.behind_since_ns is not None:
            age = shown_age(now_ns - status.behind_since_ns)
            words.append(f"{counted(status.behind, 'snapshot')}, {age}")
        if status.ahead:
            words.append(f"{counted(status.ahead, 'snapshot')} ahead")
    return "; ".join(words) or "-"


def _print_spreads(copies: Copies, settings: Settings) -> None:
    """Print where snapshots are: those that break the rule, with -v all."""
    spreads = copies.verdict.spreads
    if not settings.verbosity:
        broken = [s for s in spreads if not s.meets(copies.rule)]
        spreads = broken[-_SHOWN_SPREADS:]
        if len(broken) > len(spreads):
            print_line(f"{counted(len(broken) - len(spreads), 'older snapshot')} not shown (-v)")
    if spreads:
        print_table(
            ("snapshot", "time", "~copies", ">media", ">offsite"),
            [
                (
                    spread.snapshot.short_id,
                    local_time(spread.snapshot.time_ns),
                    ", ".join(place.name for place in spread.places) or "-",
                    str(spread.media),
                    str(spread.offsite),
                )
                for spread in spreads
            ],
        )


def copies_record(copies: Copies, now_ns: int) -> dict[str, Any]:
    """Return the fields of ``status`` that are about copies."""
    rule = copies.rule
    return {
        "copies": [_copy_record(status, now_ns) for status in copies.statuses],
        "snapshots": [_spread_record(spread, rule) for spread in copies.verdict.spreads],
        "rule": {
            "ok": copies.verdict.ok,
            "copies": rule.copies,
            "media": rule.media,
            "offsite": rule.offsite,
            **({} if copies.within is None else {_WITHIN: str(copies.within)}),
            "reasons": list(copies.verdict.reasons),
        },
    }


def _copy_record(status: CopyStatus, now_ns: int) -> dict[str, Any]:
    place, since = status.place, status.behind_since_ns
    return {
        "name": place.name,
        "location": status.location,
        "media": place.media,
        "offsite": place.is_offsite,
        "state": str(place.standing.state),
        "snapshots": len(place.standing.first_ids),
        "behind": status.behind,
        "behind_seconds": 0 if since is None else max(0, now_ns - since) // SECOND_NS,
        "ahead": status.ahead,
        "problem": place.standing.problem or None,
        "verified": verified_record(place.standing.verified),
    }


def _spread_record(spread: Spread, rule: Rule) -> dict[str, Any]:
    return {
        "id": spread.snapshot.id.hex(),
        "time": iso_time(spread.snapshot.time_ns),
        "copies": [place.name for place in spread.places],
        "media": spread.media,
        "offsite": spread.offsite,
        "ok": spread.meets(rule),
    }
