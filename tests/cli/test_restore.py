import json
import os
import sqlite3
from pathlib import Path

import pytest

from .conftest import Snap, damage_in_ten_places, stored

SUMMARY = {"message_type", "snapshot_id", "target", "ok", "components"}


def test_components_go_into_folders_of_their_own_and_are_proven(
    initialized: Snap, folder: Path, database: Path, clean: Path
) -> None:
    initialized.ok("backup", "folder", "sqlite:events.db")
    result = initialized.ok("restore", "latest", "--target", "out")
    assert (clean / "out" / "folder" / "a.txt").read_bytes() == b"alpha\n"
    assert (clean / "out" / "folder" / "link").readlink() == Path("a.txt")
    assert (clean / "out" / "folder" / "sub" / "b.bin").read_bytes() == bytes(range(256)) * 40
    with sqlite3.connect(clean / "out" / "events.db" / "events.db") as connection:
        assert connection.execute("select count(*) from events").fetchone() == (500,)
    connection.close()
    assert f"folder: 2 files, 10.0 KiB restored to {Path('out/folder')}" in result.out
    assert "events.db: integrity check ok" in result.out


def test_json_says_what_was_restored_and_proven(
    initialized: Snap, folder: Path, database: Path
) -> None:
    initialized.ok("backup", "folder", "sqlite:events.db")
    result = initialized.ok("restore", "latest", "--target", "out", "--json")
    assert all(line["message_type"] == "status" for line in result.lines[:-1])
    summary = result.summary
    assert set(summary) == SUMMARY
    assert (summary["ok"], summary["target"]) == (True, "out")
    components = {c["name"]: c for c in summary["components"]}
    assert components["folder"]["files"] == 2
    assert components["folder"]["proofs"] == []
    assert components["events.db"]["proofs"] != []
    assert all(c["status"] == "success" and c["error"] == "" for c in components.values())


def test_a_target_whose_name_is_not_utf8_is_exact_in_json(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    snap, _, _ = two_snapshots
    summary = snap.ok("restore", "latest", "--target", "out\udcff", "--json").summary
    assert (summary["target"], summary["target_b64"]) == ("out\\xff", "b3V0/w==")
    assert (clean / "out\udcff" / "folder" / "new.txt").exists()


def test_a_part_keeps_its_place(two_snapshots: tuple[Snap, str, str], clean: Path) -> None:
    snap, first, _ = two_snapshots
    snap.ok("restore", f"{first}:folder/sub/b.bin", "--target", "out")
    assert sorted(p.relative_to(clean) for p in (clean / "out").rglob("*") if p.is_file()) == [
        Path("out/folder/sub/b.bin")
    ]


def test_what_is_there_is_not_overwritten_unless_asked(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    snap, first, second = two_snapshots
    snap.ok("restore", first, "--target", "out")
    (clean / "out" / "folder" / "a.txt").write_text("mine")
    result = snap("restore", second, "--target", "out")
    assert result.code == 1
    assert "folder: " in result.err
    assert "overwrite" in result.err
    assert (clean / "out" / "folder" / "a.txt").read_text() == "mine"
    snap.ok("restore", second, "--target", "out", "--overwrite")
    assert (clean / "out" / "folder" / "a.txt").read_bytes() == b"alpha changed\n"


def test_a_dry_run_writes_nothing(two_snapshots: tuple[Snap, str, str], clean: Path) -> None:
    snap, first, _ = two_snapshots
    result = snap.ok("restore", first, "--target", "out", "--dry-run")
    assert result.out.splitlines() == [
        "folder: 2 files, 10.0 KiB would be written to out/folder",
        "dry run: nothing was written",
    ]
    assert "folder/sub/b.bin" in snap.ok("restore", first, "--target", "out", "--dry-run", "-v").out
    summary = snap.ok("restore", first, "--target", "out", "--dry-run", "--json").json
    assert summary["dry_run"] is True
    assert summary["components"][0]["files"] == 2
    assert not (clean / "out").exists()


def test_a_component_that_cannot_be_written_does_not_stop_the_others(
    initialized: Snap, folder: Path, database: Path, clean: Path
) -> None:
    initialized.ok("backup", "folder", "sqlite:events.db")
    (clean / "out" / "events.db").mkdir(parents=True)
    (clean / "out" / "events.db" / "events.db").write_text("in the way")
    result = initialized("restore", "latest", "--target", "out", "--json")
    assert result.code == 1
    statuses = {c["name"]: c["status"] for c in result.summary["components"]}
    assert statuses == {"events.db": "failed", "folder": "success"}
    assert result.summary["ok"] is False
    error = json.loads(result.err.splitlines()[-1])
    assert error["message"].startswith("events.db: ")
    assert (clean / "out" / "folder" / "a.txt").exists()
    assert (clean / "out" / "events.db" / "events.db").read_text() == "in the way"


def test_a_snapshot_with_gaps_is_restored_as_far_as_it_goes(
    initialized: Snap, folder: Path, clean: Path
) -> None:
    assert initialized("backup", "folder", "gone").code == 3
    result = initialized("restore", "latest", "--target", "out")
    assert result.code == 3
    assert "snap: warning: gone: not in this snapshot: its backup failed" in result.err
    assert (clean / "out" / "folder" / "a.txt").exists()
    assert initialized("restore", "latest:gone", "--target", "out").code == 1
    assert initialized("restore", "latest", "--target", "out", "--dry-run").code == 3


def test_damaged_data_is_named_and_no_wrong_byte_is_written(
    initialized: Snap, folder: Path, clean: Path
) -> None:
    content = os.urandom(300_000)
    (folder / "big").write_bytes(content)
    initialized.ok("backup", "folder")
    (clean / "keep").mkdir()
    damage_in_ten_places(stored(clean, "data")[0])
    result = initialized("restore", "latest", "--target", "out")
    assert result.code == 4
    assert "big" in result.err
    assert "Traceback" not in result.err
    assert not (clean / "out" / "folder" / "big").exists()


def test_with_verify_what_the_disk_made_wrong_is_found_before_anything_is_replaced(
    two_snapshots: tuple[Snap, str, str], clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snap, first, second = two_snapshots
    snap.ok("restore", first, "--target", "out", "--verify")
    before = (clean / "out" / "folder" / "a.txt").read_bytes()
    real = os.write

    def lying(descriptor: int, data: bytes) -> int:
        return real(descriptor, bytes(len(data)))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lying)
        result = snap("restore", second, "--target", "out", "--overwrite", "--verify")
    assert result.code == 1
    assert "reads back differently" in result.err
    assert (clean / "out" / "folder" / "a.txt").read_bytes() == before
    assert "reads back" not in snap.ok("restore", "latest", "--target", "other", "--verify").err


def test_a_target_that_cannot_be_made_is_named(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    snap, _, _ = two_snapshots
    (clean / "file").write_text("")
    result = snap("restore", "latest", "--target", "file/out")
    assert result.code == 1
    assert "cannot make the target folder: file/out" in result.err


@pytest.mark.parametrize("place", ["latest:nothing", "latest:folder/gone", "dddddddddddd"])
def test_what_is_not_there_cannot_be_restored(
    two_snapshots: tuple[Snap, str, str], place: str
) -> None:
    result = two_snapshots[0]("restore", place, "--target", "out")
    assert result.code == 1
    assert "Traceback" not in result.err


def test_an_empty_target_is_refused(two_snapshots: tuple[Snap, str, str]) -> None:
    result = two_snapshots[0]("restore", "latest", "--target", "")
    assert result.code == 2
    assert "nothing says where to restore to" in result.err
