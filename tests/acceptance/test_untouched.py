"""What is damaged stops only the snapshots that need it."""

import random
import shutil
from pathlib import Path

import pytest

from .command import Picture, Snap, picture


@pytest.fixture
def two(snap: Snap, tmp_path: Path) -> dict[str, tuple[Path, Picture, set[Path]]]:
    """Two snapshots that share nothing: of each its data, and the objects that it brought."""
    found = {}
    known = objects(snap)
    for n in range(2):
        data = tmp_path / f"data{n}"
        data.mkdir()
        # Short enough to have no companion, which a restore would not miss.
        (data / "large").write_bytes(random.Random(n).randbytes(200_000))
        (data / "small").write_text(f"version {n}")
        id_ = snap.json("backup", str(data))["snapshot_id"]
        found[id_] = data, picture(data), objects(snap) - known
        known = objects(snap)
    return found


def objects(snap: Snap) -> set[Path]:
    return {path for path in snap.repository.rglob("*") if path.is_file()}


def restored(snap: Snap, id_: str, data: Path, out: Path) -> tuple[int, Picture]:
    done = snap.run("restore", id_, "--target", str(out), "--no-cache")
    found = picture(out / data.name) if done.returncode == 0 else {}
    shutil.rmtree(out, ignore_errors=True)
    return done.returncode, found


@pytest.mark.parametrize("damage", ["deleted", "flipped", "emptied"])
def test_a_damaged_object_stops_its_own_snapshot_and_no_other(
    snap: Snap, tmp_path: Path, two: dict[str, tuple[Path, Picture, set[Path]]], damage: str
) -> None:
    (hurt, (hurt_data, _, own)), (other, (other_data, expected, _)) = two.items()
    kinds = {path.relative_to(snap.repository).parts[0] for path in own}
    assert kinds == {"data", "meta", "index", "snapshots"}
    for path in sorted(own):
        good = path.read_bytes()
        if damage == "deleted":
            path.unlink()
        else:
            flipped = bytearray(good)
            flipped[len(good) // 2] ^= 4
            path.write_bytes(flipped if damage == "flipped" else b"")
        code, found = restored(snap, other, other_data, tmp_path / "out")
        assert (code, found) == (0, expected), path
        code, _ = restored(snap, hurt, hurt_data, tmp_path / "out")
        # A snapshot that was deleted is one that is not found.
        assert code == (1 if path.name == hurt and damage == "deleted" else 4), path
        path.write_bytes(good)
    snap.ok("check", "--read-data")
