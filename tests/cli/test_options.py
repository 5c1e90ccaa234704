from pathlib import Path
from typing import Any

import click
import pytest

from snap.backends.base import Backend
from snap.backends.location import open_backend
from snap.backends.throttle import Limits
from snap.cli.options import SnapCommand
from snap.cli.settings import Settings

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


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [("500", 500 << 10), ("1.5", 1536), ("500k", 500 << 10), ("20M", 20 << 20), ("1G", 1 << 30)],
)
def test_a_rate_is_kib_or_has_a_unit(snap: Snap, text: str, bytes_per_second: float) -> None:
    seen: list[Settings] = []

    @click.command(cls=SnapCommand)
    @click.pass_obj
    def command(settings: Settings) -> None:
        seen.append(settings)

    command.main(
        ["--limit-upload", text, "--limit-download", text], standalone_mode=False, obj=Settings()
    )
    assert seen[0].limits == Limits(bytes_per_second, bytes_per_second)


@pytest.mark.parametrize("text", ["", "0", "0.0001", "-5", "fast", "5T", "5MB", "1e9", "9" * 400])
def test_what_is_no_rate_is_refused_with_the_form(initialized: Snap, text: str) -> None:
    result = initialized("snapshots", "--limit-download", text)
    assert result.code == 2
    assert "--limit-download" in result.err
    assert "20M" in result.err


@pytest.mark.parametrize("name", ["init", "snapshots"])
def test_the_limits_reach_the_repository(
    initialized: Snap, monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Path
) -> None:
    seen: list[Limits | None] = []

    def opened(location: str, limits: Limits | None = None, **others: Any) -> Backend:
        seen.append(limits)
        return open_backend(location, limits, **others)

    monkeypatch.setattr("snap.cli.session.open_backend", opened)
    if name == "init":
        command = ["init", "-r", str(tmp_path / "other"), "--kdf-seconds", "0"]
    else:
        command = ["snapshots"]
    initialized.ok("--limit-upload", "2G", *command, "--limit-download", "1G")
    assert seen == [Limits(2 << 30, 1 << 30)]
