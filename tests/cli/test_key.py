from pathlib import Path
from typing import Any

import pytest

from .conftest import PASSWORD, Snap


@pytest.fixture
def with_writer(initialized: Snap, clean: Path) -> Snap:
    (clean / "writer").write_text("writer's password\n")
    initialized.ok(
        "key",
        "add",
        "--capability",
        "writer",
        "--label",
        "night",
        "--new-password-file",
        "writer",
        "--kdf-seconds",
        "0",
    )
    return initialized


def _keys(snap: Snap) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = snap.ok("key", "list", "--json").json
    return keys


def test_a_new_repository_has_a_password_and_a_recovery_key(initialized: Snap) -> None:
    keys = _keys(initialized)
    assert {k["kind"] for k in keys} == {"passphrase", "recovery"}
    assert all(k["capability"] == "full" for k in keys)
    assert [k["kind"] for k in keys if k["current"]] == ["passphrase"]
    lines = initialized.ok("key", "list").out.splitlines()
    assert lines[0].split() == ["id", "kind", "capability", "label", "created"]
    assert sum(line.startswith("*") for line in lines) == 1


def test_a_writer_key_lists_and_cannot_restore(
    with_writer: Snap, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_writer.ok("backup", "folder")
    monkeypatch.setenv("SNAP_PASSWORD", "writer's password")
    current = next(k for k in _keys(with_writer) if k["current"])
    assert (current["capability"], current["label"]) == ("writer", "night")
    with_writer.ok("ls", "latest")
    with_writer.ok("diff", "latest", "latest")
    result = with_writer("restore", "latest", "--target", "out")
    assert result.code == 1
    assert "a writer key cannot restore" in result.err


def test_a_writer_key_cannot_make_a_full_one(
    with_writer: Snap, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAP_PASSWORD", "writer's password")
    (clean / "new").write_text("another")
    before = _keys(with_writer)
    arguments = ["--new-password-file", "new", "--kdf-seconds", "0"]
    for extra in (["--capability", "full", *arguments], ["--recovery"]):
        result = with_writer("key", "add", *extra)
        assert result.code == 1
        assert "Traceback" not in result.err
    assert _keys(with_writer) == before
    with_writer.ok("key", "add", "--capability", "writer", *arguments)


def test_another_full_key_opens_the_repository(
    initialized: Snap, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean / "new").write_text("another")
    out = initialized.ok(
        "key", "add", "--new-password-file", "new", "--label", "boss", "--kdf-seconds", "0"
    ).out
    assert out.startswith("added full key ")
    assert out.endswith(" (boss)\n")
    monkeypatch.setenv("SNAP_PASSWORD", "another")
    assert [k["label"] for k in _keys(initialized) if k["current"]] == ["boss"]


def test_another_recovery_key_is_printed_and_opens(
    initialized: Snap, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = initialized.ok("key", "add", "--recovery", "--json").json
    assert record["kind"] == "recovery"
    text = initialized.ok("key", "add", "--recovery", "--label", "safe").out
    assert "It is not shown again." in text
    monkeypatch.setenv("SNAP_PASSWORD", record["recovery_key"])
    assert [k["id"] for k in _keys(initialized) if k["current"]] == [record["id"]]


def test_a_recovery_key_takes_no_password_and_is_never_a_writer(initialized: Snap) -> None:
    for extra in (["--capability", "writer"], ["--new-password-file", "x"]):
        assert initialized("key", "add", "--recovery", *extra).code == 2


def test_a_removed_key_opens_nothing(with_writer: Snap, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = next(k for k in _keys(with_writer) if k["capability"] == "writer")
    out = with_writer.ok("key", "remove", writer["id"][:8]).out
    assert out == f"removed writer key {writer['id'][:8]} (night)\n"
    monkeypatch.setenv("SNAP_PASSWORD", "writer's password")
    assert with_writer("snapshots").code == 12


def test_the_last_full_key_stays(initialized: Snap) -> None:
    first, second = _keys(initialized)
    initialized.ok("key", "remove", next(k["id"] for k in (first, second) if not k["current"]))
    result = initialized("key", "remove", next(k["id"] for k in (first, second) if k["current"]))
    assert result.code == 2
    assert "the last full key" in result.err
    assert len(_keys(initialized)) == 1


def test_a_key_that_is_not_there_cannot_be_removed(initialized: Snap) -> None:
    result = initialized("key", "remove", "zz")
    assert result.code == 2
    assert "no key slot begins with 'zz'" in result.err


def test_a_changed_password_replaces_the_old_one(
    initialized: Snap, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean / "new").write_text("changed")
    initialized.ok("key", "passwd", "--new-password-file", "new", "--kdf-seconds", "0")
    assert initialized("snapshots").code == 12
    monkeypatch.setenv("SNAP_PASSWORD", "changed")
    assert len(_keys(initialized)) == 2


def test_a_refused_new_password_leaves_the_old_one(initialized: Snap, clean: Path) -> None:
    (clean / "new").write_text("")
    result = initialized("key", "passwd", "--new-password-file", "new")
    assert result.code == 2
    assert "empty" in result.err
    assert PASSWORD not in result.err
    initialized.ok("snapshots")


def test_an_unknown_capability_is_refused(initialized: Snap) -> None:
    assert initialized("key", "add", "--capability", "reader").code == 2
