"""From what people write as SOURCE to a source."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snap.errors import UsageError
from snap.repo.clock import Clock, system_clock
from snap.repo.source import Source

from .chroma import LOCK_SECONDS, ChromaSource
from .chroma_server import ChromaServerSource, is_url
from .files import FilesSource
from .neo4j_access import UNSAID, Neo4jAccess
from .neo4j_place import DOCKER, NATIVE, neo4j_service
from .sqlite import SqliteSource

CHROMA = "chroma"
KINDS = ("files", "sqlite", CHROMA, NATIVE, DOCKER)
_WITHOUT_PLACE = (NATIVE,)


def parse_place(text: str) -> tuple[str, str]:
    """Return kind and place of a SOURCE: ``kind:place``, or a path for ``files``.

    A path with a colon in it is a path if it has a slash before the colon, or exists.

    Raises:
        UsageError: an unknown kind, or no place.
    """
    kind, separator, place = text.partition(":")
    if not separator or "/" in kind or (kind not in KINDS and Path(text).exists()):
        if not text:
            raise UsageError("an empty SOURCE", "write a path, or kind:place as sqlite:events.db")
        return "files", text
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, 1)
        hint = f"did you mean {near[0]}:?" if near else f"known kinds: {', '.join(KINDS)}"
        raise UsageError(f"unknown kind of source: {kind}:", hint)
    if not place and kind not in _WITHOUT_PLACE:
        raise UsageError(f"{text} names no place", f"write {kind}:PATH")
    return kind, place


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What sources need beside their place.

    ``previous`` gives what the last good snapshot recorded of a component.
    """

    spool_dir: Path
    state_dir: Path
    neo4j: Neo4jAccess = UNSAID
    lock_seconds: float = LOCK_SECONDS
    previous: Callable[[str], Mapping[str, Any] | None] = lambda _name: None
    clock: Clock = system_clock


@dataclass(frozen=True, slots=True)
class OpenedPlace:
    """The sources at one place, in the order in which they are to be stored.

    ``hold`` is to be entered before the first is opened, and left when all are stored.
    """

    sources: Sequence[Source]
    hold: Callable[[], AbstractContextManager[None]] = nullcontext


def open_place(
    text: str, *, name: str | None, excludes: Sequence[str], around: Surroundings
) -> OpenedPlace:
    """Return the sources that a SOURCE names; nothing is stopped or read yet.

    Raises:
        UsageError: it cannot be one.
        SourceError: there is no server at the place.
    """
    kind, place = parse_place(text)
    if excludes and kind != "files":
        raise UsageError(f"--exclude is for files, not for {kind}:")
    path = Path(place).expanduser()
    if kind == "sqlite":
        source = SqliteSource(path, spool_dir=around.spool_dir, name=name, clock=around.clock)
        return OpenedPlace([source])
    if kind == CHROMA and is_url(place):
        server = ChromaServerSource(place, spool_dir=around.spool_dir, name=name)
        return OpenedPlace([server])
    if kind == CHROMA:
        chroma = ChromaSource(
            path, spool_dir=around.spool_dir, name=name, lock_seconds=around.lock_seconds
        )
        return OpenedPlace([chroma])
    if kind in (NATIVE, DOCKER):
        service = neo4j_service(
            kind,
            place,
            name=name,
            access=around.neo4j,
            state_folder=around.state_dir,
            previous=around.previous,
        )
        return OpenedPlace(service.sources, service.hold)
    return OpenedPlace([FilesSource(path, name=name, excludes=excludes, clock=around.clock)])
