"""From what people write as SOURCE to a source."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from snap.errors import UsageError
from snap.repo.clock import Clock, system_clock
from snap.repo.source import Source

from .files import FilesSource
from .sqlite import SqliteSource

KINDS = ("files", "sqlite")
_LATER = ("chroma", "neo4j", "neo4j-docker")


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
    if kind in _LATER:
        raise UsageError(f"{kind}: is not supported by this version yet", "use files: or sqlite:")
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, 1)
        hint = f"did you mean {near[0]}:?" if near else f"known kinds: {', '.join(KINDS)}"
        raise UsageError(f"unknown kind of source: {kind}:", hint)
    if not place:
        raise UsageError(f"{text} names no place", f"write {kind}:PATH")
    return kind, place


def open_source(
    text: str,
    *,
    name: str | None,
    excludes: Sequence[str],
    spool_dir: Path,
    clock: Clock = system_clock,
) -> Source:
    """Return the source that a SOURCE names.

    Raises:
        UsageError: it cannot be one.
    """
    kind, place = parse_place(text)
    path = Path(place).expanduser()
    if kind == "sqlite":
        if excludes:
            raise UsageError("--exclude is for files, not for sqlite:")
        return SqliteSource(path, spool_dir=spool_dir, name=name, clock=clock)
    return FilesSource(path, name=name, excludes=excludes, clock=clock)
