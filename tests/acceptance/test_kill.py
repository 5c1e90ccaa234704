"""Backups that are killed or interrupted at any moment."""

import random
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.scale import rounds

from .command import MIB, Snap, picture, write_noise
from .kills import Kills, new_chance
from .places import Place, snap_at
from .stress import Content, restored_content

FEW = {"local": 16, "sftp": 4, "s3": 4}
"""Kills in CI, by the kind of place: 200 of them take an hour over the network."""
NOISE_MIB = {"local": 300, "sftp": 130, "s3": 100}
"""What makes several packs; those in S3 are small."""
SLOWLY = "20M"
"""How fast what is to be stopped stores, so that it does not end before it is."""


class Service:
    """Data that changes from one backup to the next."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root = root
        self.chance = chance
        self.files = root / "files"
        self.files.mkdir(parents=True)
        self.database = root / "events.db"
        self._db = sqlite3.connect(self.database)
        self._db.execute("create table t(a integer primary key, b blob)")

    def change(self) -> None:
        # Never by more than half: a backup of what collapsed ends with a warning, rightly.
        for n in range(3):
            size = self.chance.randrange(4 * MIB, 6 * MIB)
            (self.files / str(n)).write_bytes(self.chance.randbytes(size))
        rows = [(self.chance.randbytes(900),) for _ in range(2000)]
        self._db.executemany("insert into t(b) values(?)", rows)
        self._db.commit()

    def arguments(self) -> tuple[str, ...]:
        return ("backup", f"sqlite:{self.database}", str(self.files))

    def picture(self) -> Content:
        return picture(self.files), self._db.execute("select * from t").fetchall()


def restored(snap: Snap, id_: str, folder: Path) -> Content:
    snap.ok("restore", id_, "--target", str(folder))
    return restored_content(folder)


def survive_kills(snap: Snap, tmp_path: Path, kills: int) -> None:
    chance = new_chance()
    service = Service(tmp_path / "service", chance)
    known: dict[str, Content] = {}
    killing = Kills(chance, kills, kills // 2)
    for _ in killing.rounds():
        service.change()
        now = service.picture()
        killing.end(snap.start(*service.arguments()))
        snap.ok("check", "--read-data")
        for id_ in snap.ids():
            # A backup may have been killed just after its snapshot was written.
            known.setdefault(id_, now)
        assert set(snap.ids()) == set(known)
        some = chance.choice(list(known))
        assert restored(snap, some, tmp_path / "out") == known[some]
    for id_, expected in known.items():
        assert restored(snap, id_, tmp_path / "out") == expected
    snap.ok(*service.arguments())
    snap.ok("check", "--read-data")


def test_kills_at_random_moments_lose_nothing(snap: Snap, tmp_path: Path) -> None:
    survive_kills(snap, tmp_path, 12)


@pytest.mark.slow
def test_many_kills_at_random_moments_lose_nothing(place: Place, tmp_path: Path) -> None:
    snap = snap_at(place, tmp_path / "cache").init()
    survive_kills(snap, tmp_path, rounds(200, otherwise=FEW[place.kind]))


def test_what_a_killed_backup_stored_is_reused(place: Place, tmp_path: Path) -> None:
    snap = snap_at(place, tmp_path / "cache").init()
    data = tmp_path / "data"
    data.mkdir()
    size = NOISE_MIB[place.kind]
    write_noise(data / "f", size)
    process = snap.start("backup", str(data), "--limit-upload", SLOWLY)
    while len(place.names("data/")) < (2 if place.kind == "sftp" else 3):
        assert process.poll() is None
    process.kill()
    process.communicate()
    kept = sum(len(place.read(name)) for name in place.names("data/"))
    snap.ok("check", "--read-data")
    assert snap.ids() == []
    summary = snap.json("backup", str(data))
    # All but the blobs at the edges of what the packs hold.
    assert summary["bytes_new"] < size * MIB - 0.9 * kept
    snap.ok("check", "--read-data")
    snap.ok("restore", "latest", "--target", str(tmp_path / "out"))
    assert picture(tmp_path / "out/data") == picture(data)
    assert place.names("leases/") == []


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("local", signal.SIGINT),
        ("local", signal.SIGTERM),
        pytest.param("sftp", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("s3", signal.SIGTERM, marks=pytest.mark.slow),
    ],
    indirect=["place"],
)
def test_an_interrupted_backup_ends_well_and_is_reused(
    place: Place, tmp_path: Path, number: signal.Signals
) -> None:
    snap = snap_at(place, tmp_path / "cache").init()
    data = tmp_path / "data"
    data.mkdir()
    size = NOISE_MIB[place.kind] + 100
    write_noise(data / "f", size)
    process = snap.start("backup", str(data), "--limit-upload", SLOWLY)
    while not place.names("data/"):
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1] == "snap: error: interrupted"
    assert b"Traceback" not in err
    assert snap.ids() == []
    assert place.names("leases/") == []
    kept = sum(len(place.read(name)) for name in place.names("data/"))
    summary = snap.json("backup", str(data))
    assert summary["bytes_new"] < size * MIB - 0.9 * kept
    snap.ok("check", "--read-data")
