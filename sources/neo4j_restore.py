"""A snapshot's Neo4j component as the dump that `neo4j-admin database load` takes.

One that Enterprise backed up online is the file that `neo4j-admin database restore` takes.
"""

import contextlib
import os
import secrets
import shlex
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import blake3

from snap.errors import IntegrityError, TargetError
from snap.repo.snapshot import Component
from snap.repo.source import NodeType
from snap.repo.tree import Node, is_plain_name

from .neo4j_archive import Archive, OutputFile, make_dump
from .neo4j_envelope import MAGIC_BYTES, ZSTD_MAGIC, NotWhole
from .neo4j_online import BACKUP
from .neo4j_server import SYSTEM
from .neo4j_view import OPAQUE
from .sync import sync_folder

KINDS = ("neo4j", "neo4j-docker")
Place = tuple[bytes, ...]
FileDigests = dict[Place, bytes]
"""Of each file in a dump; of the dump itself, under the empty path, where it was never opened."""
ReadFile = Callable[[Place], Iterator[bytes | memoryview]]
_READ_BYTES = 1 << 20


def is_dump(component: Component) -> bool:
    """Return whether a component is a Neo4j database."""
    return component.kind in KINDS and "database" in component.statistics


def is_backup(component: Component) -> bool:
    """Return whether a Neo4j database is stored as the file that Enterprise's backup wrote."""
    return is_dump(component) and component.statistics.get("artifact") == BACKUP


def dump_name(component: Component) -> str:
    """Return what `neo4j-admin` wants the file to be called.

    Raises:
        IntegrityError: the snapshot names a database as no file can be.
    """
    name = f"{component.statistics['database']}.{BACKUP if is_backup(component) else 'dump'}"
    if not is_plain_name(os.fsencode(name)):
        # Whoever may only write to the repository must not choose where others restore to.
        raise IntegrityError(f"{component.name}: not a database's name: {name[:80]!r}")
    return name


def how_to_restore(component: Component, file: str) -> str:
    """Return how Enterprise's own programs take a backup that was restored as ``file``."""
    database = component.statistics["database"]
    command = f"neo4j-admin database restore --from-path={shlex.quote(file)} {database}"
    if database == SYSTEM:
        return f"with the server stopped: {command} --overwrite-destination=true"
    return (
        f"{command}; then, over Bolt: CREATE DATABASE `{database}`. One that is there already is "
        f"taken offline before (STOP DATABASE `{database}`), replaced with "
        f"--overwrite-destination=true, and started again (START DATABASE `{database}`)"
    )


def make_component_dump(
    component: Component,
    nodes: Iterable[tuple[Place, Node]],
    read: ReadFile,
    digests: FileDigests | None = None,
) -> Iterator[bytes | memoryview]:
    """Yield a dump with all that the component holds; the same for the same snapshot.

    ``nodes`` are all that it has, ``read`` yields the bytes of a file (of the only one, where the
    path is empty). What ``read`` raises leaves what was yielded no dump. ``digests`` is filled with
    what each file was, for `verify_dump`.
    """
    if digests is not None:
        read = _noting(read, digests)
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


def _noting(read: ReadFile, digests: FileDigests) -> ReadFile:
    def noted(place: Place) -> Iterator[bytes | memoryview]:
        hasher = blake3.blake3()
        for piece in read(place):
            hasher.update(piece)
            yield piece
        digests[place] = hasher.digest()

    return noted


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
        sync_folder(path.parent)
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


def verify_dump(path: Path, component: Component, digests: FileDigests) -> list[str]:
    """Read a dump that was written once more; return what that proves.

    ``digests`` are those of `make_component_dump`, as it was written.

    Raises:
        IntegrityError: it holds something else than was recorded.
        TargetError: it does not read back as it was written.
    """
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            # From the disk, where the system can forget what it knows.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if component.statistics.get("envelope") == OPAQUE:
            _compare(path, {(): _digest_of(file.read)}, digests)
            return [f"{BACKUP if is_backup(component) else 'dump'} as it was stored, byte for byte"]
        archive = _open(path, file)
        found: FileDigests = {}
        try:
            for entry, reader in archive.entries():
                if entry.type is NodeType.FILE:
                    found[entry.path] = _digest_of(reader.read)
        except NotWhole as error:
            raise _unreadable(path, str(error)) from error
    _compare(path, found, digests)
    statistics = component.statistics
    if (archive.files, archive.bytes) != (statistics.get("files"), statistics.get("bytes")):
        raise IntegrityError(
            f"{path}: {archive.files} files with {archive.bytes} bytes, recorded were "
            f"{statistics.get('files')} with {statistics.get('bytes')}",
            "restore an earlier snapshot",
        )
    return [f"dump whole: {archive.files} store files, as recorded at the backup"]


def _open(path: Path, file: BinaryIO) -> Archive:
    magic = file.read(MAGIC_BYTES)
    if magic != ZSTD_MAGIC:
        raise _unreadable(path, f"it begins with {magic!r}")
    try:
        return Archive(magic, file)
    except NotWhole as error:
        raise _unreadable(path, str(error)) from error


def _digest_of(read: Callable[[int], bytes]) -> bytes:
    hasher = blake3.blake3()
    while data := read(_READ_BYTES):
        hasher.update(data)
    return hasher.digest()


def _compare(path: Path, found: FileDigests, written: FileDigests) -> None:
    for place in sorted(found.keys() | written.keys()):
        if found.get(place) != written.get(place):
            raise _unreadable(path, b"/".join(place).decode("utf-8", "backslashreplace"))


def _unreadable(path: Path, what: str) -> TargetError:
    return TargetError(
        f"{path} reads back differently from what was written{': ' if what else ''}{what}",
        "the disk or this machine's memory makes errors: restore elsewhere",
    )
