"""Replication that is killed at any moment."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.scale import rounds

from .command import Snap, picture
from .kills import new_chance
from .places import FolderPlace, Place, snap_at

MIB = 1 << 20
FEW = {"local": 20, "sftp": 4, "s3": 4}
"""Kills in CI, by the kind of place: 50 of them take some minutes over the network."""


def stored(place: Place) -> dict[str, bytes]:
    """Return the objects that are equal in all copies."""
    own = ("config", "leases", "checks", "tmp")
    names = (n for n in place.names() if n.split("/")[0] not in own)
    return {name: place.read(name) for name in names}


def replicate_until(snap: Snap, copy: Place, moment: float | None) -> float | None:
    """Run `replicate`, killed so many seconds after it began its work; return how long it took.

    None where it was killed.
    """
    before = set(copy.names("leases/"))
    process = snap.start("replicate", copy.url)
    # Until it has its lease there is nothing but Python's start.
    while process.poll() is None and set(copy.names("leases/")) <= before:
        time.sleep(0.001)
    begun = time.monotonic()
    try:
        process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)
    return time.monotonic() - begun if process.returncode == 0 else None


def survive_kills(snap: Snap, place: Place, tmp_path: Path, kills: int, check_every: int) -> None:
    chance = new_chance()
    data = tmp_path / "data"
    data.mkdir()
    copy = snap_at(place, tmp_path / "cache-of-copy")
    snap.variables = place.variables
    copy.ok("init", "--copy-of", str(snap.repository))
    known: dict[str, object] = {}
    taken, killed = 0.0, 0
    for round_ in range(20 * kills):
        if round_ % 2 == 0:
            content = chance.randbytes(2 * MIB + chance.randrange(MIB))
            (data / str(round_ % 3)).write_bytes(content)
            known[snap.json("backup", str(data))["snapshot_id"]] = picture(data)
        moment = chance.uniform(0, taken) if round_ else None
        finished = replicate_until(snap, place, moment)
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
    print(f"{killed} kills in {round_ + 1} runs")
    shown = copy.ids()
    assert set(shown) <= set(known)
    copy.ok("check", "--read-data")
    for shown_id in shown[-3:]:
        out = tmp_path / f"out-{shown_id[:8]}"
        copy.ok("restore", shown_id, "--target", str(out))
        assert picture(out / "data") == known[shown_id]
    snap.ok("replicate", place.url)
    assert set(copy.ids()) == set(known)
    assert stored(place) == stored(FolderPlace("local", snap.repository, str(snap.repository)))
    snap.repository.rename(tmp_path / "gone")
    last = list(known)[-1]
    copy.ok("restore", last, "--target", str(tmp_path / "alone"))
    assert picture(tmp_path / "alone" / "data") == known[last]


def test_a_copy_survives_kills_of_replicate(snap: Snap, tmp_path: Path) -> None:
    copy = FolderPlace("local", tmp_path / "copy", str(tmp_path / "copy"))
    survive_kills(snap, copy, tmp_path, kills=5, check_every=1)


@pytest.mark.slow
def test_a_copy_survives_50_kills_of_replicate(snap: Snap, place: Place, tmp_path: Path) -> None:
    kills = rounds(50, otherwise=FEW[place.kind])
    survive_kills(snap, place, tmp_path, kills, check_every=min(7, kills // 2))
