"""Replication that is killed at any moment."""

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .command import Snap, picture

MIB = 1 << 20


def stored(root: Path) -> dict[str, bytes]:
    """Return the objects that are equal in all copies."""
    own = ("config", "leases", "checks", "tmp")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] not in own
    }


def leases(place: Path) -> set[str]:
    folder = place / "leases"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def replicate_until(snap: Snap, copy: Path, moment: float | None) -> float | None:
    """Run `replicate`, killed so many seconds after it began its work; return how long it took.

    None where it was killed.
    """
    before = leases(copy)
    process = snap.start("replicate", str(copy))
    # Until it has its lease there is nothing but Python's start.
    while process.poll() is None and leases(copy) <= before:
        time.sleep(0.001)
    begun = time.monotonic()
    try:
        process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)
    return time.monotonic() - begun if process.returncode == 0 else None


def survive_kills(snap: Snap, tmp_path: Path, kills: int, check_every: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    data = tmp_path / "data"
    data.mkdir()
    copy = Snap(tmp_path / "copy", tmp_path / "cache-of-copy")
    copy.ok("init", "--copy-of", str(snap.repository))
    known: dict[str, object] = {}
    taken, killed = 0.0, 0
    for round_ in range(6 * kills):
        if round_ % 2 == 0:
            content = chance.randbytes(2 * MIB + chance.randrange(MIB))
            (data / str(round_ % 3)).write_bytes(content)
            known[snap.json("backup", str(data))["snapshot_id"]] = picture(data)
        moment = chance.uniform(0, taken) if round_ else None
        finished = replicate_until(snap, copy.repository, moment)
        if finished is not None:
            # Not the longest of all: after one hiccup of the machine few would be killed.
            taken = finished if not taken else (taken + finished) / 2
            continue
        killed += 1
        # Whatever the copy shows is whole.
        if killed % check_every == 0:
            copy.ok("check", "--read-data")
        if killed == kills:
            break
    assert killed == kills
    shown = copy.ids()
    assert set(shown) <= set(known)
    copy.ok("check", "--read-data")
    for shown_id in shown[-3:]:
        out = tmp_path / f"out-{shown_id[:8]}"
        copy.ok("restore", shown_id, "--target", str(out))
        assert picture(out / "data") == known[shown_id]
    snap.ok("replicate", str(copy.repository))
    assert set(copy.ids()) == set(known)
    assert stored(copy.repository) == stored(snap.repository)
    snap.repository.rename(tmp_path / "gone")
    last = list(known)[-1]
    copy.ok("restore", last, "--target", str(tmp_path / "alone"))
    assert picture(tmp_path / "alone" / "data") == known[last]


def test_a_copy_survives_kills_of_replicate(snap: Snap, tmp_path: Path) -> None:
    survive_kills(snap, tmp_path, kills=5, check_every=1)


@pytest.mark.slow
def test_a_copy_survives_50_kills_of_replicate(snap: Snap, tmp_path: Path) -> None:
    survive_kills(snap, tmp_path, kills=50, check_every=7)
