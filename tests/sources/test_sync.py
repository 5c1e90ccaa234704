import ctypes
import os
from pathlib import Path

import pytest

from snap.sources.sync import sync_disk


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
