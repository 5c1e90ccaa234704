"""A note of every server that snap stopped, so that none stays stopped unnoticed.

The note is on disk before the server is stopped, and goes when it is online again. One whose
process is dead tells of a backup that was killed in between. In the folder given:
``stopped-<digest of kind and place>.json``.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snap.errors import SourceError
from snap.repo.clock import MINUTE_NS, Clock, system_clock
from snap.repo.process import is_gone, process_identity

from .sync import sync_folder, write_durably

_PREFIX = "stopped-"
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class StoppedServer:
    """One note.

    Attributes:
        kind: ``neo4j``, ``neo4j-docker``.
        place: The home, or the container's id.
        started_by: What `Neo4jServer.start` has to be given.
        since_ns: When it was stopped.
        pid: The process that stopped it; ``process`` tells it from a later one of that number.
    """

    kind: str
    place: str
    started_by: str
    since_ns: int
    pid: int
    process: str

    def minutes(self, now_ns: int) -> int:
        """Return how long it has been stopped, in whole minutes."""
        return max(0, now_ns - self.since_ns) // MINUTE_NS

    def is_left(self) -> bool:
        """Return whether the process that would have started it again is gone."""
        return is_gone(self.pid, self.process)


def note_stop(
    folder: Path, *, kind: str, place: str, started_by: str, clock: Clock = system_clock
) -> StoppedServer:
    """Write, before a server is stopped, that this process is going to stop it.

    It is durable on return. A note that a dead process left is replaced.

    Raises:
        SourceError: another process that runs has it stopped, or the note cannot be written.
    """
    path = _path(folder, kind, place)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = _read(path)
        if found is not None and not found.is_left() and found.pid != os.getpid():
            raise SourceError(
                f"{place}: another snap (process {found.pid}) has stopped this server",
                "wait until it has ended",
            )
        note = StoppedServer(
            kind, place, started_by, clock(), os.getpid(), process_identity(os.getpid())
        )
        _write(path, note)
    except OSError as error:
        raise SourceError(
            f"cannot note in {folder} that {place} is stopped: {error.strerror}",
            "a server is stopped only where snap can note it: free space or name another folder",
        ) from error
    return note


def note_started(folder: Path, *, kind: str, place: str) -> None:
    """Remove the note, after the server answers again."""
    with suppress(FileNotFoundError):
        _path(folder, kind, place).unlink()
        sync_folder(folder)


def stopped_servers(folder: Path) -> list[StoppedServer]:
    """Return the servers that were left stopped by a process that is gone, the oldest first.

    Whether one was started by hand meanwhile, only the server itself can tell.
    """
    notes = [note for path in _note_files(folder) if (note := _read(path)) is not None]
    return sorted((note for note in notes if note.is_left()), key=lambda note: note.since_ns)


def _note_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))


def _path(folder: Path, kind: str, place: str) -> Path:
    digest = hashlib.sha256(f"{kind}\0{place}".encode("utf-8", "surrogateescape")).hexdigest()
    return folder / f"{_PREFIX}{digest[:24]}{_SUFFIX}"


def _read(path: Path) -> StoppedServer | None:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        found: Any = json.loads(text)
        return StoppedServer(
            kind=str(found["kind"]),
            place=str(found["place"]),
            started_by=str(found["started_by"]),
            since_ns=int(found["since_ns"]),
            pid=int(found["pid"]),
            process=str(found["process"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"the note {path} of a stopped server cannot be read",
            "see whether Neo4j runs, then remove the file",
        ) from error


def _write(path: Path, note: StoppedServer) -> None:
    text = json.dumps(
        {
            "kind": note.kind,
            "place": note.place,
            "started_by": note.started_by,
            "since_ns": note.since_ns,
            "pid": note.pid,
            "process": note.process,
        }
    )
    write_durably(path, text)
