"""A ChromaDB server by its URL: what its API gives, where its directory is out of reach."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from snap.errors import SourceError, UsageError
from snap.repo.clock import Clock, system_clock
from snap.repo.source import Attributes, Consistency, Entry, NodeType, ViewReport

from .chroma_export import VECTORS, Export, ExportRequest
from .files import FileReader
from .recognise import Inspector
from .spool import spool_folder

KIND = "chroma-server"
_ANSWER_SECONDS = 60.0
"""A server that gives no page of a thousand records in this time has stopped answering."""
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
_NUMBER_BYTES = 4


class ChromaServerSource:
    """All collections of a server, as files that need no Chroma to be read.

    They are of one moment where nobody wrote while they were read twice; if not, the report says
    so. Vectors of collections by cosine may differ in the last digits from what was put in, since
    Chroma stores them normalised.
    """

    kind = KIND
    can_wait = True

    def __init__(
        self,
        url: str,
        *,
        spool_dir: Path,
        name: str | None = None,
        answer_seconds: float = _ANSWER_SECONDS,
        clock: Clock = system_clock,
    ) -> None:
        try:
            place = urlsplit(url)
            hostname, _port = place.hostname, place.port
        except ValueError as error:
            raise UsageError(f"{url}: {error}", "write it as http://HOST:8000") from error
        if not hostname or place.password is not None:
            raise UsageError(f"{url} is no server's URL", "write it as http://HOST:8000")
        self.name = name if name is not None else hostname
        self.place = url
        self._spool_dir = spool_dir
        self._answer_seconds = answer_seconds
        self._clock = clock

    @contextmanager
    def open(self) -> Iterator["_ServerView"]:
        """Read everything into a spool folder and give that; it is removed afterwards."""
        with spool_folder(self._spool_dir, 0, Path(self.name)) as spool:
            request = ExportRequest(self.place, str(spool / "export"))
            point_ns = self._clock()
            export = _export(request, self._answer_seconds)
            yield _ServerView(spool / "export", export, point_ns)


def _export(request: ExportRequest, answer_seconds: float) -> Export:
    """Have another process read the server.

    Raises:
        SourceError: it cannot be read, or stopped answering.
    """
    command = [sys.executable, "-P", "-m", "snap.sources.chroma_export"]
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    last = ""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        if child.stdin is None or child.stdout is None:
            raise SourceError(f"{request.url}: no way to speak with what reads it")
        reading = threading.Thread(target=_pass_on, args=(child.stdout, lines), daemon=True)
        reading.start()
        try:
            # If it died already, what it said is read all the same.
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps(asdict(request)))
                child.stdin.close()
            while line := lines.get(timeout=answer_seconds):
                last = line.strip() or last
        except queue.Empty as error:
            raise SourceError(
                f"{request.url} stopped answering: nothing for {answer_seconds:g} seconds",
                "see whether the server still works",
            ) from error
        finally:
            child.kill()
            reading.join()
    try:
        export = Export(**json.loads(last))
    except (ValueError, TypeError) as error:
        raise SourceError(
            f"{request.url}: reading it failed: {last[:200] or 'it died'}",
            "see whether there is memory left",
        ) from error
    if export.error:
        raise SourceError(export.error, export.hint)
    return export


def _pass_on(stream: Iterator[str], lines: "queue.SimpleQueue[str]") -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


class _ServerView:
    is_sorted = True

    def __init__(self, spool: Path, export: Export, point_ns: int) -> None:
        self._spool = spool
        self._export = export
        self._point_ns = point_ns

    def entries(self) -> Iterator[Entry]:
        dimensions: dict[tuple[str, ...], int | None] = {
            (c["database"], c["name"], VECTORS): c["dimension"] for c in self._export.collections
        }
        for where in sorted(p.relative_to(self._spool) for p in self._spool.rglob("*")):
            spooled = self._spool / where
            name = tuple(os.fsencode(part) for part in where.parts)
            if spooled.is_dir():
                yield Entry(name, NodeType.DIR, Attributes(mode=_FOLDER_MODE))
            else:
                yield _file(name, spooled, dimensions.get(where.parts))

    def finish(self) -> ViewReport:
        export = self._export
        warnings = []
        if not export.is_quiet:
            warnings.append(
                f"it was written to each of the {export.tries} times that it was read: this is not "
                "of one moment; back up its directory instead, or when nobody writes"
            )
        return ViewReport(
            consistency=Consistency.TRANSACTION if export.is_quiet else Consistency.CRASH,
            point_ns=self._point_ns,
            statistics={"collections": export.collections, "readings": export.tries},
            warnings=warnings,
        )


def _file(name: tuple[bytes, ...], spooled: Path, dimension: int | None) -> Entry:
    found = spooled.stat()
    return Entry(
        name,
        NodeType.FILE,
        Attributes(mode=_FILE_MODE),
        size_bytes=found.st_size,
        open=lambda: FileReader(os.fsencode(spooled), found, Inspector()),
        record_widths=(dimension * _NUMBER_BYTES,) if dimension else (),
    )
