import ctypes
import errno
import os
from pathlib import Path

import pytest

from snap.sources.sync import sync_disk, sync_folder, write_durably


def test_only_the_disk_of_the_folder_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: everywhere.append(True))
    sync_disk(os.fsencode(tmp_path))
    assert everywhere == []


def test_without_the_call_all_disks_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: everywhere.append(True))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    sync_disk(os.fsencode(tmp_path))
    assert everywhere == [True]


def test_what_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_disk(os.fsencode(tmp_path / "gone"))


def test_a_folder_is_synced_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = names_that_are_synced(monkeypatch)
    sync_folder(tmp_path)
    assert synced == [str(tmp_path)]


def test_a_text_replaces_the_old_one_when_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note.json"
    path.write_text("old")
    synced = names_that_are_synced(monkeypatch)
    write_durably(path, "new")
    assert path.read_text() == "new"
    [text, folder] = synced
    assert text.startswith(f"{path}.")
    assert folder == str(tmp_path)


def test_a_text_that_cannot_be_written_leaves_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "note.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        write_durably(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def names_that_are_synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name that each thing has while it is synced."""
    real = os.fsync
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return synced
