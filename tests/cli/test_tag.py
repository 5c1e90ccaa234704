import pytest

from .conftest import Snap


def test_tags_are_added_and_removed(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, _ = two_snapshots
    changed = snap.ok("tag", first, "--add", "x", "--add", "y", "--remove", "old", "--json").json
    assert changed["former_id"] == first
    assert changed["id"] != first
    assert changed["tags"] == ["x", "y"]
    listed = snap.ok("snapshots", "--json").json
    assert listed[0]["id"] == changed["id"]
    assert listed[0]["original"] == first
    assert listed[0]["tags"] == ["x", "y"]
    assert len(listed) == 2


def test_tags_are_replaced_and_the_first_id_still_finds_the_snapshot(
    two_snapshots: tuple[Snap, str, str],
) -> None:
    snap, first, _ = two_snapshots
    out = snap.ok("tag", first, "--set", "a", "--set", "b").out
    assert out.endswith(f"(was {first[:8]}): a, b\n")
    out = snap.ok("tag", first, "--set", "").out
    assert out.endswith(": no tags\n")
    assert snap.ok("snapshots", "--json").json[0]["tags"] == []


def test_tags_that_are_there_already_change_nothing(
    two_snapshots: tuple[Snap, str, str],
) -> None:
    snap, first, _ = two_snapshots
    assert snap.ok("tag", first, "--add", "old").out == f"snapshot {first[:8]} (as before): old\n"
    assert snap.ok("snapshots", "--json").json[0]["id"] == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to change"),
        (["--set", "a", "--add", "b"], "--set excludes --add and --remove"),
        (["--add", "a,b"], "not a tag"),
        (["--set", "", "--set", "a"], "not a tag"),
    ],
)
def test_a_change_that_is_not_clear_is_refused(
    two_snapshots: tuple[Snap, str, str], arguments: list[str], message: str
) -> None:
    snap, first, _ = two_snapshots
    result = snap("tag", first, *arguments)
    assert result.code == 2
    assert message in result.err
