"""No more bytes a second than the line is to carry for us."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Unpack

from .base import Backend, Buffer, PutOptions
from .pause import PROCESS_PAUSES
from .wrapper import Wrapper


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes a second each way, over all threads; None for no limit."""

    upload: float | None = None
    download: float | None = None


class ThrottledBackend(Wrapper):
    """A store that makes its callers wait, so that its line carries what it may and no more.

    The measure is the whole object: one goes at the speed of the line, and the next waits until
    the time of all before it has passed. The first does not wait. Only content is measured:
    everything else is done at once.
    """

    def __init__(
        self,
        inner: Backend,
        limits: Limits,
        *,
        sleep: Callable[[float], None] = PROCESS_PAUSES.pause_if_going_on,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self._up = _Meter(limits.upload, sleep, seconds)
        self._down = _Meter(limits.download, sleep, seconds)

    def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
        """Wait for the line, and store an object."""
        self._up.wait_for(memoryview(data).nbytes)
        super().put(name, data, **options)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Wait for the line, and return an object or a range of it."""
        self._down.wait_for(length or 0)
        data = super().get(name, offset, length)
        if length is None:
            self._down.count(len(data))
        return data


class _Meter:
    """When the line is free again, were it as slow as it is to be taken for."""

    def __init__(
        self,
        bytes_per_second: float | None,
        sleep: Callable[[float], None],
        seconds: Callable[[], float],
    ) -> None:
        self._bytes_per_second = bytes_per_second
        self._sleep = sleep
        self._seconds = seconds
        self._lock = threading.Lock()
        self._free_at = float("-inf")

    def wait_for(self, size_bytes: int) -> None:
        """Take a place in the queue for so many bytes, and wait until it is there."""
        if self._bytes_per_second is None:
            return
        with self._lock:
            now = self._seconds()
            begin = max(now, self._free_at)
            self._free_at = begin + size_bytes / self._bytes_per_second
        if begin > now:
            self._sleep(begin - now)

    def count(self, size_bytes: int) -> None:
        """Count bytes that were transferred; the next who waits pays for them."""
        if self._bytes_per_second is None:
            return
        with self._lock:
            start = max(self._seconds(), self._free_at)
            self._free_at = start + size_bytes / self._bytes_per_second
