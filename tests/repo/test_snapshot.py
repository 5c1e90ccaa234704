from typing import Any

import pytest

from snap.repo import codec
from snap.repo.codec import DecodeError
from snap.repo.ids import BlobId, ObjectId
from snap.repo.snapshot import (
    Component,
    Snapshot,
    SnapshotStatistics,
    decode_snapshot,
    encode_snapshot,
)

ID = ObjectId(b"i" * 32)
SNAPSHOT = Snapshot(
    time_ns=1, service="s", hostname="h", username="u", program="p", status="partial",
    components=(
        Component(
            "a", "sqlite", "/x", "success", subtree=(BlobId(b"t" * 32),), files=1, bytes=2,
            statistics={"tables": {"t": 5}}, versions={"sqlite": "3"}, warnings=("w",),
            problems=((b"p\xff", "why"),),
        ),
        Component("b", "files", "/y", "failed", error="gone"),
    ),
    tags=("x", "y"), skew_ns=9, original=ObjectId(b"o" * 32), revision=2,
    statistics=SnapshotStatistics(1, 2, 3, 4, 5), id=ID,
)  # fmt: skip


def body(**changes: Any) -> dict[str, Any]:
    return codec.decode(codec.encode(encode_snapshot(SNAPSHOT))) | changes


def test_a_snapshot_comes_back() -> None:
    assert decode_snapshot(body(), ID) == SNAPSHOT
    assert SNAPSHOT.component("b") == SNAPSHOT.components[1]
    assert SNAPSHOT.component("c") is None
    assert SNAPSHOT.short_id == "69696969"


def test_components_out_of_order_or_twice_are_refused() -> None:
    a, b = body()["components"]
    for wrong in ([b, a], [a, a]):
        with pytest.raises(DecodeError, match="order"):
            decode_snapshot(body(components=wrong), ID)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../evil"},
        {"name": ".."},
        {"name": ""},
        {"problems": [["text", "why"]]},
        {"problems": [[b"p"]]},
        {"warnings": [5]},
        {"files": "many"},
        {"subtree": b""},
        {"subtree": b"short"},
    ],
)
def test_components_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    components = body()["components"]
    components[0] |= change
    with pytest.raises(DecodeError):
        decode_snapshot(body(components=components), ID)


@pytest.mark.parametrize(
    "change",
    [
        {"time": "now"},
        {"tags": [1]},
        {"original": b"short"},
        {"components": [5]},
        {"statistics": {}},
    ],
)
def test_snapshots_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        decode_snapshot(body(**change), ID)
