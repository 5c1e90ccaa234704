from .conftest import Snap


def test_a_snapshot_is_held_and_let_go_by_any_of_its_ids(
    two_snapshots: tuple[Snap, str, str],
) -> None:
    snap, first, second = two_snapshots
    out = snap.ok("hold", "add", first, "latest").out
    assert [line.split(" ", 2)[2] for line in out.splitlines()] == ["is held", "is held"]
    assert [s["held"] for s in snap.ok("snapshots", "--json").json] == [True, True]
    assert snap.ok("hold", "add", first).out.endswith("is held already\n")
    assert snap.ok("hold", "list").out.endswith("2 snapshots\n")
    changed = snap.ok("hold", "remove", second, "--json").json
    assert [(c["former_id"] != c["id"], c["held"]) for c in changed] == [(True, False)]
    assert [s["original"] for s in snap.ok("hold", "list", "--json").json] == [first]


def test_one_that_is_named_twice_is_changed_once(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, _ = two_snapshots
    assert len(snap.ok("hold", "add", first, first, "--json").json) == 1
    assert snap("hold", "add", "nothing").code == 1


def test_a_hold_is_no_tag_that_people_give(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, _ = two_snapshots
    result = snap("tag", first, "--add", "held")
    assert result.code == 2
    assert "snap hold" in result.err
