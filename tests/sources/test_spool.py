import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.spool import new_spool, spool_folder


def test_a_spool_folder_is_ours_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with spool_folder(tmp_path / "spools", 10, Path("x")) as spool:
        assert spool.parent == tmp_path / "spools"
        assert spool.stat().st_mode & 0o777 == 0o700
        (spool / "a").mkdir()
    assert list((tmp_path / "spools").iterdir()) == []


def test_what_dead_processes_left_is_removed_and_what_others_use_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    (tmp_path / f"snap-spool-{dead.pid}-aa").mkdir()
    (tmp_path / f"snap-spool-{dead.pid}-bb").write_bytes(b"x")
    mine = tmp_path / f"snap-spool-{os.getpid()}-cc"
    other = tmp_path / "something"
    mine.mkdir()
    other.mkdir()
    new_spool(tmp_path, 1, Path("x"))
    assert sorted(tmp_path.iterdir()) == sorted([mine, other])


def test_no_room_is_said_before_anything_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is free on a real disk may become more between one look and the next.
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SourceError, match="no room to copy /some/db") as caught:
        new_spool(tmp_path, usage.free + 1, Path("/some/db"))
    assert "--cache-dir" in caught.value.hint


def test_a_place_that_is_no_folder_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="cannot make a copy"):
        new_spool(tmp_path / "file", 1, Path("x"))
