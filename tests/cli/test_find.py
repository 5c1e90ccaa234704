from .conftest import Snap


def test_matches_are_listed_by_snapshot(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, second = two_snapshots
    lines = snap.ok("find", "*.txt").out.splitlines()
    assert lines[0].startswith(f"snapshot {first[:8]} of ")
    assert lines[1].endswith(" folder/a.txt")
    assert lines[2].startswith(f"snapshot {second[:8]} of ")
    assert [line.split()[-1] for line in lines[3:5]] == ["folder/a.txt", "folder/new.txt"]
    assert lines[5] == "3 matches in 2 snapshots"


def test_json_has_a_line_a_match_and_a_summary(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, _ = two_snapshots
    result = snap.ok("find", "b.bin", "--json")
    match = result.lines[0]
    assert match["message_type"] == "match"
    assert match["snapshot_id"] == first
    assert (match["component"], match["path"], match["size"]) == ("folder", "sub/b.bin", 10240)
    assert result.summary == {"message_type": "summary", "matches": 1, "snapshots": 2}


def test_a_pattern_with_a_slash_is_for_the_whole_path(
    two_snapshots: tuple[Snap, str, str],
) -> None:
    snap, _, _ = two_snapshots
    assert snap.ok("find", "folder/sub/*", "--json").summary["matches"] == 1
    assert snap.ok("find", "sub/b.bin", "--json").summary["matches"] == 0


def test_filters_and_one_snapshot_choose(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, _ = two_snapshots

    def matches(*arguments: str) -> int:
        count: int = snap.ok("find", "*.txt", "--json", *arguments).summary["matches"]
        return count

    assert matches("--tag", "old") == 1
    assert matches("--service", "other") == 2
    assert matches("--host", "nowhere") == 0
    assert matches("--snapshot", first) == 1
    assert matches("--snapshot", "latest") == 2


def test_no_match_is_no_error(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, _, _ = two_snapshots
    assert snap.ok("find", "nothing*").out == "0 matches in 2 snapshots\n"
