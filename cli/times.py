"""Moments: what people read (local time) and what programs read (ISO 8601, UTC)."""

from datetime import UTC, datetime, timedelta, tzinfo

from snap.errors import UsageError
from snap.repo.clock import SECOND_NS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_SECONDS = 3600
_DAY_SECONDS = 24 * _HOUR_SECONDS
_MICROSECOND = timedelta(microseconds=1)


class LocalZone(tzinfo):
    """The zone of this machine, with its changes over the year."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """Return the offset at a moment given in local time."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        """Return None: not known apart from the offset."""
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        """Return the zone's name at a moment."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, moment: datetime) -> datetime:
        """Return a moment given in UTC in local time."""
        local = moment.replace(tzinfo=UTC).astimezone()
        return local.replace(tzinfo=self)


LOCAL_ZONE = LocalZone()


def local_time(time_ns: int) -> str:
    """Return a moment in local time to the second, for tables."""
    try:
        return moment_of(time_ns).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"@{time_ns // 1_000_000_000}"


def iso_time(time_ns: int) -> str:
    """Return a moment as ISO 8601 with microseconds and the offset of UTC."""
    try:
        return moment_of(time_ns).isoformat(timespec="microseconds")
    except (OverflowError, ValueError):
        return f"@{time_ns // 1_000_000_000}"


def moment_of(time_ns: int) -> datetime:
    """Return a moment in UTC, to the microsecond.

    Raises:
        OverflowError: it is after the year 9999.
    """
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def nanoseconds_of(moment: datetime) -> int:
    """Return how long after 1970 a moment is, to the microsecond below; negative before."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def parse_time(text: str) -> int:
    """Return the moment that an ISO date or time means, in nanoseconds; local without offset.

    Raises:
        UsageError: not such a text, or before 1970.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.astimezone()
        time_ns = nanoseconds_of(moment)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"not a time: {text!r}", "write 2026-11-01 or 2026-11-01T02:00, with or without offset"
        ) from error
    if time_ns < 0:
        raise UsageError(f"a snapshot cannot be from before 1970: {text!r}")
    return time_ns


def shown_age(age_ns: int) -> str:
    """Return how long ago something was, for people: ``5 min``, ``3 h``, ``12 d``."""
    seconds = max(0, age_ns) // SECOND_NS
    if seconds < 2 * _HOUR_SECONDS:
        return f"{seconds // 60} min"
    if seconds < 2 * _DAY_SECONDS:
        return f"{seconds // _HOUR_SECONDS} h"
    return f"{seconds // _DAY_SECONDS} d"
