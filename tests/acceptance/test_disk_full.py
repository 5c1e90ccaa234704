"""A real disk that is full at any moment."""

import json
import os
import random
import secrets
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.scale import rounds
from tests.servers.s3 import s3_server
from tests.servers.sshd import Sshd
from tests.tmpfs import small_disk

from .command import Snap, picture, write_noise
from .places import FolderPlace, snap_at

MIB = 1 << 20


def fill_up(snap: Snap, disk: Path, tmp_path: Path, points: int) -> None:
    chance = random.Random(points)
    data = tmp_path / "data"
    data.mkdir()
    (data / "f").write_bytes(chance.randbytes(3 * MIB))
    snap.ok("backup", str(data))
    (first,) = snap.ids()
    first_picture = picture(data)
    failures = 0
    for _ in range(points):
        (data / "f").write_bytes(chance.randbytes(6 * MIB))
        (data / "g").write_bytes(chance.randbytes(2 * MIB))
        for n in range(30):
            (data / f"small{n}").write_bytes(chance.randbytes(3000))
        before = snap.ids()
        space = os.statvfs(disk)
        free = space.f_bavail * space.f_frsize
        filler = disk / "filler"
        filler.write_bytes(bytes(max(0, free - chance.randrange(10 * MIB))))
        done = snap.run("backup", str(data))
        if done.returncode:
            failures += 1
            assert done.returncode == 1
            assert "no space left" in done.stderr.decode().lower()
            assert "hint: free some space" in done.stderr.decode()
            assert snap.ids() == before
        filler.unlink()
        snap.ok("check", "--read-data")
        snap.ok("restore", first, "--target", str(tmp_path / "out"))
        assert picture(tmp_path / "out/data") == first_picture
        shutil.rmtree(tmp_path / "out")
        summary = snap.json("backup", str(data))
        snap.ok("restore", summary["snapshot_id"], "--target", str(tmp_path / "out"))
        assert picture(tmp_path / "out/data") == picture(data)
        shutil.rmtree(tmp_path / "out")
    assert failures >= points // 3
    snap.ok("check", "--read-data")


@pytest.mark.slow
def test_a_disk_that_is_full_at_some_points(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 150 * MIB) as disk:
        fill_up(Snap(disk / "r", tmp_path / "cache").init(), disk, tmp_path, 8)


@pytest.mark.slow
def test_a_disk_that_is_full_at_many_points(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 700 * MIB) as disk:
        fill_up(
            Snap(disk / "r", tmp_path / "cache").init(), disk, tmp_path, rounds(50, otherwise=8)
        )


@pytest.mark.slow
def test_an_ssh_servers_disk_that_is_full_at_some_points(sshd: Sshd, tmp_path: Path) -> None:
    name = secrets.token_hex(4)
    with small_disk(sshd.root / name, 700 * MIB) as disk:
        place = FolderPlace("sftp", disk / "r", sshd.url(f"{name}/r"), {"HOME": str(sshd.home)})
        snap = snap_at(place, tmp_path / "cache").init()
        fill_up(snap, disk, tmp_path, rounds(50, otherwise=3))


@pytest.mark.slow
def test_an_s3_servers_full_disk_ends_backup_and_replicate_and_both_finish_later(
    tmp_path: Path,
) -> None:
    """SeaweedFS answers 500 without a word of the disk, for as long as it is full."""
    data = tmp_path / "data"
    data.mkdir()
    write_noise(data / "f", 2)
    local = Snap(tmp_path / "local", tmp_path / "local-cache").init()
    local.ok("backup", str(data))
    with (
        small_disk(tmp_path / "disk", 400 * MIB) as disk,
        s3_server(disk / "data", volume_mib=16) as server,
        server.bucket() as first,
        server.bucket() as second,
    ):
        local.variables = server.environment()
        snap = Snap(Path(first.url), tmp_path / "cache", url=first.url, variables=local.variables)
        snap.init().ok("backup", str(data))
        copy = ("-r", second.url)
        local.ok("init", "--copy-of", str(local.repository), *copy)
        local.ok("replicate", second.url)
        before, original = snap.ids(), picture(data)
        write_noise(data / "g", 60)
        local.ok("backup", str(data))
        space = os.statvfs(disk)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(space.f_bavail * space.f_frsize - 16 * MIB))
        both = [snap.start("backup", str(data)), local.start("replicate", second.url)]
        for process in both:
            out, err = process.communicate(timeout=300)
            said = (out + err).decode()
            assert process.returncode == 1, said
            assert "InternalError" in said
            assert "its disk may be full" in said
        assert snap.ids() == before
        assert len(json.loads(local.ok("snapshots", "--json", *copy))) == 1
        snap.ok("restore", before[0], "--target", str(tmp_path / "out"))
        assert picture(tmp_path / "out/data") == original
        ballast.unlink()
        snap.ok("backup", str(data))
        local.ok("replicate", second.url)
        for one in (snap, local):
            one.ok("check", "--read-data", *(copy if one is local else ()))
            one.ok("restore", "latest", "--target", str(tmp_path / f"out-{one.cache.name}"))
            assert picture(tmp_path / f"out-{one.cache.name}/data") == picture(data)


def test_a_full_cache_folder_is_a_clear_error_and_costs_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for n in range(3000):
        (data / f"{n}").write_bytes(b"%d" % n)
    with small_disk(tmp_path / "disk", MIB // 4) as disk:
        snap = Snap(tmp_path / "repository", disk / "cache").init()
        done = snap.run("backup", str(data))
        assert done.returncode == 1
        assert "--no-cache" in done.stderr.decode()
        snap.ok("backup", str(data), "--no-cache")
        snap.ok("check", "--read-data", "--no-cache")


def test_no_room_for_the_copy_of_a_database_is_a_clear_error(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "events.db") as db:
        db.execute("create table t(a)")
        db.execute("insert into t values(zeroblob(3000000))")
    db.close()
    with small_disk(tmp_path / "disk", 2 * MIB) as disk:
        snap = Snap(tmp_path / "repository", disk / "cache").init()
        done = snap.run("backup", f"sqlite:{tmp_path}/events.db")
        assert done.returncode == 1
        assert "no room" in done.stderr.decode()
        assert snap.ids() == []


def test_a_restore_to_a_full_disk_leaves_nothing_behind(snap: Snap, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_bytes(b"small")
    (data / "b").write_bytes(os.urandom(3 * MIB))
    snap.ok("backup", str(data))
    with small_disk(tmp_path / "disk", 2 * MIB) as disk:
        done = snap.run("restore", "latest", "--target", str(disk / "out"))
        assert done.returncode == 1
        assert "No space left" in done.stderr.decode()
        assert [p for p in disk.rglob("*") if p.is_file()] == []
