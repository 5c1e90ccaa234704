"""Objects as bytes: anyone can tell without a key whether one is what its name says."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from snap.backends.base import Backend
from snap.errors import IntegrityError

from .ids import id_of_name, object_id

IN_FLIGHT_BYTES = 96 << 20
"""Three packs: enough to keep a line busy, and a third of the memory that a command may use."""
WORKERS = 8


class StoredObject(NamedTuple):
    """An object's name and how large it is, or should be."""

    name: str
    size_bytes: int


def get_verified(backend: Backend, name: str) -> bytes:
    """Return a content-addressed object, checked against its name.

    Raises:
        IntegrityError: its bytes do not have the hash that its name says.
        ObjectNotFound: there is none.
    """
    stored = backend.get(name)
    if object_id(stored) != id_of_name(name):
        raise IntegrityError(f"{name}: damaged: its bytes do not have the hash in its name")
    return stored


def list_sizes(backend: Backend, prefix: str) -> dict[str, int]:
    """Return the content-addressed objects under a prefix with their sizes in bytes."""
    return {
        stat.name: stat.size_bytes
        for stat in backend.list(prefix)
        if id_of_name(stat.name) is not None
    }


def each_object(
    objects: Iterable[StoredObject],
    work: Callable[[StoredObject], None],
    *,
    workers: int = WORKERS,
    in_flight_bytes: int = IN_FLIGHT_BYTES,
) -> None:
    """Do ``work`` on every object in several threads, about so many bytes at a time.

    The first error ends it: what runs is waited for, what waits is not begun. An object that is
    larger than the bound is worked on alone.
    """
    room = _Room(in_flight_bytes)
    running: deque[Future[None]] = deque()
    pool = ThreadPoolExecutor(workers, "snap-transfer")

    def guarded(one: StoredObject) -> None:
        try:
            work(one)
        finally:
            room.leave(one.size_bytes)

    try:
        for one in objects:
            room.enter(one.size_bytes)
            running.append(pool.submit(guarded, one))
            while len(running) > 2 * workers or any(f.done() for f in running):
                done = next((f for f in running if f.done()), running[0])
                running.remove(done)
                done.result()
        while running:
            running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_T = TypeVar("_T")
_R = TypeVar("_R")


def in_order(
    items: Iterable[_T],
    work: Callable[[_T], _R],
    *,
    size_of: Callable[[_T], int],
    workers: int,
    in_flight_bytes: int = IN_FLIGHT_BYTES,
) -> Iterator[tuple[_T, _R]]:
    """Yield each item with what ``work`` made of it, in their order, worked on a few ahead.

    About so many bytes wait to be taken at most. The first error ends it.
    """
    running: deque[tuple[_T, Future[_R]]] = deque()
    waiting = 0
    pool = ThreadPoolExecutor(workers, "snap-read")

    def next_one() -> tuple[_T, _R]:
        item, future = running.popleft()
        return item, future.result()

    try:
        for item in items:
            while running and (
                waiting + size_of(item) > in_flight_bytes or len(running) > 2 * workers
            ):
                done = next_one()
                yield done
                waiting -= size_of(done[0])
                # Not kept while the next is waited for: it may be large.
                del done
            waiting += size_of(item)
            running.append((item, pool.submit(work, item)))
        while running:
            yield next_one()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Room:
    """Lets in so many bytes at a time."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._taken = 0
        self._changed = threading.Condition()

    def enter(self, count_bytes: int) -> None:
        with self._changed:
            count = min(count_bytes, self._limit)
            self._changed.wait_for(lambda: self._taken + count <= self._limit)
            self._taken += count

    def leave(self, count_bytes: int) -> None:
        with self._changed:
            self._taken -= min(count_bytes, self._limit)
            self._changed.notify_all()
