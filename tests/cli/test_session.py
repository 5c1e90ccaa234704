import json
import re
from pathlib import Path

import pytest

from snap.backends.pause import PROCESS_PAUSES
from snap.cli.session import filter_snapshots, split_selector
from snap.errors import UsageError
from snap.repo.snapshot import Snapshot
from tests.servers.services import free_port

from .conftest import Snap, flip_last_byte


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", ("latest", "")),
        ("latest:", ("latest", "")),
        ("latest:/", ("latest", "")),
        ("latest:/folder/", ("latest", "folder")),
        ("1a2b:events.db", ("1a2b", "events.db")),
        ("1a2b:dir/a:b", ("1a2b", "dir/a:b")),
        ("@2026-11-01", ("@2026-11-01", "")),
        ("@2026-11-01:c/p", ("@2026-11-01", "c/p")),
        ("@2026-11-01T02:00", ("@2026-11-01T02:00", "")),
        ("@2026-11-01T02:00:c", ("@2026-11-01T02:00", "c")),
        ("@2026-11-01T02:00:30.5+01:00:c", ("@2026-11-01T02:00:30.5+01:00", "c")),
        ("@2026-11-01T02:00Z:c", ("@2026-11-01T02:00Z", "c")),
        ("@nonsense:c", ("@nonsense", "c")),
        ("1a:line\nbreak", ("1a", "line\nbreak")),
    ],
)
def test_a_selector_is_parted_from_what_is_in_the_snapshot(
    text: str, expected: tuple[str, str]
) -> None:
    assert split_selector(text) == expected


@pytest.mark.parametrize("text", ["", ":path"])
def test_a_selector_must_name_a_snapshot(text: str) -> None:
    with pytest.raises(UsageError, match="no snapshot in"):
        split_selector(text)


def test_filters_must_all_fit() -> None:
    def made(service: str, host: str, *tags: str) -> Snapshot:
        return Snapshot(0, service, host, "", "", "success", (), tags=tags)

    a, b, c = made("s", "h", "x", "y"), made("s", "h", "x"), made("t", "g")
    everything = [a, b, c]
    assert filter_snapshots(everything, service=None, host=None, tags=()) == everything
    assert filter_snapshots(everything, service="s", host=None, tags=()) == [a, b]
    assert filter_snapshots(everything, service=None, host="g", tags=()) == [c]
    assert filter_snapshots(everything, service=None, host=None, tags=("x", "y")) == [a]
    assert filter_snapshots(everything, service="t", host="h", tags=()) == []


def test_a_damaged_snapshot_is_warned_of_and_the_others_are_used(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    snap, _, second = two_snapshots
    flip_last_byte(clean / "repo" / "snapshots" / second)
    result = snap.ok("ls", "latest")
    assert f"snap: warning: snapshots/{second}: damaged" in result.err
    assert "folder/sub/b.bin" in result.out.splitlines()


def test_the_cache_is_kept_where_it_is_said(initialized: Snap, clean: Path) -> None:
    initialized.ok("snapshots")
    assert list((clean / "home" / ".cache" / "snap").glob("*.sqlite"))
    initialized.ok("snapshots", "--cache-dir", "elsewhere")
    assert list((clean / "elsewhere").glob("*.sqlite"))


def test_without_a_cache_nothing_is_left_behind(initialized: Snap, clean: Path) -> None:
    initialized.ok("snapshots", "--no-cache", "--cache-dir", "elsewhere")
    assert not (clean / "elsewhere").exists()
    assert not (clean / "home").exists()


def test_a_damaged_cache_is_said_and_costs_nothing(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    snap, _, _ = two_snapshots
    cache = next((clean / "home" / ".cache" / "snap").glob("*.sqlite"))
    for extra in cache.parent.glob(f"{cache.name}-*"):
        extra.unlink()
    cache.write_bytes(b"this is no database" * 1000)
    result = snap.ok("ls", "latest")
    assert "snap: warning: the local cache" in result.err
    assert "folder/new.txt" in result.out.splitlines()
    assert snap.ok("ls", "latest").err == ""


def test_an_unknown_kind_of_place_is_a_usage_error(snap: Snap) -> None:
    result = snap("snapshots", "--repo", "ftp://host/x")
    assert result.code == 2


def test_a_store_that_does_not_answer_is_told_of_while_it_is_tried_again(
    snap: Snap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROCESS_PAUSES, "_sleep", lambda _: None)
    place = f"sftp://127.0.0.1:{free_port()}/repository"
    result = snap("snapshots", "-r", place)
    assert result.code == 1
    assert re.search(r"^snap: warning: .*refused; trying again$", result.err, re.MULTILINE)
    assert result.err.count("trying again") == 1
    assert "trying again" not in snap("snapshots", "-r", place, "-q").err
    warning, error = map(json.loads, snap("snapshots", "-r", place, "--json").err.splitlines())
    assert (warning["message_type"], error["message_type"]) == ("warning", "error")


def test_the_latest_of_a_component_is_the_last_snapshot_that_has_it(
    initialized: Snap, database: Path, clean: Path
) -> None:
    (clean / "notes").write_text("n")
    initialized.ok("backup", "sqlite:events.db", "notes")
    database.write_bytes(b"SQLite format 3\0 and nothing of one")
    assert initialized("backup", "sqlite:events.db", "notes").code == 3
    assert initialized("restore", "latest", "--target", "all").code == 3
    result = initialized.ok("restore", "latest:events.db", "--target", "out")
    assert "the last one: " in result.err
    assert "is the last that has it" in result.err
    assert (clean / "out/events.db/events.db").exists()
    assert "is the last that has it" not in initialized.ok("ls", "latest:notes").err


def test_a_repository_that_lost_its_config_is_not_called_none(
    two_snapshots: tuple[Snap, str, str], clean: Path
) -> None:
    snap, _, _ = two_snapshots
    (clean / "repo/config").unlink()
    for command in ("snapshots", "status", "check"):
        result = snap(command)
        assert result.code == 10
        assert "holds the remains of a repository" in result.err
        assert "snap repair --from COPY" in result.err
        assert "snap init" not in result.err


def test_latest_from_the_future_is_pointed_out(initialized: Snap, folder: Path) -> None:
    ahead = initialized.ok("backup", "folder", "--json", "--time", "2222-02-02").summary
    words = f"snapshot {ahead['snapshot_id'][:8]} says it is of 2222-02-02"
    assert words in initialized.ok("ls", "latest").err
    assert words not in initialized.ok("ls", ahead["snapshot_id"]).err
    initialized.ok("forget", ahead["snapshot_id"], "--allow-last", "-q")
    initialized.ok("backup", "folder", "-q")
    assert initialized.ok("ls", "latest").err == ""
