"""Temporary things that name the process that made them: what a killed one left is told by that.

Their names are a prefix, `process_mark`, and something random.
"""

import secrets
from pathlib import Path

from snap.repo.clock import Clock, system_clock
from snap.repo.process import is_left, process_mark


def own_token() -> str:
    """Return what a name has after its prefix: this process's mark and something random."""
    return f"{process_mark()}-{secrets.token_hex(8)}"


def is_abandoned(name: str, prefix: str, age_ns: int) -> bool:
    """Return whether a name is of a process that is gone; ``age_ns`` as for `is_left`."""
    mark = name.removeprefix(prefix).rpartition("-")[0]
    return name.startswith(prefix) and is_left(mark, age_ns)


def abandoned_in(folder: Path, prefix: str, clock: Clock = system_clock) -> list[Path]:
    """Return what lies in a folder by a prefix, and is of processes that are gone.

    Raises:
        OSError: the folder cannot be read.
    """
    found = []
    for path in folder.iterdir():
        if path.name.startswith(prefix):
            try:
                age_ns = clock() - path.lstat().st_mtime_ns
            except FileNotFoundError:
                continue
            if is_abandoned(path.name, prefix, age_ns):
                found.append(path)
    return found
