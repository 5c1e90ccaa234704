"""The contract on real servers, and what is particular to SFTP."""

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snap.backends.base import (
    Backend,
    BackendError,
    ObjectNotFound,
    PermissionDenied,
    RetentionUnsupported,
)
from snap.backends.location import open_backend
from snap.backends.sftp import SftpBackend
from snap.backends.sftp_place import SftpPlace
from snap.errors import UsageError
from tests.servers.sshd import ALIAS, Sshd, running_sshd

from .contract import BackendContract


def opened(
    server: Sshd, place: str = "", timeout_seconds: float = 60, config: Path | None = None
) -> SftpBackend:
    path = place if place.startswith("/") else f"{server.root}/{place or secrets.token_hex(4)}"
    return SftpBackend(
        SftpPlace(ALIAS, path),
        timeout_seconds=timeout_seconds,
        ssh_config=config or server.config,
    )


@pytest.fixture
def store(sshd: Sshd) -> Iterator[SftpBackend]:
    backend = opened(sshd)
    yield backend
    backend.close()


def folder_of(store: SftpBackend) -> Path:
    return Path(store.location.removeprefix(f"sftp://{ALIAS}"))


class TestSftp(BackendContract):
    @pytest.fixture
    def backend(self, sshd: Sshd) -> Iterator[Backend]:
        backend = opened(sshd, f"{secrets.token_hex(4)}/new/store")
        yield backend
        backend.close()


@pytest.fixture(scope="module")
def old_sshd() -> Iterator[Sshd]:
    denied = "hardlink,posix-rename,fsync,limits,statvfs"
    with running_sshd(f"Subsystem sftp internal-sftp -P {denied}") as server:
        yield server


class TestSftpOfAnOldServer(BackendContract):
    """No links, no renaming over what is there, no fsync, no word on how large a block may be."""

    @pytest.fixture
    def backend(self, old_sshd: Sshd) -> Iterator[Backend]:
        backend = opened(old_sshd)
        yield backend
        backend.close()


class TestSftpByLocation(BackendContract):
    """As people open it: with their own ~/.ssh, and the wrappers."""

    @pytest.fixture
    def backend(self, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
        monkeypatch.setenv("HOME", str(sshd.home))
        backend = open_backend(sshd.url(secrets.token_hex(4)))
        yield backend
        backend.close()


def test_a_path_from_the_home_folder(sshd: Sshd) -> None:
    name = f"snap-test-{secrets.token_hex(8)}"
    store = SftpBackend(SftpPlace(ALIAS, f"{name}/x"), ssh_config=sshd.config)
    home = Path(f"~{sshd.user}").expanduser()
    try:
        store.put("a/b", b"x")
        assert (home / name / "x/a/b").read_bytes() == b"x"
        assert [stat.name for stat in store.list("")] == ["a/b"]
    finally:
        store.close()
        shutil.rmtree(home / name, ignore_errors=True)


def test_files_and_folders_are_the_owners_alone(store: SftpBackend) -> None:
    store.put("d/a", b"x")
    root = folder_of(store)
    assert (root / "d/a").stat().st_mode & 0o777 == 0o600
    assert {p.stat().st_mode & 0o777 for p in (root, root / "d", root / "tmp")} == {0o700}


def test_what_is_not_ours_is_not_listed(store: SftpBackend, tmp_path: Path) -> None:
    store.put("d/a", b"x")
    root = folder_of(store)
    (root / "d/.hidden").write_bytes(b"x")
    (root / "d/with space").write_bytes(b"x")
    (root / "tmp/begun").write_bytes(b"x")
    (root / "d/link").symlink_to(root / "d/a")
    (root / "elsewhere").symlink_to(tmp_path)
    (tmp_path / "b").write_bytes(b"x")
    os.mkfifo(root / "d/pipe")
    (root / os.fsdecode(b"\xff")).write_bytes(b"x")
    assert [stat.name for stat in store.list("")] == ["d/a"]


def test_a_root_that_was_there_and_is_gone_is_never_made_anew(store: SftpBackend) -> None:
    store.put("d/a", b"x")
    root = folder_of(store)
    unmounted = root.rename(root.with_name(f"{root.name}-unmounted"))
    calls: list[Callable[[], object]] = [
        lambda: store.put("d/b", b"x"),
        lambda: list(store.list("d/")),
    ]
    for call in calls:
        with pytest.raises(BackendError, match="gone") as caught:
            call()
        assert caught.value.hint
    assert not root.exists()
    unmounted.rename(root)
    store.put("d/b", b"x")
    assert store.get("d/b") == b"x"


def test_a_root_that_another_made_is_never_made_anew_either(store: SftpBackend) -> None:
    with pytest.raises(ObjectNotFound):
        store.get("config")
    root = folder_of(store)
    root.mkdir()
    store.put("d/a", b"x")
    root.rename(root.with_name(f"{root.name}-unmounted"))
    with pytest.raises(BackendError, match="gone"):
        store.put("d/b", b"x")
    assert not root.exists()


def test_a_folder_below_the_root_that_is_gone_is_made_again(store: SftpBackend) -> None:
    store.put("d/a", b"x")
    shutil.rmtree(folder_of(store) / "d")
    shutil.rmtree(folder_of(store) / "tmp")
    store.put("d/a", b"y")
    assert store.get("d/a") == b"y"


def test_a_root_that_is_a_file_is_a_usage_error(sshd: Sshd) -> None:
    name = secrets.token_hex(4)
    (sshd.root / name).write_bytes(b"x")
    store = opened(sshd, name)
    with pytest.raises(UsageError, match="not a folder"):
        store.get("a")
    store.close()


def test_what_a_put_that_died_left_is_swept_after_a_day(sshd: Sshd) -> None:
    name = secrets.token_hex(4)
    temporary = sshd.root / name / "tmp"
    temporary.mkdir(parents=True)
    for age_hours in (0, 23, 25, 1000):
        path = temporary / f"{age_hours}"
        path.write_bytes(b"part")
        then = time.time() - age_hours * 3600
        os.utime(path, (then, then))
    store = opened(sshd, name)
    store.put("a", b"x")
    store.close()
    assert sorted(path.name for path in temporary.iterdir()) == ["0", "23"]


def test_retention_is_refused_and_nothing_stored(store: SftpBackend) -> None:
    with pytest.raises(RetentionUnsupported):
        store.put("a", b"x", retain_until_ns=1)
    with pytest.raises(ObjectNotFound):
        store.get("a")


def test_names_for_temporary_files_are_refused(store: SftpBackend) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.put("tmp/a", b"x"),
        lambda: store.get("tmp/a"),
    ]
    for call in calls:
        with pytest.raises(UsageError):
            call()


def test_closing_ends_the_thread_and_refuses_what_comes_after(sshd: Sshd) -> None:
    before = set(threading.enumerate())
    store = opened(sshd)
    store.put("a", b"x")
    assert set(threading.enumerate()) - before
    store.close()
    store.close()
    # None that is new: one of an earlier test may have ended meanwhile.
    assert set(threading.enumerate()) <= before
    with pytest.raises(BackendError, match="closed"):
        store.get("a")
    never_used = opened(sshd)
    never_used.close()


def test_a_server_that_only_reads_says_so(tmp_path: Path) -> None:
    with running_sshd("Subsystem sftp internal-sftp -R") as server:
        (server.root / "store").mkdir()
        (server.root / "store/a").write_bytes(b"x")
        store = opened(server, "store")
        assert store.get("a") == b"x"
        calls: list[Callable[[], object]] = [
            lambda: store.put("b", b"x"),
            lambda: store.delete("a"),
        ]
        for call in calls:
            with pytest.raises(PermissionDenied) as caught:
                call()
            assert caught.value.hint
        store.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can let another user log in")
def test_a_folder_without_permission_says_so(sshd: Sshd, tmp_path: Path) -> None:
    config = sshd.configure(tmp_path / "config", "User nobody")
    closed, readable = sshd.root / "closed", sshd.root / "readable"
    for folder, mode in ((closed, 0o700), (readable, 0o755)):
        (folder / "d").mkdir(parents=True)
        (folder / "d/a").write_bytes(b"x")
        folder.chmod(mode)
    store = opened(sshd, "closed", config=config)
    calls: list[Callable[[], object]] = [
        lambda: store.get("d/a"),
        lambda: list(store.list("")),
        lambda: store.put("d/b", b"x"),
        lambda: store.put("d/b", b"x", exclusive=True),
        lambda: store.delete("d/a"),
    ]
    for call in calls:
        with pytest.raises(PermissionDenied) as caught:
            call()
        assert caught.value.hint
    store.close()
    store = opened(sshd, "readable", config=config)
    assert store.get("d/a") == b"x"
    for call in calls[2:]:
        with pytest.raises(PermissionDenied):
            call()
    store.close()
    assert [p.name for p in (readable / "d").iterdir()] == ["a"]
