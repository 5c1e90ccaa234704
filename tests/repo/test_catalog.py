from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError, UsageError
from snap.repo.catalog import (
    SnapshotNotFound,
    latest_revisions,
    list_snapshots,
    load_snapshot,
    readable_snapshots,
    select_snapshot,
)
from snap.repo.ids import ObjectId
from snap.repo.repository import Repository
from snap.repo.snapshot import Snapshot

from .conftest import back_up, change_tags
from .dictsource import DictSource


def at(text: str, number: int) -> Snapshot:
    time_ns = int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000
    return Snapshot(
        time_ns, "s", "h", "u", "p", "success", (), id=ObjectId(bytes([number]) + b"i" * 31)
    )


SNAPSHOTS = [
    at("2026-11-01T01:00:00+00:00", 0xA1),
    at("2026-11-01T23:30:00+00:00", 0xA2),
    at("2026-11-02T02:00:00+00:00", 0xB3),
]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("latest", 2),
        ("latest~0", 2),
        ("latest~2", 0),
        ("a1", 0),
        ("A2", 1),
        ("b3" + "69" * 31, 2),
        ("@2026-11-01", 1),
        ("@2026-11-01T01:00", 0),
        ("@2026-11-01T23:29:59", 0),
        ("@2026-11-02T01:00+02:00", 0),
        ("@2030-01-01", 2),
    ],
)
def test_a_selector_means_one_snapshot(selector: str, expected: int) -> None:
    assert select_snapshot(SNAPSHOTS, selector, UTC) == SNAPSHOTS[expected]


def test_a_date_means_its_end_in_the_zone_of_the_user() -> None:
    zone = timezone(timedelta(hours=2))
    assert select_snapshot(SNAPSHOTS, "@2026-11-01", zone) == SNAPSHOTS[0]


@pytest.mark.parametrize(
    "selector", ["a", "", "ff", "@2020-01-01", "nonsense", "latest~3", "latest~", "latest~x"]
)
def test_none_and_several_are_clear_errors(selector: str) -> None:
    with pytest.raises(SnapshotNotFound) as caught:
        select_snapshot(SNAPSHOTS, selector, UTC)
    assert caught.value.hint
    with pytest.raises(SnapshotNotFound, match="no snapshots"):
        select_snapshot([], selector, UTC)


def test_what_is_no_time_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="not a time"):
        select_snapshot(SNAPSHOTS, "@yesterday", UTC)


def test_tags_change_the_snapshot_and_its_first_id_still_finds_it(repository: Repository) -> None:
    first = back_up(repository, DictSource({b"a": b"x"}), tags=("old", "keep"))
    changed = change_tags(repository, first, add=["new"], remove=["old"])
    assert changed.tags == ("keep", "new")
    (listed,) = list_snapshots(repository)
    assert listed == changed
    assert select_snapshot([listed], first.short_id, UTC) == changed
    assert change_tags(repository, changed, add=["new"]) == changed
    assert change_tags(repository, changed, replace_all=[]).tags == ()
    with pytest.raises(UsageError):
        change_tags(repository, changed, add=["with,comma"])


def test_of_two_revisions_left_by_a_crash_the_higher_counts() -> None:
    old = SNAPSHOTS[0]
    new = replace(old, id=SNAPSHOTS[1].id, original=old.id, revision=1, tags=("t",))
    twin = replace(new, id=SNAPSHOTS[2].id)
    for order in ([old, new, twin], [twin, new, old]):
        assert latest_revisions(order) == [new]


def test_a_damaged_snapshot_is_named_and_the_others_are_listed(
    repository: Repository, backend: MemoryBackend
) -> None:
    good = back_up(repository, DictSource({b"a": b"x"}))
    bad = back_up(repository, DictSource({b"a": b"y"}))
    name = f"snapshots/{bad.id.hex()}"
    backend.put(name, backend.get(name)[:-1])
    snapshots, problems = readable_snapshots(repository)
    assert snapshots == [good]
    assert [p.object for p in problems] == [name]
    with pytest.raises(IntegrityError, match=name):
        list_snapshots(repository)
    assert load_snapshot(repository, f"snapshots/{good.id.hex()}") == good
