"""What differs from the record is told, what may differ is not."""

from typing import Any

import pytest

from snap.errors import IntegrityError, SnapError, TargetError
from snap.sources.neo4j_proof import compare_counts, require_not_older

INDEX = {"name": "person", "type": "RANGE", "on": ["Person"], "properties": ["n"]}
RECORDED: dict[str, Any] = {
    "nodes": 5,
    "relationships": 2,
    "labels": {"Person": 3, "Thing": 2, "Gone": 0},
    "relationship_types": {"KNOWS": 2},
    "indexes": [{**INDEX, "state": "POPULATING"}],
    "constraints": [],
    "store_format": "record-aligned-1.1",
}


def test_the_same_counts_are_the_proof() -> None:
    found = {**RECORDED, "labels": {"Person": 3, "Thing": 2}, "indexes": [{**INDEX, "state": "ON"}]}
    assert compare_counts("neo4j", RECORDED, found) == (
        "5 nodes, 2 relationships, 1 indexes and 0 constraints, as recorded at the backup"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": 4}, "nodes are 4, recorded were 5"),
        ({"labels": {"Person": 3, "Thing": 1}}, "labels Thing: 1, recorded was 2"),
        ({"relationship_types": {"LIKES": 2}}, "relationship_types KNOWS: None, recorded was 2"),
        ({"indexes": []}, "indexes person: None"),
        ({"constraints": [INDEX]}, "constraints person: {.*}, recorded was None"),
    ],
)
def test_each_difference_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        compare_counts("neo4j", RECORDED, {**RECORDED, **change})


@pytest.mark.parametrize("version", ["5.25.9", "5.9.0", "4.4.30"])
def test_an_older_server_is_refused(version: str) -> None:
    with pytest.raises(SnapError, match=r"older one cannot read it|too old"):
        require_not_older(version, {"neo4j": "5.26.29"}, "graph")


@pytest.mark.parametrize("version", ["5.26.0", "5.26.29", "5.27.0", "2025.1.0"])
def test_the_same_release_and_newer_ones_are_not(version: str) -> None:
    require_not_older(version, {"neo4j": "5.26.29"}, "graph")
    require_not_older(version, {}, "graph")


def test_what_to_install_is_told() -> None:
    with pytest.raises(TargetError) as raised:
        require_not_older("5.20.0", {"neo4j": "5.26.29"}, "graph")
    assert raised.value.hint == "install Neo4j 5.26.29 or a newer one"
