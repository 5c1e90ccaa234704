"""Naming who holds a file, as far as this system tells (Linux' /proc)."""

import os
from pathlib import Path

_SUFFIXES = ("", "-wal", "-shm", "-journal")
_NAMED = 3


def describe_holders(path: Path) -> str:
    """Return `` (held by NAME, process N)`` for the processes that have ``path`` open, or nothing.

    Other users' processes can be seen by root only.
    """
    # SQLite follows links before it names the files beside a database.
    real = os.path.realpath(path)
    wanted = set()
    for suffix in _SUFFIXES:
        try:
            found = os.stat(real + suffix)
        except OSError:
            continue
        wanted.add((found.st_dev, found.st_ino))
    names = [describe_process(pid) for pid in _process_ids() if _has_open(pid, wanted)]
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f" (held by {', '.join(names[:_NAMED])}{more})"


def _process_ids() -> list[int]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    return [int(name) for name in names if name.isdigit() and int(name) != os.getpid()]


def _has_open(pid: int, wanted: set[tuple[int, int]]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            found = os.stat(f"{folder}/{name}")
            if (found.st_dev, found.st_ino) in wanted:
                return True
    except OSError:
        # Gone meanwhile, or not ours to look into.
        return False
    return False


def describe_process(pid: int) -> str:
    """Return ``NAME, process N``."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        name = "a program"
    return f"{name}, process {pid}"
