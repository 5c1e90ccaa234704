from datetime import UTC, datetime
from pathlib import Path

import pytest

from snap.cli.times import LOCAL_ZONE, iso_time, local_time, parse_time
from snap.errors import UsageError

SECOND = 1_000_000_000
WINTER = int(datetime(2026, 1, 15, 12, tzinfo=UTC).timestamp()) * SECOND
SUMMER = int(datetime(2026, 7, 15, 12, tzinfo=UTC).timestamp()) * SECOND

pytestmark = pytest.mark.usefixtures("clean")


def test_people_read_local_time_as_it_was_then() -> None:
    assert local_time(WINTER) == "2026-01-15 13:00:00"
    assert local_time(SUMMER) == "2026-07-15 14:00:00"


def test_programs_read_utc_with_its_offset() -> None:
    assert iso_time(SUMMER + 1_234_567) == "2026-07-15T12:00:00.001234+00:00"


def test_a_moment_beyond_the_calendar_is_shown_as_seconds() -> None:
    assert local_time(10**21) == "@1000000000000"
    assert iso_time(-(10**21)) == "@-1000000000000"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-15T13:00", WINTER),
        ("2026-07-15T14:00", SUMMER),
        ("2026-07-15 14:00:00", SUMMER),
        ("2026-07-15T12:00Z", SUMMER),
        ("2026-07-15T17:30:00.5+05:30", SUMMER + SECOND // 2),
        ("2026-07-15", SUMMER - 14 * 3600 * SECOND),
    ],
)
def test_times_are_local_unless_they_say_otherwise(text: str, moment: int) -> None:
    assert parse_time(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "1969-12-30", "2026-01-01T25:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_time(text)


def test_the_local_zone_knows_summer_and_winter(clean: Path) -> None:
    for moment_ns, offset, name in ((WINTER, 1, "CET"), (SUMMER, 2, "CEST")):
        local = datetime.fromtimestamp(moment_ns // SECOND, LOCAL_ZONE)
        offset_found = local.utcoffset()
        assert offset_found is not None
        assert offset_found.total_seconds() == offset * 3600
        assert local.tzname() == name
        assert local.timestamp() * SECOND == moment_ns
