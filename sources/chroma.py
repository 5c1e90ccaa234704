"""A ChromaDB persist directory, taken at one moment while its program writes to it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from snap.errors import SourceError
from snap.repo.source import Attributes, Consistency, Entry, NodeType, ViewReport

from .chroma_access import LOCK_SECONDS
from .chroma_copy import Outcome, Request
from .chroma_index import DATA, NORMS
from .chroma_store import DATABASE
from .files import FileReader, attributes_of
from .holders import SQLITE_SUFFIXES
from .recognise import Inspector
from .spool import spool_folder

_PATIENCE_SECONDS = 90.0
_NORM_BYTES = 4
_DATABASE_PAGE_BYTES = 512
"""Its pages are of 4096, but a day changes small parts of many: compared in eighths, a day of
40,000 records stores a fifth less (spec/DESIGN.md)."""
_SEGMENT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ORPHANS_NAMED = 20


class ChromaSource:
    """A persist directory. ``spool_dir`` takes a copy of it while it is backed up.

    Writers are held up while what changed since the copy began, and the database, are copied: at
    most ``lock_seconds``. Readers never are.
    """

    kind = "chroma"
    can_wait = True

    def __init__(
        self,
        path: Path,
        *,
        spool_dir: Path,
        name: str | None = None,
        lock_seconds: float = LOCK_SECONDS,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._path = path.absolute()
        self.name = name if name is not None else self._path.name
        self.place = str(self._path)
        self._spool_dir = spool_dir
        self._lock_seconds = lock_seconds
        self._patience_seconds = patience_seconds

    @contextmanager
    def open(self) -> Iterator["_ChromaView"]:
        """Copy the directory into a spool folder and give that; it is removed afterwards."""
        size_bytes = self._examine()
        with spool_folder(self._spool_dir, size_bytes, self._path) as spool:
            request = Request(
                str(self._path), str(spool), self._lock_seconds, self._patience_seconds
            )
            yield _ChromaView(self._path, spool, _copy(request))

    def _examine(self) -> int:
        """Return the bytes of the directory, if it is one of Chroma's."""
        try:
            if not self._path.is_dir():
                what = "is not a folder" if self._path.exists() else "is not there"
                raise SourceError(f"{self._path} {what}", "name the persist directory of ChromaDB")
            if not (self._path / DATABASE).exists():
                old = any(self._path.glob("*.parquet"))
                raise SourceError(
                    f"{self._path} has no {DATABASE}: it is no ChromaDB directory",
                    "ChromaDB before 0.4 is not supported: back it up with files:"
                    if old
                    else "name the folder that your program or `chroma run --path` uses",
                )
            with os.scandir(self._path / ".") as found:
                folders = [Path(e.path) for e in found if e.is_dir(follow_symlinks=False)]
            return sum(
                entry.stat(follow_symlinks=False).st_size
                for folder in [self._path, *folders]
                for entry in os.scandir(folder)
                if entry.is_file(follow_symlinks=False)
            )
        except OSError as error:
            raise SourceError(
                f"{error.filename or self._path}: {error.strerror}",
                "check the path and its permissions",
            ) from error


def _copy(request: Request) -> Outcome:
    """Have another process carry the request out.

    Raises:
        SourceError: it could not, or died.
    """
    command = [sys.executable, "-P", "-m", "snap.sources.chroma_copy"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            printed, errors = child.communicate(json.dumps(asdict(request)))
        except BaseException:
            child.kill()
            raise
    if child.returncode == -signal.SIGALRM:
        raise SourceError(
            f"{request.folder}: copying it would hold up its writers for more than "
            f"{request.lock_seconds:g} seconds",
            "back it up when nothing writes to it, with more --lock-seconds",
        )
    try:
        found: dict[str, Any] = json.loads(printed)
    except ValueError as error:
        last = errors.strip().rpartition("\n")[2] or f"it ended with {child.returncode}"
        raise SourceError(
            f"{request.folder}: its copy failed: {last}", "see whether there is memory left"
        ) from error
    outcome = Outcome(**found)
    if outcome.error:
        raise SourceError(outcome.error, outcome.hint)
    return outcome


class _ChromaView:
    is_sorted = True

    def __init__(self, path: Path, spool: Path, outcome: Outcome) -> None:
        self._path = path
        self._spool = spool
        self._outcome = outcome

    def entries(self) -> Iterator[Entry]:
        for where in sorted(p.relative_to(self._spool) for p in self._spool.rglob("*")):
            spooled = self._spool / where
            name = tuple(os.fsencode(part) for part in where.parts)
            attributes = _attributes(self._path / where)
            if spooled.is_dir():
                yield Entry(name, NodeType.DIR, attributes)
            else:
                yield self._file(spooled, where, name, attributes)

    def _file(
        self, spooled: Path, where: Path, name: tuple[bytes, ...], attributes: Attributes
    ) -> Entry:
        found = spooled.stat()
        widths = self._outcome.widths.get(where.parts[0], ()) if where.name == DATA else ()
        if where.name == NORMS:
            widths = (_NORM_BYTES,)
        return Entry(
            name,
            NodeType.FILE,
            attributes,
            size_bytes=found.st_size,
            open=lambda: FileReader(os.fsencode(spooled), found, Inspector()),
            record_widths=tuple(widths),
            page_bytes=_DATABASE_PAGE_BYTES if where.name == DATABASE else 0,
        )

    def finish(self) -> ViewReport:
        outcome = self._outcome
        orphans, foreign = self._left_out()
        warnings = list(outcome.warnings)
        if foreign:
            warnings.append(
                f"{', '.join(foreign)} in {self._path} is not ChromaDB's and was left out: "
                "back it up with files:"
            )
        if outcome.problems:
            warnings.append(
                "ChromaDB tears its files itself when it is killed while it writes them; what is "
                "gone can only come from an earlier snapshot"
            )
        if not outcome.is_locked:
            warnings.append("it could only be read, not locked; nothing was written meanwhile")
        statistics = dict(outcome.statistics)
        statistics |= {
            "writers_waited_ms": round(outcome.held_ns / 1_000_000, 1),
            "attempts": outcome.attempts,
            "orphaned_folders": orphans,
        }
        return ViewReport(
            consistency=Consistency.QUIESCED,
            point_ns=outcome.point_ns,
            statistics=statistics,
            versions={"chroma": outcome.version},
            warnings=warnings,
            root=_attributes(self._path),
            damaged=tuple(outcome.problems),
        )

    def _left_out(self) -> tuple[list[str], list[str]]:
        """Return folders of collections that were deleted, and what is not Chroma's."""
        own = {f"{DATABASE}{suffix}" for suffix in SQLITE_SUFFIXES}
        own |= {c["segment"] for c in self._outcome.statistics["collections"]}
        others = sorted({name for name in os.listdir(self._path)} - own)
        orphans = [n for n in others if _SEGMENT.fullmatch(n) and (self._path / n).is_dir()]
        return orphans[:_ORPHANS_NAMED], [n for n in others if n not in orphans]


def _attributes(path: Path) -> Attributes:
    """Return what the live file or folder has, but not its identity: what is read is a copy."""
    found = attributes_of(os.fsencode(path), os.lstat(path))
    return found._replace(inode=None, ctime_ns=None, device=0, links=1)
