import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from snap.backends.base import (
    BackendError,
    BackendUnavailable,
    ObjectNotFound,
    PermissionDenied,
    StorageFull,
)
from snap.backends.local import LocalBackend, translate
from snap.errors import UsageError
from tests.tmpfs import small_disk

NOBODY = 65534


def files_below(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_an_object_is_a_file_of_its_name_that_only_the_owner_reads(tmp_path: Path) -> None:
    LocalBackend(tmp_path / "r").put("data/ab/c", b"x")
    path = tmp_path / "r" / "data" / "ab" / "c"
    assert path.read_bytes() == b"x"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EACCES, PermissionDenied),
        (errno.EROFS, PermissionDenied),
        (errno.ENOENT, ObjectNotFound),
        (errno.EISDIR, ObjectNotFound),
        (errno.EIO, BackendUnavailable),
        (errno.ESTALE, BackendUnavailable),
        (errno.ENAMETOOLONG, BackendError),
    ],
)
def test_every_error_of_the_system_becomes_one_of_ours(
    code: int, expected: type[BackendError]
) -> None:
    error = translate(OSError(code, os.strerror(code)), "data/x", "/repo")
    assert type(error) is expected
    assert "data/x" in str(error)


def test_a_full_disk_leaves_the_old_object_and_no_remains(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        store = LocalBackend(disk / "r")
        store.put("a", b"old")
        with pytest.raises(StorageFull) as caught:
            store.put("a", bytes(2 << 20))
        assert "free some space" in caught.value.hint
        assert store.get("a") == b"old"
        assert files_below(disk / "r") == ["a"]
        store.put("b", b"fits")


def test_a_put_that_was_killed_leaves_only_a_temporary_file(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from snap.backends import local\n"
        "os.fsync = lambda fd: os.kill(os.getpid(), 9)\n"
        "local.LocalBackend(Path(sys.argv[1])).put('a', b'x' * 1000)\n"
    )
    store = LocalBackend(tmp_path)
    store.put("first", b"1")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert [s.name for s in store.list("")] == ["first"]
    with pytest.raises(ObjectNotFound):
        store.get("a")


def test_temporary_files_of_dead_puts_are_removed_after_a_day(tmp_path: Path) -> None:
    store = LocalBackend(tmp_path)
    store.put("a", b"1")
    for name, age in (("old", 25 * 3600), ("young", 3600)):
        path = tmp_path / "tmp" / name
        path.write_bytes(b"left")
        times = path.stat().st_mtime - age
        os.utime(path, (times, times))
    LocalBackend(tmp_path).put("b", b"2")
    assert files_below(tmp_path) == ["a", "b", "tmp/young"]


def test_files_that_are_not_objects_are_not_listed(tmp_path: Path) -> None:
    store = LocalBackend(tmp_path)
    store.put("data/a", b"1")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "data" / "with space").write_bytes(b"x")
    (tmp_path / "data" / "link").symlink_to("/etc/passwd")
    assert [s.name for s in store.list("")] == ["data/a"]


def test_a_file_where_the_folder_should_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="not a folder"):
        LocalBackend(tmp_path / "file")


def test_a_missing_folder_is_an_empty_store(tmp_path: Path) -> None:
    store = LocalBackend(tmp_path / "none")
    assert list(store.list("")) == []
    with pytest.raises(ObjectNotFound):
        store.get("config")
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_folder_without_permission_is_told_as_such(open_path: Path) -> None:
    LocalBackend(open_path / "r").put("a", b"x")
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from snap.backends.base import PermissionDenied\n"
        "from snap.backends.local import LocalBackend\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "store = LocalBackend(Path(sys.argv[1]))\n"
        "for call in (lambda: store.get('a'), lambda: store.put('b', b'x'),\n"
        "             lambda: list(store.list('')), lambda: store.delete('a')):\n"
        "    try:\n"
        "        call()\n"
        "    except PermissionDenied as error:\n"
        "        assert 'ermission' in str(error) and error.hint\n"
        "    else:\n"
        "        raise SystemExit('was allowed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(open_path / "r")], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
