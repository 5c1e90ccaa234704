import random
from pathlib import Path

import pytest

from .conftest import Snap, flip_bit, flip_last_byte, stored


def test_what_is_damaged_and_lost_is_healed_from_a_copy(copied: Snap, clean: Path) -> None:
    [pack] = stored(clean, "data")
    [index] = stored(clean, "index")
    flip_last_byte(pack)
    index.unlink()
    (clean / "repo/config").unlink()
    found = copied("repair", "--from", "usb", "--json")
    assert found.code == 0, found.err
    summary = found.summary
    assert (summary["ok"], summary["copy"], summary["errors"]) == (True, "usb", [])
    assert [p["object"].rpartition("/")[2] for p in summary["healed"]] == [
        pack.name,
        index.name,
        "config",
    ]
    copied.ok("check", "--read-data")
    assert "everything is whole" in copied.ok("repair", "--from", clean / "office").out


def test_a_copy_is_healed_from_the_repository(copied: Snap, clean: Path) -> None:
    [pack] = (p for p in (clean / "usb/data").rglob("*") if p.is_file())
    pack.unlink()
    told = copied.ok("-r", "usb", "repair", "--from", clean / "repo").out
    assert f"data/{pack.name[:2]}/{pack.name}" in told
    assert "healed 1 object" in told
    copied.ok("-r", "usb", "check", "--read-data")


def test_what_stays_damaged_is_told_with_exit_code_4(copied: Snap, clean: Path) -> None:
    [pack] = stored(clean, "data")
    flip_last_byte(pack)
    flip_last_byte(next(p for p in (clean / "usb/data").rglob("*") if p.is_file()))
    result = copied("repair", "--from", "usb")
    assert result.code == 4
    assert "STILL DAMAGED" in result.out
    assert "1 object still damaged" in result.out
    copied.ok("repair", "--from", "office")
    copied.ok("check", "--read-data")


def test_what_may_have_been_removed_on_purpose_is_told(copied: Snap, clean: Path) -> None:
    [snapshot] = stored(clean, "snapshots")
    snapshot.unlink()
    result = copied.ok("repair", "--from", "usb")
    assert f"snapshots/{snapshot.name} was not there and was brought back" in result.err


def test_an_unknown_copy_and_options_that_go_without_one_are_refused(copied: Snap) -> None:
    assert copied("repair", "--from", "ofice").code == 2
    for option in ("--dry-run", "--read-data"):
        result = copied("repair", "--from", "usb", option)
        assert result.code == 2
        assert option in result.err


def test_without_a_copy_a_lost_index_is_rebuilt(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    snap, *ids = two_snapshots
    lost = stored(clean, "index")
    for path in lost[1:]:
        path.unlink()
    flip_last_byte(lost[0])
    packs = stored(clean, "data") + stored(clean, "meta")
    supposed = snap.ok("repair", "--dry-run", "--json").summary
    assert stored(clean, "index") == lost[:1]
    found = snap.ok("repair", "--json").summary
    assert supposed == {**found, "dry_run": True}
    assert [name.rpartition("/")[2] for name in found["indexed"]] == [p.name for p in packs]
    assert found["indexed_unread"] == len(stored(clean, "data"))
    assert [p["object"] for p in found["aside"]] == [f"index/{lost[0].name}"]
    assert len(stored(clean, "aside")) == 1
    snap.ok("check", "--read-data")
    for id_ in ids:
        snap.ok("restore", id_, "--target", clean / id_)
    assert "everything that the snapshots need is there" in snap.ok("repair").out


def test_what_is_lost_is_told_by_path_and_a_backup_heals_the_older_snapshots(
    initialized: Snap, folder: Path, database: Path, clean: Path
) -> None:
    snap = initialized
    (folder / "big").write_bytes(random.Random(1).randbytes(3_000_000))
    first = snap.ok("backup", "folder", f"sqlite:{database}", "--json").summary["snapshot_id"]
    (folder / "new.txt").write_bytes(b"new")
    second = snap.ok("backup", "folder", f"sqlite:{database}", "--json").summary["snapshot_id"]
    for pack in stored(clean, "data"):
        damage(pack)
    result = snap("repair", "--read-data", "--json")
    assert result.code == 4
    lost = {f"{e['component']}/{e['path']}" for e in result.summary["lost"]}
    assert lost <= {"folder/big", "folder/a.txt", "folder/sub/b.bin", "folder/new.txt"} | {
        "events.db/events.db"
    }
    people = snap("repair")
    assert people.code == 4
    assert "can be restored" in people.out
    snap.ok("backup", "folder", f"sqlite:{database}")
    snap.ok("check", "--read-data")
    for id_ in (first, second):
        snap.ok("restore", id_, "--target", clean / id_)
        assert (clean / id_ / "folder/big").read_bytes() == (folder / "big").read_bytes()
        assert (clean / id_ / "events.db/events.db").exists()
    snap.ok("repair", "--read-data")


@pytest.mark.parametrize("repaired", [False, True], ids=["alone", "after repair"])
def test_trees_that_are_lost_are_healed_by_the_next_backup(
    initialized: Snap, folder: Path, clean: Path, repaired: bool
) -> None:
    snap = initialized
    id_ = snap.ok("backup", "folder", "--json").summary["snapshot_id"]
    for pack in stored(clean, "meta"):
        pack.unlink()
    if repaired:
        found = snap("repair", "--json")
        assert found.code == 4
        assert [(e["component"], e["path"]) for e in found.summary["lost"]] == [("folder", "")]
    snap.ok("backup", "folder")
    snap.ok("restore", id_, "--target", clean / "out", "--no-cache")
    assert (clean / "out/folder/sub/b.bin").read_bytes() == (folder / "sub/b.bin").read_bytes()
    # Without a repair the index still names the packs that are gone.
    assert snap("check", "--read-data").code == (0 if repaired else 4)
    snap.ok("repair")
    snap.ok("check", "--read-data")


def damage(pack: Path) -> None:
    """Flip a bit in the middle, in a blob."""
    flip_bit(pack, pack.stat().st_size // 2)


def test_a_writer_says_that_it_needs_the_full_key_for_damaged_data(
    initialized: Snap, folder: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialized.ok("backup", "folder", "-q")
    (clean / "new").write_text("the writer\n")
    initialized.ok("key", "add", "--capability", "writer", "--new-password-file", clean / "new")
    [pack] = stored(clean, "data")
    damage(pack)
    monkeypatch.setenv("SNAP_PASSWORD", "the writer")
    result = initialized("repair", "--read-data")
    assert result.code == 4
    assert "a writer key cannot tell" in result.out
    assert pack.exists()


def test_it_waits_for_no_prune_but_refuses_beside_one(initialized: Snap, clean: Path) -> None:
    lease = clean / "repo/leases" / ("1e" * 32)
    lease.parent.mkdir(exist_ok=True)
    lease.write_bytes(b"nobody knows")
    result = initialized("repair")
    assert result.code == 11
    assert "snap: hint: " in result.err
    lease.unlink()
    initialized.ok("repair")
