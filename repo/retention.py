"""Which snapshots stay: policies, and the decision about each snapshot with its reasons.

A pure function of snapshots, policy, time and time zone. What a policy says is about one source at
a time (`decide`): a snapshot goes when none of its sources needs it. Times are compared by the wall
clock of the zone: a day is a date, 7 days ago is the same time of day a week before, also where the
clocks were changed in between.
"""

import calendar
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from snap.errors import UsageError

from .ids import ObjectId

UNCOUNTED_DAYS = 7
"""So long a snapshot stays that is not counted although a newer good one is there."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WEEK = 7
_SUNDAY = 6


@dataclass(frozen=True, slots=True)
class Candidate:
    """One snapshot, as far as one of its sources is concerned.

    Attributes:
        is_good: Counts: not in quarantine, and this source was taken whole.
        is_trusted: Its own time and the store's agree; others cannot be displaced by it if not.
    """

    id: ObjectId
    time_ns: int
    is_good: bool = True
    is_trusted: bool = True
    is_held: bool = False
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Calendar:
    """The default: all of the last days, Sundays of weeks, 1sts of months.

    Every snapshot younger than ``daily`` days; of each week (Sunday to Saturday) that began less
    than ``weekly`` weeks ago the last good one of the Sunday; of each month that began less than
    ``monthly`` months ago the last good one of the 1st. Where a Sunday or a 1st has none, the next
    good one of that week or month stands in.
    """

    daily: int = 7
    weekly: int = 4
    monthly: int = 3

    @property
    def is_empty(self) -> bool:
        """Return whether it keeps nothing."""
        return not (self.daily or self.weekly or self.monthly)


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time in calendar units, as in ``1y5m7d2h``."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __bool__(self) -> bool:
        """Return whether it is longer than nothing."""
        return bool(self.years or self.months or self.days or self.hours)

    def before(self, moment: datetime) -> datetime:
        """Return the moment that lies so long before another, by the wall clock."""
        month = moment.year * 12 + moment.month - 1 - self.years * 12 - self.months
        # Days that a month does not have run over into the next, as restic's do.
        first = datetime.combine(date(month // 12, month % 12 + 1, 1), moment.time())
        return first + timedelta(days=moment.day - 1 - self.days, hours=-self.hours)

    def __str__(self) -> str:
        """Return it as it is written."""
        parts = (self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h")
        return "".join(f"{count}{unit}" for count, unit in parts if count) or "0h"


ALL = -1
"""The count of a rule that keeps one of every period there is."""


@dataclass(frozen=True, slots=True)
class Keep:
    """restic's rules, with restic's meaning: each by itself, of each period the newest.

    ``counts`` and ``within`` go by the names of `RULES`. ``within`` of a name limits the time
    instead of the number; the rule ``last`` within a time is ``--keep-within`` itself.
    Times are counted back from the newest snapshot that is not in the future. Of the tags in one
    set of ``tags`` a snapshot needs all; an empty tag means those that have none.
    """

    counts: tuple[tuple[str, int], ...] = ()
    within: tuple[tuple[str, Span], ...] = ()
    tags: tuple[frozenset[str], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Return whether it keeps nothing."""
        has_count = any(count for _, count in self.counts)
        return not (has_count or any(span for _, span in self.within) or self.tags)


Policy = Calendar | Keep

RULES: dict[str, Callable[[datetime, int], object]] = {
    "last": lambda _moment, number: number,
    "hourly": lambda moment, _: (moment.date(), moment.hour),
    "daily": lambda moment, _: moment.date(),
    "weekly": lambda moment, _: moment.isocalendar()[:2],
    "monthly": lambda moment, _: (moment.year, moment.month),
    "yearly": lambda moment, _: moment.year,
}
"""What two snapshots of one period have in common; ``number`` counts from the newest."""


@dataclass(slots=True)
class Verdict:
    """Whether a snapshot stays, and why or why not."""

    keep: bool = False
    reasons: list[str] = field(default_factory=list)

    def stays(self, reason: str) -> None:
        """Keep it, for one reason more."""
        if not self.keep:
            self.keep, self.reasons = True, []
        if reason not in self.reasons:
            self.reasons.append(reason)


def require_policy(policy: Policy) -> Policy:
    """Return a policy that keeps something.

    Raises:
        UsageError: it keeps nothing, which nobody means.
    """
    if policy.is_empty:
        raise UsageError(
            "this policy keeps nothing", "name what is to stay, as with --keep-daily 7"
        )
    return policy


def decide(
    candidates: Iterable[Candidate], policy: Policy, now_ns: int, zone: tzinfo
) -> dict[ObjectId, Verdict]:
    """Return the verdict on each snapshot that has one source.

    What is not good is not counted, and stays while no newer good one is there, or for some days.
    What is not trusted is counted only beside the others: the rules are applied to the trusted
    ones alone, then to all, and what either keeps stays. The last good one always stays, as do
    held ones.

    Raises:
        UsageError: the policy keeps nothing.
    """
    require_policy(policy)
    ordered = sorted(candidates, key=lambda c: (c.time_ns, c.id))
    verdicts = {candidate.id: Verdict() for candidate in ordered}
    clock = _Clock(now_ns, zone)
    good = [c for c in ordered if c.is_good]
    trusted = [c for c in good if c.is_trusted]
    for counted in (trusted, good) if len(trusted) < len(good) else (good,):
        if isinstance(policy, Calendar):
            _apply_calendar(counted, policy, clock, verdicts)
        else:
            _apply_keep(counted, policy, clock, verdicts)
        if counted:
            verdicts[counted[-1].id].stays("last good one")
    for candidate in ordered:
        verdict = verdicts[candidate.id]
        if candidate.is_held:
            verdict.stays("held")
        if not candidate.is_good:
            _judge_uncounted(candidate, trusted or good, clock, verdict)
    if ordered and not any(verdict.keep for verdict in verdicts.values()):
        verdicts[ordered[-1].id].stays("the only one left")
    return verdicts


class _Clock:
    """Now, and moments of snapshots, by the wall clock of a zone."""

    def __init__(self, now_ns: int, zone: tzinfo) -> None:
        self._zone = zone
        self.now = self.wall(now_ns)
        self.now_ns = now_ns

    def wall(self, time_ns: int) -> datetime:
        moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
        return moment.astimezone(self._zone).replace(tzinfo=None)


def _judge_uncounted(
    candidate: Candidate, good: Sequence[Candidate], clock: _Clock, verdict: Verdict
) -> None:
    if not good or good[-1].time_ns < candidate.time_ns:
        verdict.stays("not counted as good, and no newer good one is there")
    elif clock.wall(candidate.time_ns) > clock.now - timedelta(days=UNCOUNTED_DAYS):
        verdict.stays(f"not counted as good, younger than {UNCOUNTED_DAYS} days")
    elif not verdict.keep:
        verdict.reasons = ["not counted as good, and a newer good one is there"]


def _apply_calendar(
    good: Sequence[Candidate], policy: Calendar, clock: _Clock, verdicts: dict[ObjectId, Verdict]
) -> None:
    walls = [(clock.wall(c.time_ns), c) for c in good]
    young = clock.now - timedelta(days=policy.daily)
    for moment, candidate in walls:
        if moment > young:
            verdicts[candidate.id].stays(f"younger than {_days(policy.daily)}")
    kept: dict[_Period, Candidate] = {}
    for period in _periods(policy, clock.now):
        inside = [(m.date(), c) for m, c in walls if period.first <= m.date() < period.end]
        on_first = [c for day, c in inside if day == period.first]
        if inside:
            chosen = on_first[-1] if on_first else inside[0][1]
            word = "last of" if on_first else "stands in for"
            kept[period] = chosen
            verdicts[chosen.id].stays(f"{word} {period.day_words}")
    for moment, candidate in walls:
        if not verdicts[candidate.id].keep:
            verdicts[candidate.id].reasons = _why_not(moment.date(), policy, kept)


class _Period(NamedTuple):
    """A week or a month: its first day, the day behind its last, and its name."""

    name: str
    first: date
    end: date

    @property
    def day_words(self) -> str:
        return f"Sunday {self.first}" if self.name == "week" else f"the 1st, {self.first}"


def _periods(policy: Calendar, now: datetime) -> Iterator[_Period]:
    """Yield each week and month that counts, the newest first."""
    sunday = now.date() - timedelta(days=(now.weekday() - _SUNDAY) % _WEEK)
    oldest = now - timedelta(weeks=policy.weekly)
    while datetime.combine(sunday, time()) > oldest:
        yield _Period("week", sunday, sunday + timedelta(days=_WEEK))
        sunday -= timedelta(days=_WEEK)
    first = now.date().replace(day=1)
    oldest = months_before(now, policy.monthly)
    while datetime.combine(first, time()) > oldest:
        days = calendar.monthrange(first.year, first.month)[1]
        yield _Period("month", first, first + timedelta(days=days))
        first = (first - timedelta(days=1)).replace(day=1)


def months_before(moment: datetime, months: int) -> datetime:
    """Return the same day so many months before, or the last that the month has."""
    month = moment.year * 12 + moment.month - 1 - months
    year, month = divmod(month, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def _why_not(day: date, policy: Calendar, kept: dict[_Period, Candidate]) -> list[str]:
    reasons = [f"older than {_days(policy.daily)}"] if policy.daily else []
    for period, candidate in kept.items():
        if period.first <= day < period.end:
            reasons.append(f"its {period.name} keeps {candidate.id.hex()[:8]}")
    return reasons or ["no rule keeps it"]


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _apply_keep(
    good: Sequence[Candidate], policy: Keep, clock: _Clock, verdicts: dict[ObjectId, Verdict]
) -> None:
    """Apply restic's rules (checked against restic 0.19.1 itself by the tests)."""
    newest_first = [(clock.wall(c.time_ns), c) for c in reversed(good)]
    past = [moment for moment, c in newest_first if c.time_ns <= clock.now_ns]
    for candidate in good:
        for wanted in policy.tags:
            if "" in wanted and not candidate.tags:
                verdicts[candidate.id].stays("has no tag")
            elif wanted <= candidate.tags:
                verdicts[candidate.id].stays(f"has {' and '.join(sorted(wanted))} as tag")
    for name, count in policy.counts:
        _apply_count(newest_first, name, count, verdicts)
    for name, span in policy.within:
        if span and past:
            _apply_within(newest_first, name, span, span.before(past[0]), verdicts)
    for candidate in good:
        if not verdicts[candidate.id].keep:
            verdicts[candidate.id].reasons = ["no rule keeps it"]


def _apply_count(
    newest_first: Sequence[tuple[datetime, Candidate]],
    name: str,
    count: int,
    verdicts: dict[ObjectId, Verdict],
) -> None:
    period, before = RULES[name], object()
    for number, (moment, candidate) in enumerate(newest_first):
        if not count:
            return
        this = period(moment, number)
        is_oldest = number == len(newest_first) - 1
        if this != before or is_oldest:
            word = name if this != before else f"oldest {name}"
            verdicts[candidate.id].stays(f"{word} snapshot")
            count -= count > 0
        before = this


def _apply_within(
    newest_first: Sequence[tuple[datetime, Candidate]],
    name: str,
    span: Span,
    oldest: datetime,
    verdicts: dict[ObjectId, Verdict],
) -> None:
    period, before = RULES[name], object()
    for number, (moment, candidate) in enumerate(newest_first):
        this = period(moment, number)
        if moment > oldest and (this != before or number == len(newest_first) - 1):
            word = "within" if name == "last" else f"{name} within"
            verdicts[candidate.id].stays(f"{word} {span}")
            before = this


_SPAN = re.compile(r"(?:(\d{1,4})y)?(?:(\d{1,5})m)?(?:(\d{1,6})d)?(?:(\d{1,7})h)?")


def parse_span(text: str) -> Span:
    """Return the length of time that is written as ``1y5m7d2h``, in this order, parts left out.

    Raises:
        UsageError: not so written.
    """
    match = _SPAN.fullmatch(text)
    if not text or match is None:
        raise UsageError(
            f"not a length of time: {text!r}", "write years, months, days, hours: 1y5m7d2h, or 30d"
        )
    return Span(*(int(part or 0) for part in match.groups()))
