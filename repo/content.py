"""Reading file content: extents in order, their blobs fetched ahead."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from snap.backends.base import ObjectNotFound, ShortRead
from snap.errors import IntegrityError

from . import codec
from .codec import DecodeError
from .extents import Content, Extent, ExtentTable, UnknownLayout, decode_table, require_layout
from .ids import BlobId, Kind
from .repository import Repository

_KEPT_BYTES = 32 << 20
_KEPT_AT_LEAST = 2
_AHEAD_BYTES = 16 << 20
_AHEAD_ITEMS = 4096

DAMAGE = (IntegrityError, ShortRead, ObjectNotFound, UnknownLayout)
"""What reading a tree or an extent list raises where it is lost, or not for this version."""


def extents_of(repository: Repository, content: Content, where: str) -> Iterator[Extent]:
    """Yield the extents of a file in order; of records, those of one column after the other.

    Raises:
        UnknownLayout: a later version's layout.
        IntegrityError: a list of extents is missing or damaged.
    """
    require_layout(content, where)
    for part in content.parts:
        if part.extents is not None:
            yield from part.extents
        for id_, length in part.lists:
            yield from load_table(repository, part, id_, length).extents


def load_table(repository: Repository, content: Content, id_: BlobId, length: int) -> ExtentTable:
    """Return the extent table in one of the extents blobs of a file.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    plain = repository.load_blob(id_, Kind.EXTENTS)
    try:
        return decode_table(codec.decode(plain), length, content.paging)
    except DecodeError as error:
        raise IntegrityError(f"extents blob {id_.hex()}: {error}") from error


class OrderedReader:
    """Reads extents in order; blobs are fetched ahead in threads, and kept for a while.

    Plaintext of at most 32 MiB is kept, 16 MiB of it fetched ahead, and at least two blobs.
    """

    def __init__(self, repository: Repository, workers: int) -> None:
        self._repository = repository
        self._pool = ThreadPoolExecutor(workers, "snap-fetch")
        self._kept: OrderedDict[BlobId, tuple[Future[bytes], int]] = OrderedDict()
        self._kept_bytes = 0

    def __enter__(self) -> "OrderedReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read(self, extents: Iterable[Extent]) -> Iterator[memoryview | int]:
        """Yield the bytes of each extent; for a hole its length.

        Raises:
            IntegrityError: a blob is missing, damaged or too short.
        """
        rest = iter(extents)
        ahead: deque[tuple[Extent, Future[bytes] | None, int]] = deque()
        ahead_bytes = 0
        while True:
            while len(ahead) < _AHEAD_ITEMS and (ahead_bytes < _AHEAD_BYTES or not ahead):
                extent = next(rest, None)
                if extent is None:
                    break
                future, new_bytes = self._start(extent.blob)
                ahead.append((extent, future, new_bytes))
                ahead_bytes += new_bytes
            if not ahead:
                return
            extent, future, new_bytes = ahead.popleft()
            ahead_bytes -= new_bytes
            yield extent.length if future is None else _slice(future.result(), extent)

    def _start(self, id_: BlobId | None) -> tuple[Future[bytes] | None, int]:
        """Return the blob that is kept, or begin to fetch it; and how much more that takes."""
        if id_ is None:
            return None, 0
        if id_ in self._kept:
            self._kept.move_to_end(id_)
            return self._kept[id_][0], 0
        places = self._repository.cache.locate(id_)
        size = places[0].entry.raw_length if places else 0
        future = self._pool.submit(self._repository.load_blob, id_, Kind.DATA)
        self._kept[id_] = future, size
        self._kept_bytes += size
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > _KEPT_AT_LEAST:
            _, (_, gone_bytes) = self._kept.popitem(last=False)
            self._kept_bytes -= gone_bytes
        return future, size


def _slice(plain: bytes, extent: Extent) -> memoryview:
    end = extent.offset + extent.length
    if end > len(plain):
        raise IntegrityError("an extent reaches beyond its blob")
    return memoryview(plain)[extent.offset : end]
