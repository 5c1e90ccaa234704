import shutil
from pathlib import Path

from .conftest import PASSWORD, Snap, flip_last_byte, stored


def test_all_copies_are_brought_up_to_date(to_copy: Snap, clean: Path) -> None:
    for name in ("usb", "office"):
        made = to_copy.ok("init", "--copy-of", clean / "repo", "-r", name)
        assert "created copy of repository" in made.out
    summary = to_copy.ok("replicate", "--json").summary
    assert summary["ok"]
    assert [(c["name"], c["ok"], c["snapshots"], c["packs"]) for c in summary["copies"]] == [
        ("usb", True, 1, 2),
        ("office", True, 1, 2),
    ]
    assert summary["copies"][0]["bytes"] > 0
    assert "up to date" in to_copy.ok("replicate", "usb").out
    shutil.rmtree(clean / "repo")
    # The copy alone, by its name.
    to_copy.ok("-r", "office", "restore", "latest", "--target", "out")
    assert (clean / "out/folder/a.txt").read_bytes() == b"alpha\n"


def test_init_tells_where_the_copy_is_and_the_same_password_opens_it(
    to_copy: Snap, clean: Path
) -> None:
    first = to_copy.ok("-r", "repo", "key", "list", "--json").json
    record = to_copy.ok("init", "--copy-of", "./repo", "-r", clean / "usb", "--json").json
    assert record["message_type"] == "initialized"
    assert record["location"] == str(clean / "usb")
    assert record["copy_of"] == str(clean / "repo")
    assert "recovery_key" not in record
    assert to_copy.ok("-r", "usb", "key", "list", "--json").json == first
    again = to_copy("init", "--copy-of", "./repo", "-r", "usb")
    assert again.code == 2
    assert "there is a copy of the repository already" in again.err
    assert to_copy("init", "--copy-of", "./repo", "--label", "x", "-r", "new").code == 2


def test_a_copy_that_does_not_exist_is_told_or_made(to_copy: Snap, clean: Path) -> None:
    result = to_copy("replicate", "usb")
    assert result.code == 1
    assert f"snap init --copy-of {clean / 'repo'} -r {clean / 'usb'}" in result.err
    assert not (clean / "usb").exists()
    [foreseen] = to_copy.ok("replicate", "usb", "--init", "--dry-run", "--json").summary["copies"]
    assert foreseen["made"]
    assert not (clean / "usb").exists()
    [record] = to_copy.ok("replicate", "usb", "--init", "--json").summary["copies"]
    assert record["made"]
    for what in ("packs", "bytes", "snapshots"):
        assert record[what] == foreseen[what] > 0
    assert to_copy.ok("-r", "usb", "snapshots", "--json").json


def test_one_that_fails_does_not_stop_the_others(to_copy: Snap, clean: Path) -> None:
    to_copy.ok("replicate", "--init", "-q")
    shutil.rmtree(clean / "usb")
    (clean / "usb").write_text("a file")
    result = to_copy("replicate", "--json")
    assert result.code == 3
    usb, office = result.summary["copies"]
    assert (usb["ok"], office["ok"]) == (False, True)
    assert usb["error"]
    assert '"message_type": "error"' in result.err


def test_a_copy_of_another_repository_is_left_alone(to_copy: Snap, clean: Path) -> None:
    to_copy.ok("init", "--kdf-seconds", "0", "-q", "-r", clean / "usb")
    result = to_copy("replicate", "usb")
    assert result.code == 1
    assert "holds another repository" in result.err
    assert not list((clean / "usb" / "snapshots").glob("*"))


def test_what_is_damaged_here_is_told_with_exit_code_4(to_copy: Snap, clean: Path) -> None:
    to_copy.ok("replicate", "--init", "-q")
    (clean / "folder/new").write_bytes(b"n" * 100_000)
    known = stored(clean, "data")
    to_copy.ok("backup", "folder", "-q")
    [new] = set(stored(clean, "data")) - set(known)
    flip_last_byte(new)
    result = to_copy("replicate", "--json", "usb")
    assert result.code == 4
    [record] = result.summary["copies"]
    assert [p["object"][-64:] for p in record["problems"]] == [new.name]
    assert len(record["held_back"]) == 1
    assert "was not copied" in result.err


def test_a_dry_run_says_what_would_be_copied(to_copy: Snap, clean: Path) -> None:
    to_copy.ok("init", "--copy-of", "./repo", "-r", "usb")
    result = to_copy.ok("replicate", "usb", "--dry-run")
    assert "dry run: nothing was copied" in result.out
    assert not (clean / "usb/data").exists()


def test_a_copy_that_is_ahead_is_told(to_copy: Snap, clean: Path) -> None:
    to_copy.ok("replicate", "--init", "-q")
    to_copy.ok("backup", "folder", "-q", "-r", clean / "usb")
    assert "1 snapshot that the repository does not have" in to_copy.ok("replicate", "usb").out


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


def test_progress_never_tells_of_more_than_all(to_copy: Snap) -> None:
    lines = to_copy.ok("replicate", "--init", "--json").lines[:-1]
    assert lines
    for line in lines:
        assert line["bytes_total"] is None or line["bytes_done"] <= line["bytes_total"]
