"""A snapshot's Neo4j component as the dump that `neo4j-admin database load` takes."""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from snap.errors import IntegrityError, TargetError
from snap.repo.snapshot import Component
from snap.repo.source import NodeType
from snap.repo.tree import Node

from .neo4j_archive import Archive, OutputFile, make_dump, recognise
from .neo4j_envelope import MAGIC_BYTES
from .neo4j_view import OPAQUE

KINDS = ("neo4j", "neo4j-docker")
Place = tuple[bytes, ...]


def is_dump(component: Component) -> bool:
    """Return whether a component is a Neo4j database."""
    return component.kind in KINDS and "database" in component.statistics


def dump_name(component: Component) -> str:
    """Return what `neo4j-admin database load` wants the file to be called."""
    return f"{component.statistics['database']}.dump"


def make_component_dump(
    component: Component,
    nodes: Iterable[tuple[Place, Node]],
    read: Callable[[Place], Iterator[bytes | memoryview]],
) -> Iterator[bytes | memoryview]:
    """Yield a dump with all that the component holds; the same for the same snapshot.

    ``nodes`` are all that it has, ``read`` yields the bytes of a file (of the only one, where the
    path is empty). What ``read`` raises leaves what was yielded no dump.
    """
    if component.statistics.get("envelope") == OPAQUE:
        yield from read(())
        return
    files = [
        OutputFile(
            place,
            node.type is NodeType.DIR,
            node.attributes.mode,
            node.attributes.mtime_ns,
            node.size_bytes,
            partial(read, place),
        )
        for place, node in nodes
    ]
    yield from make_dump(files)


def write_dump(
    pieces: Iterator[bytes | memoryview],
    path: Path,
    *,
    overwrite: bool,
    advance: Callable[[int], None],
) -> int:
    """Write a dump to a file that appears when it is whole; return its size. Durable on return.

    Raises:
        TargetError: it cannot be written, or is there already.
    """
    if os.path.lexists(path) and not overwrite:
        raise TargetError(
            f"{path} exists already",
            "choose an empty folder, or allow replacing with --overwrite",
        )
    temporary = path.with_name(f".snap-restore-{secrets.token_hex(8)}")
    size = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb", opener=_private) as file:
            for piece in pieces:
                file.write(piece)
                size += len(piece)
                advance(len(piece))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TargetError(
            f"{path}: {error.strerror or error}", "free some space there, or choose another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return size


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def verify_dump(path: Path, component: Component) -> list[str]:
    """Read a dump that was written once more; return what that proves.

    Raises:
        IntegrityError: it is not whole, or holds something else than was recorded.
    """
    statistics = component.statistics
    with path.open("rb") as file:
        magic = file.read(MAGIC_BYTES)
        if statistics.get("envelope") == OPAQUE or not recognise(magic):
            return []
        archive = Archive(magic, file)
        for _ in archive.entries():
            pass
    if (archive.files, archive.bytes) != (statistics.get("files"), statistics.get("bytes")):
        raise IntegrityError(
            f"{path}: {archive.files} files with {archive.bytes} bytes, recorded were "
            f"{statistics.get('files')} with {statistics.get('bytes')}",
            "restore an earlier snapshot",
        )
    return [f"dump whole: {archive.files} store files, as recorded at the backup"]
