"""Where the time comes from: everything takes a clock, and this is the real one."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns nanoseconds since 1970-01-01T00:00:00Z."""

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


def system_clock() -> int:
    """Return the system's time."""
    return time.time_ns()  # noqa: TID251 - the one place that asks the system
