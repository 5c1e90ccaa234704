import json
from pathlib import Path

import pytest

from .conftest import Snap, stored


@pytest.fixture
def lost_folder(initialized: Snap, folder: Path, clean: Path) -> Snap:
    """A snapshot of which the tree of one folder, ``sub``, is lost."""
    initialized.ok("backup", "folder", "-q")
    before = set(stored(clean, "meta"))
    (folder / "sub" / "new").write_bytes(b"new\n")
    initialized.ok("backup", "folder", "-q")
    [pack] = set(stored(clean, "meta")) - before
    # The root's tree is put back, as a backup of the same tree without the folder's own.
    pack.unlink()
    return initialized


def test_lost_paths_are_listed_for_people_and_programs(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    snap, first, second = two_snapshots
    for pack in stored(clean, "data"):
        pack.unlink()
    summary = snap("check", "--json").summary
    told = {(e["snapshot_id"], e["component"], e["path"]) for e in summary["lost"]}
    assert told == {
        (first, "folder", "a.txt"),
        (first, "folder", "sub/b.bin"),
        (second, "folder", "a.txt"),
        (second, "folder", "new.txt"),
    }
    assert summary["lost_count"] == 4
    people = snap("check")
    assert "folder/sub/b.bin" in people.out
    assert people.code == 4


def test_listings_go_on_past_a_lost_tree_with_a_warning_and_exit_code_4(
    lost_folder: Snap, clean: Path
) -> None:
    snap = lost_folder
    for command in (("ls", "latest"), ("find", "*.txt"), ("diff", "latest~1", "latest")):
        result = snap(*command, "--no-cache")
        assert result.code == 4, result
        assert "snap: warning:" in result.err
        assert "Traceback" not in result.err
    found = snap("find", "b.bin", "--no-cache", "--json")
    assert found.code == 4
    assert found.summary["matches"] == 1
    warnings = [json.loads(line) for line in found.err.splitlines()]
    assert all(w["message_type"] == "warning" for w in warnings)
