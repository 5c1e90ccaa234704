import json
from pathlib import Path

import pytest

from snap.cli.check import parse_share
from snap.errors import UsageError

from .conftest import Snap, flip_last_byte, stored

SUMMARY = {
    "message_type",
    "ok",
    "errors",
    "lost",
    "lost_count",
    "hints",
    "snapshots",
    "packs",
    "blobs",
    "bytes_read",
    "verified_oldest",
    "never_verified",
}


def test_a_whole_repository_is_said_to_be_whole(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, _, _ = two_snapshots
    result = snap.ok("check")
    assert result.out.splitlines()[-1] == "no problems found"
    summary = snap.ok("check", "--json").summary
    assert set(summary) == SUMMARY
    assert (summary["ok"], summary["errors"], summary["snapshots"]) == (True, [], 2)
    assert summary["bytes_read"] == 0


def test_reading_data_reads_all_packs(two_snapshots: tuple[Snap, str, str], clean: Path) -> None:
    snap, _, _ = two_snapshots
    summary = snap.ok("check", "--read-data", "--json").summary
    packs = stored(clean, "data") + stored(clean, "meta")
    assert summary["bytes_read"] == sum(p.stat().st_size for p in packs)
    assert summary["packs"] == len(packs)


def test_a_share_is_read(two_snapshots: tuple[Snap, str, str], clean: Path) -> None:
    snap, _, _ = two_snapshots
    summary = snap.ok("check", "--read-data-subset", "1%", "--json").summary
    sizes = [p.stat().st_size for p in stored(clean, "data") + stored(clean, "meta")]
    assert summary["bytes_read"] in sizes


def test_a_damaged_pack_is_named(two_snapshots: tuple[Snap, str, str], clean: Path) -> None:
    snap, _, _ = two_snapshots
    pack = stored(clean, "data")[0]
    flip_last_byte(pack)
    result = snap("check", "--read-data", "--json")
    assert result.code == 4
    assert result.summary["ok"] is False
    assert pack.name in json.dumps(result.summary["errors"])
    people = snap("check", "--read-data")
    assert people.code == 4
    assert pack.name in people.out
    assert people.out.splitlines()[-1].endswith("found")


def test_a_missing_pack_is_named_without_reading(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    snap, _, _ = two_snapshots
    pack = stored(clean, "data")[0]
    pack.unlink()
    result = snap("check", "--quiet")
    assert result.code == 4
    assert pack.name in result.out


def test_a_writer_key_checks_and_is_told_what_it_cannot_open(
    two_snapshots: tuple[Snap, str, str], clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snap, _, _ = two_snapshots
    (clean / "new").write_text("writer's password")
    snap.ok(
        "key", "add", "--capability", "writer", "--new-password-file", "new", "--kdf-seconds", "0"
    )
    monkeypatch.setenv("SNAP_PASSWORD", "writer's password")
    result = snap.ok("check", "--read-data")
    assert "note: with a writer key the data blobs could not be opened" in result.out


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("100%", 1.0), ("0.5%", 0.005)])
def test_a_share_is_a_percentage(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["", "10", "0%", "101%", "-5%", "x%", "nan%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a share"):
        parse_share(text)


def test_all_and_a_share_exclude_each_other(initialized: Snap) -> None:
    assert initialized("check", "--read-data", "--read-data-subset", "5%").code == 2
