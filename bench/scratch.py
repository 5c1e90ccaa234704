"""Scratch space that is checked before it is used and gone afterwards."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

GIB = 1 << 30


def free_bytes(folder: Path) -> int:
    """Return what can be written below a folder; in a memory file system that is free memory."""
    free = shutil.disk_usage(folder).free
    if _file_system(folder) != "tmpfs":
        return free
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return min(free, int(line.split()[1]) * 1024)
    return free


def _file_system(folder: Path) -> str:
    place, found = os.path.realpath(folder), ("", "")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split()
        if f"{place}/".startswith(f"{mounted.rstrip('/')}/"):
            found = max(found, (mounted, kind), key=lambda pair: len(pair[0]))
    return found[1]


def require_space(folder: Path, needed_bytes: float, what: str) -> None:
    """Stop before anything is written where it could not fit."""
    free = free_bytes(folder)
    if free < needed_bytes:
        raise SystemExit(
            f"{what} needs about {needed_bytes / GIB:.1f} GiB in {folder}, "
            f"where {free / GIB:.1f} GiB are free: choose smaller sizes or another --scratch"
        )


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder that is removed whatever happens, also when this process is terminated."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    folder = Path(tempfile.mkdtemp(prefix="snap-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)
