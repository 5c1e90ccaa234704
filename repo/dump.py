"""One file of a snapshot as a stream."""

from collections.abc import Iterator

from snap.errors import IntegrityError

from .browse import PathNotFound, Place, find_node, read_directory, require_tree
from .content import OrderedReader, extents_of
from .extents import Content
from .interleave import read_records
from .repository import Repository
from .snapshot import Snapshot
from .source import NodeType

_FETCHERS = 4
_JOINED_BYTES = 256 << 10
"""Neighbours below this are yielded together, so that pages do not become a write each."""
_ZEROS = bytes(1 << 20)


def dump_file(
    repository: Repository, snapshot: Snapshot, component: str, path: Place
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of one file in order; holes as zeros, memory bounded.

    With an empty path, the only file of a component that has just one.

    Raises:
        PathNotFound: no such file.
        FullKeyRequired: the key in use is a writer's.
        IntegrityError: something it needs is missing or damaged.
    """
    repository.require_full("read a file")
    repository.load_readable_index()
    if not path:
        path = _only_file(repository, snapshot, component)
    node = find_node(repository, snapshot, component, path)
    where = b"/".join(path).decode("utf-8", "backslashreplace")
    if node.content is None:
        raise PathNotFound(f"{where} is not a file", f"'snap ls' shows what is in a {node.type}")
    return _stream(repository, node.content, where)


def _only_file(repository: Repository, snapshot: Snapshot, component: str) -> Place:
    nodes = read_directory(repository, require_tree(snapshot, component).subtree or ())
    first, second = next(nodes, None), next(nodes, None)
    if first is None or second is not None or first.type is not NodeType.FILE:
        raise PathNotFound(
            f"component {component!r} is not a single file",
            f"name the file: {snapshot.short_id}:{component}/...",
        )
    return (first.name,)


def _stream(repository: Repository, content: Content, where: str) -> Iterator[bytes | memoryview]:
    with OrderedReader(repository, _FETCHERS) as reader:
        try:
            if content.columns:
                yield from _join(read_records(repository, reader, content, where))
            else:
                yield from _join(reader.read(extents_of(repository, content, where)))
        except IntegrityError as error:
            raise IntegrityError(f"{where}: {error}", error.hint) from error


def _join(parts: Iterator[memoryview | int]) -> Iterator[bytes | memoryview]:
    """Yield what extents hold: small neighbours as one piece, holes as zeros."""
    small: list[memoryview] = []
    small_bytes = 0
    for part in parts:
        for piece in _zeros(part) if isinstance(part, int) else (part,):
            if small and small_bytes + len(piece) > _JOINED_BYTES:
                yield b"".join(small)
                small, small_bytes = [], 0
            if len(piece) >= _JOINED_BYTES:
                yield piece
            else:
                small.append(piece)
                small_bytes += len(piece)
    if small:
        yield b"".join(small)


def _zeros(length: int) -> Iterator[memoryview]:
    view = memoryview(_ZEROS)
    while length > 0:
        yield view[: min(length, len(_ZEROS))]
        length -= len(_ZEROS)
