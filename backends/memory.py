"""A store in memory, for tests and for trying things out: gone with the process."""

import threading
import time
from collections.abc import Callable, Iterator

from .base import (
    Buffer,
    ObjectExists,
    ObjectNotFound,
    ObjectStat,
    ShortRead,
    check_name,
    check_prefix,
    refuse_retention,
)


class MemoryBackend:
    """Keeps objects in a dict. ``clock`` gives the store's time in nanoseconds."""

    location = "memory"
    parallel_requests = 1
    keeps_deleted = False

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:  # noqa: TID251 - the store's own clock
        self._clock = clock
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[bytes, int]] = {}

    def put(
        self,
        name: str,
        data: Buffer,
        *,
        exclusive: bool = False,
        retain_until_ns: int | None = None,
    ) -> None:
        """Store a copy of ``data``."""
        check_name(name)
        refuse_retention(self.location, retain_until_ns)
        with self._lock:
            if exclusive and name in self._objects:
                raise ObjectExists(f"{name}: exists already")
            self._objects[name] = (bytes(data), self._clock())

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return the object or a range of it."""
        data, _ = self._find(name)
        end = len(data) if length is None else offset + length
        if offset > len(data) or end > len(data):
            raise ShortRead(f"{name}: {len(data)} bytes long, {end} were asked for")
        return data[offset:end]

    def stat(self, name: str) -> ObjectStat:
        """Return size and time."""
        data, modified_ns = self._find(name)
        return ObjectStat(name, len(data), modified_ns)

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """Yield the objects under ``prefix`` as they are at the first step."""
        check_prefix(prefix)
        with self._lock:
            found = [
                ObjectStat(name, len(data), modified_ns)
                for name, (data, modified_ns) in self._objects.items()
                if name.startswith(prefix)
            ]
        yield from found

    def delete(self, name: str) -> None:
        """Remove an object."""
        check_name(name)
        with self._lock:
            if self._objects.pop(name, None) is None:
                raise ObjectNotFound(f"{name}: not found")

    def close(self) -> None:
        """Keep everything: the objects live as long as this object does."""

    def _find(self, name: str) -> tuple[bytes, int]:
        check_name(name)
        with self._lock:
            found = self._objects.get(name)
        if found is None:
            raise ObjectNotFound(f"{name}: not found")
        return found
