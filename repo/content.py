"""Reading file content: extents in order, their blobs fetched ahead."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from snap.errors import IntegrityError

from . import codec
from .codec import DecodeError
from .extents import Content, Extent, ExtentTable, decode_table, require_layout
from .ids import BlobId, Kind
from .repository import Repository

_WINDOW_BYTES = 32 << 20
_WINDOW_ITEMS = 512
_SHARED_BLOBS = 4
_T = TypeVar("_T")


def extents_of(repository: Repository, content: Content, where: str) -> Iterator[Extent]:
    """Yield the extents of a file in order.

    Raises:
        UnknownLayout: a later version's layout.
        IntegrityError: a list of extents is missing or damaged.
    """
    require_layout(content, where)
    if content.extents is not None:
        yield from content.extents
        return
    for id_, length in content.lists:
        yield from load_table(repository, content, id_, length).extents


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


@dataclass(frozen=True, slots=True)
class FetchedExtent:
    """An extent with the blob that holds it; ``blob`` is None for a hole."""

    extent: Extent
    blob: Future[bytes] | None

    def bytes(self) -> memoryview:
        """Return the extent's bytes, waiting for them.

        Raises:
            IntegrityError: the blob is missing, damaged or too short.
        """
        if self.blob is None:
            raise ValueError("a hole has no bytes")
        plain = self.blob.result()
        end = self.extent.offset + self.extent.length
        if end > len(plain):
            raise IntegrityError("an extent reaches beyond its blob")
        return memoryview(plain)[self.extent.offset : end]


class Prefetcher(Generic[_T]):
    """Runs ahead over a stream of marks and extents, fetching blobs in threads.

    The stream holds marks (whatever the caller wants back, in order) and extents; what is fetched
    and not yet taken stays under 32 MiB and 512 items.
    """

    def __init__(self, repository: Repository, stream: Iterable[_T | Extent], workers: int) -> None:
        self._repository = repository
        self._stream = iter(stream)
        self._pool = ThreadPoolExecutor(workers, "snap-fetch")
        self._ahead: deque[_T | FetchedExtent] = deque()
        self._ahead_bytes = 0
        self._shared: OrderedDict[BlobId, Future[bytes]] = OrderedDict()
        self._ended = False

    def __enter__(self) -> "Prefetcher[_T]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[_T | FetchedExtent]:
        while True:
            self._fill()
            if not self._ahead:
                return
            item = self._ahead.popleft()
            if isinstance(item, FetchedExtent) and item.blob is not None:
                self._ahead_bytes -= item.extent.length
            yield item

    def _fill(self) -> None:
        while (
            not self._ended
            and len(self._ahead) < _WINDOW_ITEMS
            and (self._ahead_bytes < _WINDOW_BYTES or not self._ahead)
        ):
            item = next(self._stream, None)
            if item is None:
                self._ended = True
            elif isinstance(item, Extent):
                self._ahead.append(self._start(item))
            else:
                self._ahead.append(item)

    def _start(self, extent: Extent) -> FetchedExtent:
        if extent.blob is None:
            return FetchedExtent(extent, None)
        self._ahead_bytes += extent.length
        future = self._shared.get(extent.blob)
        if future is None:
            future = self._pool.submit(self._repository.load_blob, extent.blob, Kind.DATA)
            self._shared[extent.blob] = future
            if len(self._shared) > _SHARED_BLOBS:
                self._shared.popitem(last=False)
        return FetchedExtent(extent, future)
