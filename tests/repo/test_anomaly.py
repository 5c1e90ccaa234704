from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.repo.anomaly import collapses, last_good, parts_of
from snap.repo.catalog import BEFORE_RESTORE_TAG
from snap.repo.snapshot import FAILED, PARTIAL, QUARANTINED, SUCCESS, Component, Snapshot


def component(size: int = 10 << 20, status: str = SUCCESS, **statistics: Any) -> Component:
    return Component(
        name="db", kind="sqlite", place="/db", status=status, bytes=size, statistics=statistics
    )


def found(before: dict[str, int], now: dict[str, int]) -> list[str]:
    return collapses(component(tables=before), component(tables=now))


def test_what_stays_or_grows_or_shrinks_a_little_is_no_collapse() -> None:
    assert found({"a": 1000, "b": 5}, {"a": 503, "b": 1, "c": 0}) == []
    assert collapses(component(10 << 20), component(6 << 20)) == []


def test_more_than_half_of_the_rows_gone_is_one_and_says_how_many() -> None:
    assert found({"a": 100_000}, {"a": 3}) == [
        "3 records, 100,000 before",
        "table a has 3 records, 100,000 before",
    ]


def test_more_than_half_of_the_bytes_gone_is_one() -> None:
    [told] = collapses(component(10 << 20), component(4 << 20))
    assert told == "4,194,304 bytes, 10,485,760 before"


def test_small_ones_may_shrink() -> None:
    assert found({"a": 99}, {"a": 0}) == []
    assert collapses(component(1000), component(0)) == []


def test_a_table_that_is_gone_is_told_however_small() -> None:
    assert found({"a": 1000, "b": 1}, {"a": 1000}) == ["table b is gone (1 before)"]


def test_a_queue_beside_much_else_may_be_emptied_but_not_a_tenth_of_all() -> None:
    assert found({"log": 100_000, "outbox": 5000}, {"log": 100_000, "outbox": 0}) == []
    assert found({"log": 100_000, "events": 20_000}, {"log": 100_000, "events": 5}) == [
        "table events has 5 records, 20,000 before"
    ]


def test_labels_and_types_of_a_graph_and_collections_of_vectors_are_looked_at() -> None:
    graph = component(labels={"Person": 5000, "Tag": 400}, relationship_types={"KNOWS": 9000})
    less = component(labels={"Person": 5000}, relationship_types={"KNOWS": 40})
    assert collapses(graph, less) == [
        "5,040 records, 14,400 before",
        "relationship type KNOWS has 40 records, 9,000 before",
    ]
    vectors = component(collections=[{"name": "notes", "count": 500}, {"name": "x", "count": 3}])
    fewer = component(collections=[{"name": "x", "count": 3}])
    assert collapses(vectors, fewer) == [
        "3 records, 503 before",
        "collection notes is gone (500 before)",
    ]


def test_what_was_not_counted_this_time_is_not_taken_as_gone() -> None:
    assert collapses(component(labels={"Person": 5000}), component()) == []


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.booleans(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(["tables", "labels", "collections", "relationship_types"]),
)
def test_no_statistics_that_a_snapshot_can_hold_do_harm(value: Any, key: str) -> None:
    assert all(isinstance(part.what, str) for part in parts_of({key: value}))
    before = replace(component(), statistics={key: value})
    collapses(before, replace(before, statistics={key: None}))


def snapshot(time: int, *components: Component, status: str = SUCCESS, tag: str = "") -> Snapshot:
    return Snapshot(
        time_ns=time,
        service="shop",
        hostname="h",
        username="u",
        program="p",
        status=status,
        components=components,
        tags=(tag,) if tag else (),
    )


def test_the_last_good_one_is_neither_failed_nor_in_quarantine_nor_kept_before_a_restore() -> None:
    good = component(5)
    snapshots = [
        snapshot(1, component(1)),
        snapshot(2, good, status=PARTIAL),
        snapshot(3, component(6), status=QUARANTINED),
        snapshot(4, component(7), tag=BEFORE_RESTORE_TAG),
        snapshot(5, component(8, FAILED)),
    ]
    assert last_good(snapshots, "shop", "db", "sqlite") is good
    assert last_good(snapshots, "other", "db", "sqlite") is None
    assert last_good(snapshots, "shop", "db", "files") is None
    assert last_good(snapshots, "shop", "else", "sqlite") is None


@pytest.mark.parametrize("name", ["db", "other"])
def test_only_the_component_of_the_name_counts(name: str) -> None:
    made = snapshot(1, replace(component(), name=name))
    assert (last_good([made], "shop", "db", "sqlite") is not None) == (name == "db")
