"""Memory stays bounded whatever the size."""

import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from .command import Snap, digest

LIMIT_MIB = 250


MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
process.returncode = 0
"""
"""A process that is small itself: what a child inherits at its fork counts as its own peak."""


def peak_mib(snap: Snap, *arguments: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, "-m", "snap", *arguments],
        env=snap.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    code, peak_kib = map(int, done.stdout.split())
    assert code == 0, done.stderr
    return peak_kib / 1024


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "text"])
def test_a_3_gb_file_is_backed_up_and_restored_in_250_mib(tmp_path: Path, kind: str) -> None:
    scratch = tmp_path
    if shutil.disk_usage("/dev/shm").free > 12 << 30:
        scratch = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        chance = random.Random(1)
        data = scratch / "data"
        data.mkdir()
        with (data / "f").open("wb") as file:
            for n in range(3000 if kind == "noise" else 4000):
                block = chance.randbytes(1_000_000 if kind == "noise" else 300_000)
                file.write(block if kind == "noise" else block.hex().encode() + b"%d" % n * 50_000)
        assert (data / "f").stat().st_size >= 3_000_000_000
        snap = Snap(scratch / "repository", scratch / "cache").init()
        backup = peak_mib(snap, "backup", "-q", str(data))
        restore = peak_mib(snap, "restore", "-q", "latest", "--target", str(scratch / "out"))
        print(f"{kind}: backup {backup:.0f} MiB, restore {restore:.0f} MiB")
        assert digest(scratch / "out/data/f") == digest(data / "f")
        assert max(backup, restore) < LIMIT_MIB
    finally:
        if scratch != tmp_path:
            shutil.rmtree(scratch)
