"""When packs were last read, in words and for programs; and spans of time until they have to be."""

from datetime import UTC
from typing import Any

from snap.errors import UsageError
from snap.repo.retention import Span, parse_span
from snap.repo.verified import Coverage

from .output import counted
from .times import iso_time, local_time, moment_of, nanoseconds_of


def parse_age(text: str) -> Span:
    """Return how old something may be, written as ``30d`` or ``1y6m``.

    Raises:
        UsageError: not so written, or no time at all.
    """
    span = parse_span(text)
    if not span:
        raise UsageError(f"no length of time: {text!r}", "write 30d, or 1m")
    return span


def moment_before(span: Span, now_ns: int) -> int:
    """Return the moment that lies so long before another, in UTC; 0 where that is before 1970."""
    now = moment_of(now_ns)
    try:
        before = span.before(now.replace(tzinfo=None)).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return 0
    return max(0, nanoseconds_of(before))


def verified_record(verified: Coverage | None) -> dict[str, Any] | None:
    """Return for programs how far the packs of a place were read."""
    if verified is None:
        return None
    return {
        "packs": verified.packs,
        "never": verified.never,
        "damaged": verified.damaged,
        "oldest": shown_oldest(verified),
    }


def shown_oldest(verified: Coverage) -> str | None:
    """Return, as ISO 8601, when the pack was read that was not read for longest."""
    return None if verified.oldest_ns is None else iso_time(verified.oldest_ns)


def shown_verified(verified: Coverage | None) -> str:
    """Return for people since when everything in a place is known to be whole."""
    if verified is None or not verified.packs:
        return "-"
    words = []
    if verified.damaged:
        words.append(f"{counted(verified.damaged, 'pack')} found damaged")
    unread = verified.never - verified.damaged
    if unread:
        words.append(f"never: {unread:,} of {counted(verified.packs, 'pack')}")
    if not words and verified.oldest_ns is not None:
        words.append(f"since {local_time(verified.oldest_ns)}")
    return "; ".join(words)


def told_verified(verified: Coverage) -> str:
    """Return the same as a sentence."""
    if verified.never:
        damaged = f", {verified.damaged:,} of them damaged" if verified.damaged else ""
        packs = counted(verified.packs, "pack")
        return f"not read and found whole yet: {verified.never:,} of {packs}{damaged}"
    return f"all data was read and found whole {shown_verified(verified)}"
