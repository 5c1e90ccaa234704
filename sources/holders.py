"""Naming who holds a file, as far as this system tells (Linux' /proc).

Other users' processes can be seen by root only, those of containers from the host only.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""A SQLite database and what may lie beside it."""
_NAMED = 3
_LISTENING = "0A"
"""The state in Linux' tables of sockets."""
_CONTAINER = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has something open."""

    process: int
    name: str
    ports: tuple[int, ...] = ()
    container: str = ""

    def __str__(self) -> str:
        shown = f"{self.name}, process {self.process}"
        if self.container:
            shown += f" in container {self.container}"
        if self.ports:
            shown += f" on port {' and '.join(map(str, self.ports))}"
        return shown


def find_holders(identities: Iterable[Identity]) -> list[Holder]:
    """Return the processes, other than this one, that have one of these files open."""
    wanted = set(identities)
    if not wanted:
        return []
    return [
        Holder(pid, _name(pid), _ports(pid), _container(pid))
        for pid in process_ids()
        if _has_open(pid, wanted)
    ]


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


def files_below(folder: Path) -> Iterator[Path]:
    """Yield a folder and all that is in it."""
    for above, folders, files in os.walk(folder):
        yield Path(above)
        yield from (Path(above, name) for name in (*folders, *files))


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


def process_ids() -> list[int]:
    """Return the numbers of the processes, other than this one; none where that is not told."""
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


def _ports(pid: int) -> tuple[int, ...]:
    """Return the TCP ports that a process listens on."""
    own = {link.removeprefix("socket:[").removesuffix("]") for link in _links(f"/proc/{pid}/fd")}
    ports = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENING and fields[9] in own:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return tuple(sorted(ports))


def _links(folder: str) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            yield os.readlink(f"{folder}/{name}")


def _container(pid: int) -> str:
    """Return the short id of the container that a process is in, if it is another than ours."""
    try:
        found, own = (Path(f"/proc/{p}/cgroup").read_text() for p in (pid, "self"))
    except OSError:
        return ""
    ids = _CONTAINER.findall(found)
    return ids[-1][:12] if ids and found != own else ""


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a program"
