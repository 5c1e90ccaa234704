"""A repository in a bucket, from end to end and through everything that goes wrong on the way."""

import random
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.http_proxy import (
    CUT_ANSWER,
    CUT_REQUEST,
    DELAY,
    LOSE_ANSWER,
    REFUSE,
    Trouble,
    proxy,
)
from tests.servers.s3 import Bucket, S3Server

from .command import Snap, picture
from .test_memory import LIMIT_MIB, peak_mib

MIB = 1 << 20


@dataclass
class RemoteSnap(Snap):
    """One repository behind a URL, as one host sees it."""

    url: str = ""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "SNAP_REPOSITORY": self.url}


def remote(url: str, tmp_path: Path, host: str = "host") -> RemoteSnap:
    return RemoteSnap(tmp_path, tmp_path / f"cache-{host}", url=url)


def data_keys(bucket: Bucket) -> list[str]:
    return [key for key in bucket.listed() if "/data/" in key]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "noise").write_bytes(random.Random(1).randbytes(12 * MIB))
    (folder / "words").write_text("words " * 1000)
    return folder


@pytest.fixture
def snap(bucket: Bucket, tmp_path: Path) -> RemoteSnap:
    snap = remote(bucket.url, tmp_path)
    snap.init()
    return snap


def restores(snap: Snap, data: Path, tmp_path: Path) -> bool:
    out = tmp_path / f"out-{time.monotonic_ns()}"
    snap.ok("restore", "latest", "--target", str(out))
    return picture(out / data.name) == picture(data)


def test_everything_works_in_a_bucket(snap: RemoteSnap, data: Path, tmp_path: Path) -> None:
    first = snap.json("backup", str(data))
    assert first["bytes_new"] > 12 * MIB
    (data / "more").write_bytes(b"more")
    second = snap.json("backup", str(data))
    assert second["bytes_new"] < MIB
    assert len(snap.ids()) == 2
    snap.ok("check", "--read-data")
    assert restores(snap, data, tmp_path)
    other = remote(snap.url, tmp_path, "another host")
    assert other.ok("dump", "latest:data/words") == "words " * 1000
    assert restores(other, data, tmp_path)


def test_damage_in_the_bucket_is_found_and_named(
    snap: RemoteSnap, bucket: Bucket, data: Path
) -> None:
    snap.ok("backup", str(data))
    damaged, lost = sorted(data_keys(bucket), key=lambda key: len(bucket.raw(key)))[-2:]
    stored = bytearray(bucket.raw(damaged))
    stored[len(stored) // 2] ^= 1
    bucket.overwrite(damaged, bytes(stored))
    bucket.remove(lost)
    done = snap.run("check", "--read-data")
    assert done.returncode == 4
    for key in (damaged, lost):
        assert key.rsplit("/", 1)[1] in done.stdout.decode()


def test_of_two_that_make_a_repository_in_one_place_one_wins(
    bucket: Bucket, tmp_path: Path
) -> None:
    hosts = [remote(bucket.url, tmp_path, str(n)) for n in range(3)]
    for n, host in enumerate(hosts):
        host.password = f"password {n}"
    processes = [host.start("init", "--kdf-seconds", "0") for host in hosts]
    results = [process.communicate(timeout=300) for process in processes]
    winners = [n for n, process in enumerate(processes) if process.returncode == 0]
    assert len(winners) == 1, results
    for n, (_, err) in enumerate(results):
        assert n in winners or b"there is a repository already" in err
    (winner,) = winners
    hosts[winner].ok("check")
    assert hosts[winner - 1].run("snapshots").returncode == 12


def test_a_bucket_that_protects_everything_for_a_day_breaks_no_command(
    s3_user: S3Server, data: Path, tmp_path: Path
) -> None:
    with s3_user.bucket(lock_days=1) as bucket:
        snap = remote(bucket.url, tmp_path)
        snap.init()
        snap.ok("backup", str(data))
        snap.ok("tag", "latest", "--add", "kept")
        key = snap.json("key", "add", "--recovery")["id"]
        snap.ok("key", "remove", key)
        (tmp_path / "new").write_text("another password")
        snap.ok("key", "passwd", "--new-password-file", str(tmp_path / "new"), "--kdf-seconds", "0")
        assert snap.run("snapshots").returncode == 12
        snap.password = "another password"
        snap.ok("check", "--read-data")
        assert restores(snap, data, tmp_path)
        assert not [key for key in bucket.listed() if "/leases/" in key]
        assert len(snap.ids()) == 1


@pytest.mark.slow
def test_a_store_that_refuses_every_deletion_breaks_no_command(
    s3_user: S3Server, data: Path, tmp_path: Path
) -> None:
    """What is refused is said; only of a key that stays the exit code tells as well."""
    with s3_user.bucket(lock_days=1) as bucket, proxy(s3_user.endpoint) as between:
        between.troubles = [Trouble(REFUSE, "DELETE", times=None, status=403, code="AccessDenied")]
        snap = remote(bucket.url_through(between.endpoint), tmp_path)
        snap.init()
        snap.ok("backup", str(data))
        tagged = snap.run("tag", "latest", "--add", "kept")
        assert (tagged.returncode, b"stays" in tagged.stderr) == (0, True), tagged.stderr
        key = snap.json("key", "add", "--recovery")["id"]
        removed = snap.run("key", "remove", key)
        assert removed.returncode == 3
        assert b"still opens the repository" in removed.stderr
        (tmp_path / "new").write_text("another password")
        changed = snap.run("key", "passwd", "--new-password-file", str(tmp_path / "new"))
        assert changed.returncode == 3
        snap.password = "another password"
        snap.ok("backup", str(data))
        snap.ok("check", "--read-data")
        assert len(snap.ids()) == 2
        between.troubles = []
        snap.ok("key", "remove", key)


@pytest.mark.slow
def test_a_backup_and_a_restore_survive_a_bad_network(
    bucket: Bucket, data: Path, tmp_path: Path
) -> None:
    """Every few requests one of each kind fails in one way or another."""
    with proxy(bucket.server.endpoint) as between:
        snap = remote(bucket.url_through(between.endpoint), tmp_path)
        snap.init()
        between.troubles = [
            Trouble(kind, method, at=at, times=1)
            for method, kinds in (
                ("PUT", (CUT_REQUEST, LOSE_ANSWER, REFUSE)),
                ("GET", (CUT_ANSWER, REFUSE, LOSE_ANSWER)),
                ("HEAD", (REFUSE, LOSE_ANSWER)),
                ("DELETE", (LOSE_ANSWER, REFUSE)),
            )
            for n, kind in enumerate(kinds)
            for at in range(n + 1, 40, 12)
        ]
        snap.ok("backup", str(data))
        snap.ok("check", "--read-data")
        assert restores(snap, data, tmp_path)
        assert sum(t.calls >= t.at for t in between.troubles) > 5
    assert not [key for key in bucket.listed() if "/leases/" in key]


def test_no_secret_is_in_an_error_or_in_the_process_list(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    snap = remote(bucket.url, tmp_path)
    for extra in ((), ("--json",), ("-v",)):
        done = snap.run("init", *extra)
        assert done.returncode == 1
        assert b"hush" not in done.stdout + done.stderr
        assert b"AWS_SECRET_ACCESS_KEY" in done.stderr
    snap.url = f"s3://admin:hush-hush@{bucket.name}/x"
    done = snap.run("init")
    assert done.returncode == 2
    assert b"hush" not in done.stdout + done.stderr


@pytest.mark.slow
def test_memory_is_bounded_with_eight_uploads_on_their_way(bucket: Bucket, tmp_path: Path) -> None:
    chance = random.Random(3)
    (tmp_path / "data").mkdir()
    with (tmp_path / "data/f").open("wb") as file:
        for _ in range(500):
            file.write(chance.randbytes(MIB))
    with proxy(bucket.server.endpoint) as between:
        snap = remote(bucket.url_through(between.endpoint), tmp_path)
        snap.init()
        between.troubles = [Trouble(DELAY, "PUT", "/data/", times=None, seconds=0.5)]
        backup = peak_mib(snap, "backup", "-q", str(tmp_path / "data"))
        between.troubles = []
        restore = peak_mib(snap, "restore", "-q", "latest", "--target", str(tmp_path / "out"))
    print(f"backup {backup:.0f} MiB, restore {restore:.0f} MiB")
    assert max(backup, restore) < LIMIT_MIB
