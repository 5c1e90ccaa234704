"""The whole way over SSH: real processes, a real server."""

import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.sshd import Sshd

from .command import MIB, Snap, picture, write_noise


@dataclass
class RemoteSnap(Snap):
    """One whose repository is on a server. ``repository`` is the folder there."""

    url: str = ""
    home: Path = Path()

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "SNAP_REPOSITORY": self.url,
            "HOME": str(self.home),
        }

    def packs(self) -> list[Path]:
        return sorted((self.repository / "data").rglob("?" * 64))


@pytest.fixture
def snap(sshd: Sshd, tmp_path: Path) -> RemoteSnap:
    name = secrets.token_hex(4)
    return RemoteSnap(sshd.root / name, tmp_path / "cache", url=sshd.url(name), home=sshd.home)


def test_from_init_to_a_restore_that_is_equal(snap: RemoteSnap, tmp_path: Path) -> None:
    none = snap.run("snapshots")
    assert none.returncode == 10
    snap.init()
    assert snap.run("init", "--kdf-seconds", "0").returncode == 2
    tree, database = tmp_path / "tree", tmp_path / "events.db"
    (tree / "sub").mkdir(parents=True)
    write_noise(tree / "large", 3)
    (tree / "sub/small").write_text("small")
    with sqlite3.connect(database) as db:
        db.execute("create table t(a)")
        db.executemany("insert into t values(?)", [(n,) for n in range(3000)])
    db.close()
    snap.ok("backup", f"sqlite:{database}", str(tree))
    (tree / "sub/small").write_text("changed")
    summary = snap.json("backup", f"sqlite:{database}", str(tree), "--limit-upload", "100M")
    assert summary["bytes_new"] < MIB
    (first, second) = snap.ids()
    snap.ok("check", "--read-data", "--limit-download", "1G")
    snap.cache = tmp_path / "another"
    snap.ok("restore", second, "--target", str(tmp_path / "out"))
    assert picture(tmp_path / "out/tree") == picture(tree)
    db = sqlite3.connect(tmp_path / "out/events.db/events.db")
    assert db.execute("select count(*), sum(a) from t").fetchone() == (3000, 4498500)
    db.close()
    assert snap.ok("dump", f"{first}:tree/sub/small") == "small"
    assert list((snap.repository / "tmp").iterdir()) == []


def test_damage_on_the_server_is_named(snap: RemoteSnap, tmp_path: Path) -> None:
    snap.init()
    data = tmp_path / "data"
    data.mkdir()
    write_noise(data / "f", 2)
    snap.ok("backup", str(data))
    (pack,) = snap.packs()
    good = pack.read_bytes()
    for bad in (None, good[: len(good) // 2], bytes([good[0] ^ 1]) + good[1:]):
        pack.unlink(missing_ok=True)
        if bad is not None:
            pack.write_bytes(bad)
        checked = snap.run("check", "--read-data")
        assert checked.returncode == 4
        assert pack.name in (checked.stdout + checked.stderr).decode()
        assert snap.run("restore", "latest", "--target", str(tmp_path / "out")).returncode != 0
        assert not (tmp_path / "out/data/f").exists()
    pack.write_bytes(good)
    snap.ok("check", "--read-data")


def test_mistakes_are_told_with_what_to_do(snap: RemoteSnap, tmp_path: Path) -> None:
    snap.init()
    secret = "k33pm3"
    url, snap.url = snap.url, snap.url.replace("sftp://", f"sftp://me:{secret}@")
    refused = snap.run("snapshots")
    assert refused.returncode == 2
    assert secret not in refused.stderr.decode()
    assert "snap: hint: " in refused.stderr.decode()
    snap.url = url
    # An installation without the extra.
    (tmp_path / "asyncssh.py").write_text("raise ModuleNotFoundError('asyncssh', name='asyncssh')")
    plain = snap.environment()

    class Without(RemoteSnap):
        def environment(self) -> dict[str, str]:
            return {**plain, "PYTHONPATH": f"{tmp_path}{os.pathsep}{plain['PYTHONPATH']}"}

    missing = Without(snap.repository, snap.cache).run("snapshots")
    assert missing.returncode == 1
    assert "pip install 'snap-backup[ssh]'" in missing.stderr.decode()
