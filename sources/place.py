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

from .chroma_access import CHROMA, LOCK_SECONDS, is_url
from .files import FilesSource
from .neo4j_access import DOCKER, NATIVE, UNSAID, Neo4jAccess
from .sqlite import SqliteSource

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
    if kind == CHROMA:
        return OpenedPlace([_chroma(place, path, name, around)])
    if kind in (NATIVE, DOCKER):
        return _neo4j(kind, place, name, around)
    return OpenedPlace([FilesSource(path, name=name, excludes=excludes, clock=around.clock)])


# What the sources of servers need takes a fifth of a run's start, and most runs have none.


def _chroma(place: str, path: Path, name: str | None, around: Surroundings) -> Source:
    if is_url(place):
        from .chroma_server import ChromaServerSource  # noqa: PLC0415 - as said

        return ChromaServerSource(place, spool_dir=around.spool_dir, name=name)
    from .chroma import ChromaSource  # noqa: PLC0415 - as said

    return ChromaSource(
        path, spool_dir=around.spool_dir, name=name, lock_seconds=around.lock_seconds
    )


def _neo4j(kind: str, place: str, name: str | None, around: Surroundings) -> OpenedPlace:
    from .neo4j_place import neo4j_service  # noqa: PLC0415 - as said

    service = neo4j_service(
        kind,
        place,
        name=name,
        access=around.neo4j,
        state_folder=around.state_dir,
        previous=around.previous,
    )
    return OpenedPlace(service.sources, service.hold)
