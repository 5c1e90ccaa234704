"""ChromaDB directories restored into their place, proven by Chroma itself."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scale import rounds
from tests.servers.chroma import Chroma

from .command import Snap
from .kills import Kills, new_chance


@pytest.fixture
def filled(chroma: Chroma, snap: Snap, tmp_path: Path) -> Path:
    """A directory of 2 collections with 1,500 records each, in a snapshot."""
    folder = tmp_path / "app/chroma"
    folder.parent.mkdir()
    # Large enough for the elements to be stored as records.
    chroma.run("fill", str(folder), "1500", "128", "2")
    done = snap.run("backup", f"chroma:{folder}")
    assert done.returncode == 0
    assert b"warning" not in done.stderr
    return folder


def lose_everything(folder: Path, chroma: Chroma) -> None:
    shutil.rmtree(folder)


def cut_vectors_in_half(folder: Path, chroma: Chroma) -> None:
    for path in folder.glob("*/data_level0.bin"):
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)


def remove_the_index(folder: Path, chroma: Chroma) -> None:
    shutil.rmtree(next(path for path in folder.iterdir() if path.is_dir()))


def overwrite_the_database(folder: Path, chroma: Chroma) -> None:
    (folder / "chroma.sqlite3").write_bytes(b"gone" * 5000)


def delete_most(folder: Path, chroma: Chroma) -> None:
    chroma.run("thin", str(folder))


@pytest.mark.parametrize(
    "disaster",
    [lose_everything, cut_vectors_in_half, remove_the_index, overwrite_the_database, delete_most],
)
def test_every_record_is_back_after(
    disaster: Callable[[Path, Chroma], None],
    chroma: Chroma,
    snap: Snap,
    filled: Path,
) -> None:
    before = chroma.run("dump", str(filled))
    assert len(before.splitlines()) == 3000
    disaster(filled, chroma)
    summary = snap.json("restore", "latest", "--in-place", "--yes")
    [component] = summary["components"]
    assert summary["ok"]
    assert any("every one has its vector" in proof for proof in component["proofs"])
    assert chroma.run("dump", str(filled)) == before
    assert [path.name for path in filled.parent.iterdir()] == ["chroma"]
    kept = component["safety_snapshot_id"]
    assert (kept is None) == (disaster is lose_everything)
    assert kept is None or kept in snap.ids()


def test_a_directory_that_a_server_uses_is_not_replaced_and_the_server_is_named(
    chroma: Chroma, snap: Snap, filled: Path
) -> None:
    before = chroma.run("dump", str(filled))
    with chroma.serve(filled) as url:
        refused = snap.run("restore", "latest", "--in-place", "--yes")
        assert refused.returncode == 1
        told = refused.stderr.decode()
        assert "is in use by" in told
        assert f"on port {url.rpartition(':')[2]}" in told
    assert chroma.run("dump", str(filled)) == before


def test_kills_during_a_restore_in_place_leave_the_old_or_the_new(
    chroma: Chroma, snap: Snap, filled: Path
) -> None:
    survive_kills(chroma, snap, filled, 4)


@pytest.mark.slow
def test_many_kills_during_a_restore_in_place_leave_the_old_or_the_new(
    chroma: Chroma, snap: Snap, filled: Path
) -> None:
    survive_kills(chroma, snap, filled, rounds(30, otherwise=5))


def survive_kills(chroma: Chroma, snap: Snap, folder: Path, kills: int) -> None:
    new = found = chroma.run("dump", str(folder))
    killing = Kills(new_chance(), kills, kills // 3, earliest=0.2)
    for _ in killing.rounds():
        if found == new:
            chroma.run("thin", str(folder))
            old = chroma.run("dump", str(folder))
            assert old != new
        killing.end(snap.start("restore", "latest", "--in-place", "--yes"))
        found = chroma.run("dump", str(folder))
        assert found in (old, new)
    snap.ok("restore", "latest", "--in-place", "--yes")
    assert chroma.run("dump", str(folder)) == new
    assert [path.name for path in folder.parent.iterdir()] == ["chroma"]
    snap.ok("check", "--read-data")
