"""What a restore replaces is there again, whatever stops it while it moves into place."""

import os
import subprocess
from pathlib import Path

import pytest

from snap.errors import TargetError
from snap.repo.source import Attributes, NodeType
from snap.repo.target import TargetEntry
from snap.sources.folder import FolderTarget
from tests.tmpfs import small_disk

MINE = Attributes(mode=0o644, uid=os.getuid(), gid=os.getgid())


def stage(root: Path, *names: bytes) -> FolderTarget:
    target = FolderTarget(root, overwrite=True)
    for name in names:
        put(target, TargetEntry(tuple(name.split(b"/")), NodeType.FILE, MINE, 3))
    return target


def put(target: FolderTarget, file: TargetEntry) -> None:
    target.check_file(file)
    target.write_file(file, b"new")


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("stopped_at", range(6))
def test_an_interruption_at_any_rename_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"old")
    target = stage(tmp_path, b"a", b"b", b"c")
    real, calls = os.rename, 0

    def interrupted(source: bytes, final: bytes) -> None:
        nonlocal calls
        real(source, final)
        calls += 1
        if calls == stopped_at + 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            target.finish()
    target.abort()
    assert contents(tmp_path) == {"a": b"old", "b": b"old", "c": b"old"}


def test_a_folder_whose_owner_cannot_be_set_undoes_the_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    target = stage(tmp_path, b"a")
    target.make(TargetEntry((b"d",), NodeType.DIR, MINE))

    def failing(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "chmod", failing)
        with pytest.raises(TargetError, match="Input/output error"):
            target.finish()
    target.abort()
    assert contents(tmp_path) == {"a": b"old"}
    assert {path.name for path in tmp_path.iterdir()} == {"a"}


def test_what_cannot_even_be_put_back_is_kept_and_its_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    target = stage(tmp_path, b"a")
    real = os.rename

    def failing(source: bytes, final: bytes) -> None:
        if final.endswith(b"/a"):
            raise OSError(5, "Input/output error")
        real(source, final)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing)
        with pytest.raises(TargetError, match="could be put back") as caught:
            target.finish()
    target.abort()
    kept = Path(caught.value.hint.rpartition(" ")[2])
    assert contents(kept) == {"0": b"old"}


def test_a_busy_mount_point_is_not_replaced_and_the_rest_is_put_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_bytes(b"old")
    with small_disk(root / "b", 1 << 20) as disk:
        (disk / "inside").write_bytes(b"old")
        target = stage(root, b"a", b"b", b"c")
        with pytest.raises(TargetError, match="busy"):
            target.finish()
        target.abort()
        assert contents(root) == {"a": b"old", "b/inside": b"old"}


def test_a_folder_on_another_disk_is_told_and_the_rest_is_put_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_bytes(b"old")
    with small_disk(root / "b", 1 << 20) as disk:
        target = stage(root, b"a")
        target.make(TargetEntry((b"b",), NodeType.DIR, MINE))
        entry = TargetEntry((b"b", b"inside"), NodeType.FILE, MINE, 3)
        put(target, entry)
        with pytest.raises(TargetError) as caught:
            target.finish()
        assert "restore into that folder itself" in caught.value.hint
        target.abort()
        assert contents(root) == {"a": b"old"}
        assert list(disk.iterdir()) == []


def test_an_immutable_file_is_not_replaced_and_the_rest_is_put_back(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"old")
    done = subprocess.run(["chattr", "+i", tmp_path / "b"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"files cannot be made immutable here: {done.stderr.decode()}")
    try:
        target = stage(tmp_path, b"a", b"b")
        with pytest.raises(TargetError, match="not permitted"):
            target.finish()
        target.abort()
        assert contents(tmp_path) == {"a": b"old", "b": b"old"}
    finally:
        subprocess.run(["chattr", "-i", tmp_path / "b"], check=True)


def test_a_staging_folder_that_could_not_be_made_whole_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.mkdir

    def full(path: bytes, mode: int = 0o777) -> None:
        if os.fsencode(path).endswith(b"/new"):
            raise OSError(28, "No space left on device")
        real(path, mode)

    target = FolderTarget(tmp_path / "t")
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", full)
        with pytest.raises(TargetError, match="No space"):
            target.make(TargetEntry((b"d",), NodeType.DIR, MINE))
    target.abort()
    assert list(tmp_path.iterdir()) == []
