import time

from snap.repo.clock import MINUTE_NS, SECOND_NS, system_clock


def test_the_system_clock_counts_nanoseconds_since_1970() -> None:
    before = time.time_ns()
    assert before <= system_clock() <= time.time_ns()
    assert MINUTE_NS == 60 * SECOND_NS == 60_000_000_000
