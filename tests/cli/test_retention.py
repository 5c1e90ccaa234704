"""Policies of snap.toml, as ``snap forget`` uses them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from .conftest import Snap


def back_up(snap: Snap, count: int) -> list[str]:
    ids = []
    for n in range(count, 0, -1):
        time = (datetime.now(UTC) - timedelta(days=n - 0.9)).isoformat()
        ids.append(str(snap.ok("backup", "--json", "--time", time).summary["snapshot_id"]))
    return ids


@pytest.fixture
def configured(
    initialized: Snap, folder: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    (clean / "other").mkdir()
    (clean / "other/x").write_text("x")
    path = clean / "snap.toml"
    monkeypatch.setenv("SNAP_CONFIG", str(path))
    return path


SOURCES = """
[sources.a]
kind = "files"
path = "folder"
[sources.b]
kind = "files"
path = "other"
"""


def kept(snap: Snap, *arguments: str) -> list[str]:
    printed = snap.ok(*arguments, "forget", "--dry-run", "--json").json
    return [judged["id"] for judged in printed["keep"]]


def test_the_configured_policy_counts_and_a_sources_own_goes_before_it(
    initialized: Snap, configured: Path
) -> None:
    configured.write_text(
        "[retention]\nkeep_last = 1\n" + SOURCES + "[sources.b.retention]\nkeep_last = 3\n"
    )
    ids = back_up(initialized, 5)
    assert kept(initialized) == ids[-3:]
    told = initialized.ok("forget", "--dry-run", "--json").json
    assert told["keep"][0]["reasons"] == ["b: last snapshot"]


def test_a_copys_own_policy_counts_in_the_copy(initialized: Snap, configured: Path) -> None:
    configured.write_text(
        "[retention]\nkeep_last = 1\n"
        + SOURCES
        + '[copies.usb]\nlocation = "usb"\nmedia = "usb"\n[copies.usb.retention]\nkeep_last = 4\n'
    )
    ids = back_up(initialized, 5)
    initialized.ok("-r", "usb", "init", "--copy-of", "repo")
    initialized.ok("replicate")
    assert kept(initialized, "-r", "usb") == ids[-4:]
    initialized.ok("-r", "usb", "forget")
    assert [
        s["id"] for s in json.loads(initialized.ok("-r", "usb", "snapshots", "--json").raw)
    ] == (ids[-4:])
    assert len(initialized.ok("snapshots", "--json").json) == 5
    # What it let go does not come back, and is not asked of it.
    initialized.ok("replicate")
    assert [s["id"] for s in initialized.ok("-r", "usb", "snapshots", "--json").json] == ids[-4:]
    status = initialized("status", "--json").json
    assert [(c["name"], c["behind"]) for c in status["copies"]] == [("repository", 0), ("usb", 0)]
    newest = back_up(initialized, 1)
    assert initialized("status", "--json").json["copies"][1]["behind"] == 1
    initialized.ok("replicate")
    copied = [s["id"] for s in initialized.ok("-r", "usb", "snapshots", "--json").json]
    assert copied == [*ids[-4:], *newest]


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("daily = 1\nkeep_last = 2", 1, "mixes a calendar"),
        ("daily = 0\nweekly = 0\nmonthly = 0", 1, "keeps nothing"),
        ("keep_daily = 0", 1, "keeps nothing"),
        ("keep_within = '5 days'", 2, "not a length of time"),
        ("keep_dayly = 3", 2, "unknown key 'keep_dayly'"),
        ("daily = -1", 2, "is not a whole number"),
    ],
)
def test_what_is_wrong_with_a_policy_is_told_with_its_line(
    initialized: Snap, configured: Path, table: str, line: int, message: str
) -> None:
    configured.write_text(f"[retention]\n{table}\n{SOURCES}")
    result = initialized("config", "check")
    assert result.code == 2
    assert f"{configured}:{line}:" in result.err + result.out
    assert message in result.err + result.out
