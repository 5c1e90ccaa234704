from pathlib import Path

import pytest

from .conftest import Snap, flip_last_byte, stored
from .copied import configure


@pytest.fixture
def copied(initialized: Snap, folder: Path, clean: Path) -> Snap:
    """A repository with a snapshot and two copies of it."""
    configure(initialized, clean)
    initialized.ok("backup", "folder", "-q")
    initialized.ok("replicate", "--init", "-q")
    return initialized


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


def test_without_a_copy_it_is_said_what_is_missing(copied: Snap) -> None:
    result = copied("repair")
    assert result.code == 2
    assert "snap repair --from COPY" in result.err
    assert copied("repair", "--from", "ofice").code == 2
