from pathlib import Path

from .conftest import Snap


def test_people_get_signs_sizes_and_a_summary(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, second = two_snapshots
    lines = snap.ok("diff", first, second).out.splitlines()
    assert "M  folder/a.txt  (6 B -> 14 B)" in lines
    assert "+  folder/new.txt  (4 B)" in lines
    assert "-  folder/sub/b.bin  (10.0 KiB)" in lines
    assert lines[-1] == "4 B in new files, 10.0 KiB in removed ones"


def test_json_has_a_line_a_change_and_a_summary(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, second = two_snapshots
    result = snap.ok("diff", first, second, "--json")
    changes = {c["path"]: c for c in result.lines[:-1]}
    assert all(c["message_type"] == "change" for c in changes.values())
    assert changes["a.txt"]["change"] == "modified"
    assert (changes["a.txt"]["old_size"], changes["a.txt"]["new_size"]) == (6, 14)
    assert (changes["new.txt"]["old_size"], changes["new.txt"]["new_size"]) == (None, 4)
    assert changes["sub/b.bin"]["change"] == "removed"
    summary = result.summary
    assert (summary["old"], summary["new"]) == (first, second)
    assert (summary["added"], summary["removed"], summary["modified"]) == (1, 1, 1)
    assert (summary["bytes_added"], summary["bytes_removed"]) == (4, 10240)


def test_a_snapshot_does_not_differ_from_itself(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, _, _ = two_snapshots
    assert snap.ok("diff", "latest", "latest").out == "no differences\n"


def test_attributes_and_types_have_their_own_signs(initialized: Snap, folder: Path) -> None:
    initialized.ok("backup", "folder", "--tag", "a")
    (folder / "a.txt").chmod(0o600)
    (folder / "sub" / "b.bin").unlink()
    (folder / "sub" / "b.bin").mkdir()
    initialized.ok("backup", "folder", "--tag", "b")
    old, new = (s["id"] for s in initialized.ok("snapshots", "--json").json)
    lines = initialized.ok("diff", old, new).out.splitlines()
    assert "U  folder/a.txt" in lines
    assert "T  folder/sub/b.bin/  (10.0 KiB)" in lines


def test_a_component_that_is_new_is_added_whole(
    initialized: Snap, folder: Path, database: Path
) -> None:
    initialized.ok("backup", "folder")
    initialized.ok("backup", "folder", "sqlite:events.db")
    old, new = (s["id"] for s in initialized.ok("snapshots", "--json").json)
    lines = initialized.ok("diff", old, new).out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("+  events.db/events.db  (")


def test_both_snapshots_must_be_there(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, _, _ = two_snapshots
    result = snap("diff", "latest", "eeeeeeeeeeee")
    assert result.code == 1
    assert "no snapshot 'eeeeeeeeeeee'" in result.err
