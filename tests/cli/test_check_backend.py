from pathlib import Path

import pytest

from snap.backends.local import LocalBackend
from tests.backends.unfaithful import LetsBothWin, ReadsElsewhere

from .conftest import Snap


def test_the_store_itself_can_be_tried(initialized: Snap, clean: Path) -> None:
    before = {p for p in (clean / "repo").rglob("*") if p.is_file()}
    shown = initialized.ok("check", "--backend").out
    assert "of two that create one object, one wins" in shown
    assert "does all that a repository needs" in shown
    summary = initialized.ok("check", "--backend", "--json").json
    assert summary["ok"] is True
    assert abs(summary["clock_skew_seconds"]) < 60
    kept = {p["name"]: (p["level"], p["kept"]) for p in summary["promises"]}
    assert kept["objects are stored and read"] == ("essential", True)
    assert kept["objects can be protected from deletion"] == ("optional", False)
    assert {p for p in (clean / "repo").rglob("*") if p.is_file()} == before


def test_what_init_found_is_recorded_and_told_beside_what_is_found_now(
    initialized: Snap, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = initialized.ok("check", "--backend", "--json").json
    lacks = [p["code"] for p in now["promises"] if not p["kept"]]
    assert now["recorded"]["lacks"] == lacks == ["object-lock"]
    assert "it lacked object-lock, as now" in initialized.ok("check", "--backend").out

    monkeypatch.setattr(
        "snap.backends.location.LocalBackend", lambda root: LetsBothWin(LocalBackend(root))
    )
    shown = initialized.ok("check", "--backend").out
    assert "which has changed" in shown
    assert "2 of 2 won" in shown
    monkeypatch.setattr("snap.repo.config._SETTLED_SECONDS", 0.01)
    other = str(clean / "other")
    assert (
        "looks again after some seconds"
        in initialized("init", "--kdf-seconds", "0", "-r", other).err
    )
    found = initialized.ok("check", "--backend", "--json", "-r", other).json
    assert found["recorded"]["lacks"] == ["exclusive-create", "object-lock"]


def test_a_store_that_breaks_a_promise_is_told_in_a_table_and_by_the_exit_code(
    initialized: Snap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "snap.backends.location.LocalBackend", lambda root: ReadsElsewhere(LocalBackend(root))
    )
    result = initialized("check", "--backend")
    assert result.code == 4
    assert "another part came" in result.out
    assert "cannot hold a repository safely" in result.out
    assert initialized("check", "--backend", "--json").json["ok"] is False


def test_trying_the_store_needs_a_repository_and_excludes_reading(snap: Snap, clean: Path) -> None:
    assert snap("check", "--backend").code == 10
    assert snap("check", "--backend", "--read-data").code == 2
