"""``restore``, ``dump`` and ``check`` with copies to fall back to."""

import shutil
from pathlib import Path

import pytest

from .conftest import Snap, flip_last_byte, stored


def test_a_damaged_pack_is_taken_from_a_copy_and_it_is_said(copied: Snap, clean: Path) -> None:
    [pack] = stored(clean, "data")
    flip_last_byte(pack)
    pack.write_bytes(bytes(pack.stat().st_size))
    result = copied.ok("restore", "latest", "--target", "out")
    assert (clean / "out/folder/a.txt").read_bytes() == b"alpha\n"
    assert "taken from copy usb, because damaged or missing here: data/" in result.err
    assert "snap repair --from usb" in result.err
    shutil.rmtree(clean / "usb")
    dumped = copied.ok("dump", "latest:folder/a.txt")
    assert dumped.raw == b"alpha\n"
    assert "taken from copy office" in dumped.err
    # A copy that was named is the only one that is asked.
    assert copied("dump", "latest:folder/a.txt", "--copy", "usb").code == 4
    assert copied.ok("dump", "latest:folder/a.txt", "--copy", clean / "office").raw == b"alpha\n"
    assert copied("dump", "latest:folder/a.txt", "--copy", "ofice").code == 2


@pytest.mark.parametrize("harm", ["gone", "config damaged", "in the way"])
def test_a_repository_that_cannot_be_opened_is_read_from_a_copy(
    copied: Snap, clean: Path, harm: str
) -> None:
    if harm == "config damaged":
        (clean / "repo/config").write_text("spoilt")
    else:
        (clean / "repo").rename(clean / "away")
    if harm == "in the way":
        (clean / "repo").write_text("")
    shutil.rmtree(clean / "usb")
    result = copied("restore", "latest", "--target", "out")
    if harm == "in the way":
        # Not a place for a repository at all: the call is wrong, not the store.
        assert result.code == 2
        return
    assert result.code == 0, result.err
    assert (clean / "out/folder/a.txt").read_bytes() == b"alpha\n"
    assert "copy usb cannot help" in result.err
    assert "reading from copy office instead" in result.err
    assert copied("snapshots").code in (4, 10)


def test_another_repository_does_not_fall_back_to_these_copies(copied: Snap, clean: Path) -> None:
    assert copied("-r", clean / "typo", "restore", "latest", "--target", "out").code == 10


def test_a_copy_in_use_falls_back_to_the_repository(copied: Snap, clean: Path) -> None:
    shutil.rmtree(clean / "usb/data")
    result = copied.ok("-r", "usb", "dump", "latest:folder/a.txt")
    assert "taken from copy repository" in result.err
    assert "snap repair --from repository" in result.err
    copied.ok("-r", "usb", "repair", "--from", "repository")
    copied.ok("-r", "usb", "check", "--read-data")


def test_check_says_which_copies_have_whole_what_is_damaged(copied: Snap, clean: Path) -> None:
    copied.ok("check", "--read-data")
    [pack] = stored(clean, "data")
    flip_last_byte(pack)
    (next((clean / "usb/data").rglob(pack.name))).unlink()
    result = copied("check", "--read-data", "--json")
    assert result.code == 4
    assert {tuple(e["whole_in"]) for e in result.summary["errors"]} == {("office",)}
    shown = copied("check", "--read-data").out
    assert "whole in copy" in shown
    assert "heal it with: snap repair --from office" in shown
    copied.ok("repair", "--from", "office", "-q")
    copied.ok("check", "--read-data")
