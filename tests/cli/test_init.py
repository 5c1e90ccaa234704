from pathlib import Path

import pytest

from snap.backends.local import LocalBackend
from tests.backends.unfaithful import LetsBothWin, ReadsElsewhere

from .conftest import PASSWORD, Snap


def test_init_prints_id_and_recovery_key_with_what_to_do(snap: Snap, clean: Path) -> None:
    result = snap.ok("init", "--kdf-seconds", "0")
    first = result.out.splitlines()[0]
    assert first.startswith("created repository ")
    assert first.endswith(f" at {clean / 'repo'}")
    assert result.out.count("recovery key: ") == 1
    assert "It is not shown again." in result.out


def test_init_says_the_same_in_json(snap: Snap, clean: Path) -> None:
    record = snap.ok("init", "--kdf-seconds", "0", "--json").json
    assert record["message_type"] == "initialized"
    assert len(record["repository_id"]) == len(record["instance_id"]) == 32
    assert record["location"] == str(clean / "repo")
    assert set(record) == {
        "message_type",
        "repository_id",
        "instance_id",
        "location",
        "recovery_key",
    }


def test_the_recovery_key_opens_the_repository(snap: Snap, monkeypatch: pytest.MonkeyPatch) -> None:
    key = snap.ok("init", "--kdf-seconds", "0", "--json").json["recovery_key"]
    monkeypatch.setenv("SNAP_PASSWORD", key)
    slots = snap.ok("key", "list", "--json").json
    assert [s["kind"] for s in slots if s["current"]] == ["recovery"]


def test_the_recovery_key_is_shown_even_when_quiet(snap: Snap) -> None:
    assert "recovery key: " in snap.ok("init", "--kdf-seconds", "0", "-q").out


def test_a_second_init_is_refused_and_changes_nothing(initialized: Snap, clean: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in (clean / "repo").rglob("*") if p.is_file()}

    before = content()
    result = initialized("init", "--kdf-seconds", "0")
    assert result.code == 2
    assert "there is a repository already at" in result.err
    assert content() == before


def test_an_empty_password_is_refused(
    snap: Snap, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", "")
    result = snap("init")
    assert result.code == 2
    assert "the password from SNAP_PASSWORD is empty" in result.err
    assert not (clean / "repo" / "config").exists()


def test_without_password_and_terminal_there_is_no_repository(
    snap: Snap, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SNAP_PASSWORD")
    result = snap("init")
    assert result.code == 2
    assert "there is no terminal to ask at" in result.err
    assert not (clean / "repo" / "config").exists()


def test_the_first_key_is_named_as_asked(snap: Snap) -> None:
    snap.ok("init", "--kdf-seconds", "0", "--label", "night shift")
    labels = {s["label"] for s in snap.ok("key", "list", "--json").json}
    assert labels == {"night shift", "recovery key"}


def test_a_longer_unlocking_time_costs_more(snap: Snap) -> None:
    snap.ok("init", "--kdf-seconds", "0.05")
    assert snap.ok("snapshots", "--json").json == []


@pytest.mark.parametrize("seconds", ["-1", "61", "x", "nan", "inf"])
def test_an_unlocking_time_out_of_range_is_refused(snap: Snap, seconds: str) -> None:
    assert snap("init", "--kdf-seconds", seconds).code == 2


def test_a_place_that_cannot_be_written_is_named(snap: Snap, clean: Path) -> None:
    (clean / "file").write_text("")
    result = snap("init", "--kdf-seconds", "0", "--repo", clean / "file" / "repo")
    assert result.code == 2
    assert str(clean / "file") in result.err
    assert "Traceback" not in result.err


def test_the_password_is_nowhere_in_the_repository(initialized: Snap, clean: Path) -> None:
    files = [p for p in (clean / "repo").rglob("*") if p.is_file()]
    assert files
    assert not any(PASSWORD.encode() in p.read_bytes() for p in files)


def test_a_store_that_breaks_a_promise_is_refused_or_warned_of(
    snap: Snap, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "snap.backends.location.LocalBackend", lambda root: ReadsElsewhere(LocalBackend(root))
    )
    refused = snap("init", "--kdf-seconds", "0")
    assert refused.code == 1
    assert "cannot hold a repository: parts of objects are read" in refused.err
    assert [p for p in (clean / "repo").rglob("*") if p.is_file()] == []
    monkeypatch.setattr(
        "snap.backends.location.LocalBackend", lambda root: LetsBothWin(LocalBackend(root))
    )
    warned = snap.ok("init", "--kdf-seconds", "0")
    assert "warning: this store breaks a promise: of two that create" in warned.err
