from pathlib import Path

from .conftest import Snap, flip_last_byte

FIELDS = {"id", "short_id", "time", "hostname", "tags", "status", "held", "components"}


def test_json_is_a_list_with_the_promised_fields(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, second = two_snapshots
    listed = snap.ok("snapshots", "--json").json
    assert [s["id"] for s in listed] == [first, second]
    assert all(set(s) >= FIELDS for s in listed)
    assert listed[0]["short_id"] == first[:8]
    assert listed[0]["tags"] == ["old"]
    assert listed[0]["held"] is False
    assert listed[0]["components"][0]["name"] == "folder"


def test_people_get_a_table(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, second = two_snapshots
    lines = snap.ok("snapshots").out.splitlines()
    assert lines[0].split() == [
        "id",
        "time",
        "service",
        "host",
        "status",
        "tags",
        "components",
        "size",
    ]
    assert lines[1].startswith(first[:8])
    assert lines[2].startswith(second[:8])
    assert lines[3] == "2 snapshots"


def test_an_empty_repository_has_no_snapshots(initialized: Snap) -> None:
    assert initialized.ok("snapshots").out == "0 snapshots\n"
    assert initialized.ok("snapshots", "--json").json == []
    assert initialized.ok("snapshots", "-q").out == ""


def test_filters_choose(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, second = two_snapshots

    def ids(*arguments: str) -> list[str]:
        return [s["id"] for s in snap.ok("snapshots", "--json", *arguments).json]

    assert ids("--tag", "old") == [first]
    assert ids("--tag", "old", "--tag", "new") == []
    assert ids("--service", "other") == [second]
    assert ids("--host", "nowhere") == []
    assert ids("--latest", "1") == [second]
    assert ids("--latest", "5") == [first, second]


def test_a_damaged_snapshot_is_named_and_the_others_are_listed(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    snap, first, second = two_snapshots
    flip_last_byte(clean / "repo" / "snapshots" / first)
    result = snap("snapshots", "--json")
    assert result.code == 4
    assert [s["id"] for s in result.json] == [second]
    assert f"snapshots/{first}" in result.err
