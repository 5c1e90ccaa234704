"""Where names lead, and what in a repository's folder is none of ours."""

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from snap.backends.base import BackendError, BackendUnavailable, ShortRead
from snap.backends.local import LocalBackend
from snap.errors import UsageError

NOBODY = 65534
AS_NOBODY = f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


def test_names_of_temporary_files_cannot_be_used(tmp_path: Path) -> None:
    store = LocalBackend(tmp_path)
    for call in (
        lambda: store.put("tmp/a", b"x"),
        lambda: store.put("tmp", b"x"),
        lambda: store.get("tmp/a"),
        lambda: store.delete("tmp/a"),
    ):
        with pytest.raises(UsageError, match="temporary"):
            call()
    store.put("tmp2/a", b"x")
    (tmp_path / "tmp" / "abc").write_bytes(b"left")
    assert list(store.list("tmp/")) == []
    assert [stat.name for stat in store.list("")] == ["tmp2/a"]


def test_what_is_in_the_place_of_an_object_or_folder_is_told_as_such(tmp_path: Path) -> None:
    store = LocalBackend(tmp_path)
    (tmp_path / "data").write_bytes(b"a file")
    store.put("d/a", b"x")
    for name in ("data/a", "data/b/c", "d"):
        with pytest.raises(BackendError, match=f"{name} cannot be stored") as caught:
            store.put(name, b"x")
        assert type(caught.value) is BackendError
    assert list((tmp_path / "tmp").iterdir()) == []
    assert store.get("d/a") == b"x"


def test_a_folder_below_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UsageError, match="not a folder"):
        LocalBackend(tmp_path / "file" / "r")


def test_links_that_lead_in_circles_are_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "r").symlink_to("r")
    with pytest.raises(BackendError, match="symbolic links"):
        LocalBackend(tmp_path / "r")


def test_a_repository_may_lie_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "r").symlink_to("disk")
    LocalBackend(tmp_path / "r").put("d/a", b"x")
    assert (tmp_path / "disk" / "d" / "a").read_bytes() == b"x"
    assert [stat.name for stat in LocalBackend(tmp_path / "r").list("")] == ["d/a"]


@needs_root
def test_a_foreign_folder_that_cannot_be_read_does_not_stop_a_listing(open_path: Path) -> None:
    """A repository at the top of a disk has a ``lost+found`` that only root may read."""
    root = open_path / "r"
    LocalBackend(root).put("d/a", b"x")
    (root / "lost+found").mkdir(mode=0o700)
    for path in (root, root / "d", root / "d" / "a"):
        os.chown(path, NOBODY, NOBODY)
    script = (
        "import sys; from pathlib import Path; from snap.backends.local import LocalBackend\n"
        f"{AS_NOBODY}"
        "print([stat.name for stat in LocalBackend(Path(sys.argv[1])).list('')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("['d/a']\n", "")


@needs_root
def test_a_repository_below_a_closed_folder_is_denied_not_missing(open_path: Path) -> None:
    (open_path / "closed").mkdir(mode=0o700)
    script = (
        "import sys; from pathlib import Path\n"
        "from snap.backends.base import PermissionDenied\n"
        "from snap.backends.local import LocalBackend\n"
        f"{AS_NOBODY}"
        "try:\n"
        "    LocalBackend(Path(sys.argv[1]))\n"
        "except PermissionDenied as error:\n"
        "    print(error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(open_path / "closed" / "r")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("check the owner and mode of the folder\n", "")


def test_special_files_are_no_objects(tmp_path: Path) -> None:
    store = LocalBackend(tmp_path)
    store.put("a", b"x")
    os.mkfifo(tmp_path / "pipe")
    assert [stat.name for stat in store.list("")] == ["a"]


def test_an_object_that_shrinks_while_it_is_read_is_a_short_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBackend(tmp_path)
    store.put("a", bytes(1000))
    real = os.pread

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        # A kernel may give less than asked at any time; the rest is gone by then.
        data = real(descriptor, min(length, 400), offset)
        os.truncate(tmp_path / "a", 400)
        return data

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(ShortRead, match="became shorter"):
        store.get("a")


def test_parts_that_the_kernel_gives_one_by_one_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBackend(tmp_path)
    store.put("a", bytes(range(256)))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: real(fd, min(length, 100), offset))
    assert store.get("a") == bytes(range(256))
    assert store.get("a", 10, 150) == bytes(range(10, 160))


def test_a_disk_that_cannot_be_listed_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBackend(tmp_path)
    store.put("a", b"x")

    def scandir(_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(BackendUnavailable):
        list(store.list(""))


class UnreadableEntry:
    """What a directory entry is on a disk that fails when the entry is looked at."""

    name = "a"

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_an_object_whose_inode_cannot_be_read_is_not_left_out_of_a_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBackend(tmp_path)
    monkeypatch.setattr(os, "scandir", lambda _: contextlib.nullcontext(iter([UnreadableEntry()])))
    with pytest.raises(BackendUnavailable, match=r": a: "):
        list(store.list(""))
