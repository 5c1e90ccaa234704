"""Naming who holds a file, as far as this system tells (Linux' /proc).

Other users' processes can be seen by root only, those of containers from the host only.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""A SQLite database and what may lie beside it."""
_NAMED = 3
Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has something open."""

    process: int
    name: str

    def __str__(self) -> str:
        return f"{self.name}, process {self.process}"


def find_holders(identities: Iterable[Identity]) -> list[Holder]:
    """Return the processes, other than this one, that have one of these files open."""
    wanted = set(identities)
    if not wanted:
        return []
    return [Holder(pid, _name(pid)) for pid in _process_ids() if _has_open(pid, wanted)]


def database_files(path: Path) -> Iterator[Path]:
    """Yield a SQLite database and what lies beside it."""
    # SQLite follows links before it names the files beside a database.
    real = os.path.realpath(path)
    for suffix in SQLITE_SUFFIXES:
        if os.path.lexists(real + suffix):
            yield Path(real + suffix)


def identities(paths: Iterable[Path]) -> set[Identity]:
    """Return what these paths are; those that are not there are left out."""
    found = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found


def describe_holders(path: Path) -> str:
    """Return `` (held by NAME, process N)`` for the processes that have a database open."""
    holders = find_holders(identities(database_files(path)))
    return f" (held by {named(holders)})" if holders else ""


def describe_process(pid: int) -> str:
    """Return ``NAME, process N``."""
    return str(Holder(pid, _name(pid)))


def named(holders: list[Holder]) -> str:
    """Return the first few as one text."""
    more = f" and {len(holders) - _NAMED} more" if len(holders) > _NAMED else ""
    return ", ".join(map(str, holders[:_NAMED])) + more


def _process_ids() -> list[int]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    return [int(name) for name in names if name.isdigit() and int(name) != os.getpid()]


def _has_open(pid: int, wanted: set[Identity]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        # Gone meanwhile, or not ours to look into.
        return False
    # What was closed meanwhile is none of these.
    return not wanted.isdisjoint(identities(Path(folder, name) for name in names))


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a program"
