from pathlib import Path

import pytest

from .conftest import Snap


def test_quiet_and_verbose_are_taken_in_any_place(initialized: Snap, folder: Path) -> None:
    for arguments in (["-q", "backup", "folder"], ["backup", "-q", "folder"]):
        result = initialized.ok(*arguments)
        assert (result.out, result.err) == ("", "")


@pytest.mark.parametrize("tag", ["", "a,b", " a", "a "])
def test_a_tag_that_none_can_be_is_refused_before_anything_happens(snap: Snap, tag: str) -> None:
    for arguments in (["backup", "x", "--tag", tag], ["tag", "latest", "--add", tag]):
        result = snap(*arguments)
        assert result.code == 2
        assert "not a tag" in result.err


def test_global_options_stand_apart_in_the_help(snap: Snap) -> None:
    own, _, shared = snap.ok("backup", "--help").out.partition("Global options:")
    assert "--dry-run" in own
    assert "--repo" not in own
    assert "--repo" in shared


def test_both_password_options_are_a_usage_error_with_json_too(snap: Snap) -> None:
    result = snap("stats", "--password-file", "a", "--password-command", "b")
    assert result.code == 2
    assert "exclude each other" in result.err
