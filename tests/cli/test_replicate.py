import shutil
from pathlib import Path

import pytest

from .conftest import PASSWORD, Snap, flip_last_byte, stored
from .copied import configure


@pytest.fixture
def copied(initialized: Snap, folder: Path, clean: Path) -> Snap:
    """A repository with a snapshot, and two copies that are configured and not made yet."""
    configure(initialized, clean)
    initialized.ok("backup", "folder", "-q")
    return initialized


def test_all_copies_are_brought_up_to_date(copied: Snap, clean: Path) -> None:
    for name in ("usb", "office"):
        made = copied.ok("init", "--copy-of", clean / "repo", "-r", name)
        assert "created copy of repository" in made.out
    summary = copied.ok("replicate", "--json").summary
    assert summary["ok"]
    assert [(c["name"], c["ok"], c["snapshots"], c["packs"]) for c in summary["copies"]] == [
        ("usb", True, 1, 2),
        ("office", True, 1, 2),
    ]
    assert summary["copies"][0]["bytes"] > 0
    assert "up to date" in copied.ok("replicate", "usb").out
    shutil.rmtree(clean / "repo")
    # The copy alone, by its name.
    copied.ok("-r", "office", "restore", "latest", "--target", "out")
    assert (clean / "out/folder/a.txt").read_bytes() == b"alpha\n"


def test_init_tells_where_the_copy_is_and_the_same_password_opens_it(
    copied: Snap, clean: Path
) -> None:
    first = copied.ok("-r", "repo", "key", "list", "--json").json
    record = copied.ok("init", "--copy-of", "./repo", "-r", clean / "usb", "--json").json
    assert record["message_type"] == "initialized"
    assert record["location"] == str(clean / "usb")
    assert record["copy_of"] == str(clean / "repo")
    assert "recovery_key" not in record
    assert copied.ok("-r", "usb", "key", "list", "--json").json == first
    again = copied("init", "--copy-of", "./repo", "-r", "usb")
    assert again.code == 2
    assert "there is a copy of the repository already" in again.err
    assert copied("init", "--copy-of", "./repo", "--label", "x", "-r", "new").code == 2


def test_a_copy_that_does_not_exist_is_told_or_made(copied: Snap, clean: Path) -> None:
    result = copied("replicate", "usb")
    assert result.code == 1
    assert f"snap init --copy-of {clean / 'repo'} -r {clean / 'usb'}" in result.err
    assert not (clean / "usb").exists()
    [foreseen] = copied.ok("replicate", "usb", "--init", "--dry-run", "--json").summary["copies"]
    assert foreseen["made"]
    assert not (clean / "usb").exists()
    [record] = copied.ok("replicate", "usb", "--init", "--json").summary["copies"]
    assert record["made"]
    for what in ("packs", "bytes", "snapshots"):
        assert record[what] == foreseen[what] > 0
    assert copied.ok("-r", "usb", "snapshots", "--json").json


def test_one_that_fails_does_not_stop_the_others(copied: Snap, clean: Path) -> None:
    copied.ok("replicate", "--init", "-q")
    shutil.rmtree(clean / "usb")
    (clean / "usb").write_text("a file")
    result = copied("replicate", "--json")
    assert result.code == 3
    usb, office = result.summary["copies"]
    assert (usb["ok"], office["ok"]) == (False, True)
    assert usb["error"]
    assert '"message_type": "error"' in result.err


def test_a_copy_of_another_repository_is_left_alone(copied: Snap, clean: Path) -> None:
    copied.ok("init", "--kdf-seconds", "0", "-q", "-r", clean / "usb")
    result = copied("replicate", "usb")
    assert result.code == 1
    assert "holds another repository" in result.err
    assert not list((clean / "usb" / "snapshots").glob("*"))


def test_what_is_damaged_here_is_told_with_exit_code_4(copied: Snap, clean: Path) -> None:
    copied.ok("replicate", "--init", "-q")
    (clean / "folder/new").write_bytes(b"n" * 100_000)
    known = stored(clean, "data")
    copied.ok("backup", "folder", "-q")
    [new] = set(stored(clean, "data")) - set(known)
    flip_last_byte(new)
    result = copied("replicate", "--json", "usb")
    assert result.code == 4
    [record] = result.summary["copies"]
    assert [p["object"][-64:] for p in record["problems"]] == [new.name]
    assert len(record["held_back"]) == 1
    assert "was not copied" in result.err


def test_a_dry_run_says_what_would_be_copied(copied: Snap, clean: Path) -> None:
    copied.ok("init", "--copy-of", "./repo", "-r", "usb")
    result = copied.ok("replicate", "usb", "--dry-run")
    assert "dry run: nothing was copied" in result.out
    assert not (clean / "usb/data").exists()


def test_a_copy_that_is_ahead_is_told(copied: Snap, clean: Path) -> None:
    copied.ok("replicate", "--init", "-q")
    copied.ok("backup", "folder", "-q", "-r", clean / "usb")
    assert "1 snapshot that the repository does not have" in copied.ok("replicate", "usb").out


def test_mistakes_are_usage_errors(initialized: Snap, clean: Path) -> None:
    assert initialized("replicate").code == 2
    assert initialized("replicate", "nothing").code == 2
    itself = initialized("replicate", clean / "repo")
    assert itself.code == 1
    assert "is the repository itself" in itself.err
    assert PASSWORD not in itself.err


def test_how_to_make_a_copy_is_said_as_it_can_be_typed(initialized: Snap, clean: Path) -> None:
    result = initialized("replicate", "./a place")
    assert f"snap init --copy-of {clean / 'repo'} -r './a place'" in result.err


def test_progress_never_tells_of_more_than_all(copied: Snap) -> None:
    lines = copied.ok("replicate", "--init", "--json").lines[:-1]
    assert lines
    for line in lines:
        assert line["bytes_total"] is None or line["bytes_done"] <= line["bytes_total"]
