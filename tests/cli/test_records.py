import json

from snap.cli.records import component_record, node_record, snapshot_record
from snap.repo.ids import ObjectId
from snap.repo.snapshot import Component, Snapshot
from snap.repo.source import Attributes, NodeType
from snap.repo.tree import Node

COMPONENT = Component(
    "events.db",
    "sqlite",
    "/srv/events.db",
    "partial",
    files=2,
    bytes=10,
    bytes_new=5,
    bytes_stored=3,
    consistency="transaction",
    started_ns=1_000_000_000,
    point_ns=1_500_000_000,
    finished_ns=3_500_000_000,
    statistics={"tables": {"events": 3}},
    problems=((b"a/\xff", "gone"),),
)


def test_a_component_says_all_that_the_contract_lists() -> None:
    record = component_record(COMPONENT)
    assert record["duration_seconds"] == 2.5
    assert record["time"] == "1970-01-01T00:00:01.500000+00:00"
    assert record["problems"] == [{"path": "a/\\xff", "path_b64": "YS//", "problem": "gone"}]
    assert record["statistics"] == {"tables": {"events": 3}}
    assert (record["bytes_processed"], record["bytes_new"], record["bytes_stored"]) == (10, 5, 3)
    json.dumps(record)


def test_a_snapshot_has_its_first_id_after_its_tags_were_changed() -> None:
    snapshot = Snapshot(0, "s", "h", "u", "p", "success", (COMPONENT,), tags=("t",))
    assert snapshot_record(snapshot)["original"] is None
    changed = Snapshot(0, "s", "h", "u", "p", "success", (), original=ObjectId(bytes(31) + b"\1"))
    assert snapshot_record(changed)["original"] == "00" * 31 + "01"


def test_an_entry_that_is_no_file_has_no_size() -> None:
    link = Node(b"l", NodeType.SYMLINK, Attributes(mode=0o777), target=b"\xfe")
    record = node_record("c", (b"d", b"l"), link)
    assert record["size"] is None
    assert (record["path"], record["name"]) == ("d/l", "l")
    assert (record["target"], record["target_b64"]) == ("\\xfe", "/g==")
