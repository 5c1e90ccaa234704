"""What lies there by a prefix is told apart by who made it."""

import os
from pathlib import Path

from snap.repo.clock import MINUTE_NS, system_clock
from snap.repo.process import process_mark
from snap.sources.abandoned import abandoned_in, is_abandoned, own_token

DEAD = 2**22 + 1
DAY_NS = 24 * 60 * MINUTE_NS


def test_only_what_a_dead_process_left_by_that_prefix_is_found(tmp_path: Path) -> None:
    names = [
        f"pre-{own_token()}",
        f"pre-{DEAD}-aa",
        f"pre-{os.getpid()}-aa",
        f"other-{DEAD}-aa",
        "pre-",
        "pre-mine",
        # Of something called "pre-3".
        f"pre-3-{DEAD}-aa",
    ]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / f"pre-{DEAD}-file").touch()
    found = sorted(path.name for path in abandoned_in(tmp_path, "pre-"))
    assert found == [f"pre-{DEAD}-aa", f"pre-{DEAD}-file"]


def test_a_prefix_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / f"a[1]*-{DEAD}-aa").mkdir()
    (tmp_path / f"a1-{DEAD}-aa").mkdir()
    assert [path.name for path in abandoned_in(tmp_path, "a[1]*-")] == [f"a[1]*-{DEAD}-aa"]


def test_of_a_process_that_cannot_be_seen_what_was_not_changed_for_a_day_is_found(
    tmp_path: Path,
) -> None:
    pid, started, boot, _, host = process_mark().split(".")
    name = f"pre-{pid}.{started}.{boot}.1.{host}-aa"
    (tmp_path / name).mkdir()
    assert abandoned_in(tmp_path, "pre-") == []
    later = system_clock() + 2 * DAY_NS
    assert abandoned_in(tmp_path, "pre-", lambda: later) == [tmp_path / name]
    assert not is_abandoned(name, "pre-", 0)
    assert is_abandoned(name, "pre-", 2 * DAY_NS)
    assert not is_abandoned(name, "other-", 2 * DAY_NS)
