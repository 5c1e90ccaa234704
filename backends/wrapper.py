"""A store around another one: what the wrappers only pass on."""

from collections.abc import Iterator
from typing import Unpack

from .base import Backend, Buffer, ObjectStat, PutOptions


class Wrapper:
    """Passes everything on to another store; a subclass says what it does otherwise."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner

    @property
    def location(self) -> str:
        """Return the inner store's location."""
        return self._inner.location

    @property
    def parallel_requests(self) -> int:
        """Return the inner store's number."""
        return self._inner.parallel_requests

    @property
    def keeps_deleted(self) -> bool:
        """Return what the inner store knows."""
        return self._inner.keeps_deleted

    def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
        """Store an object."""
        self._inner.put(name, data, **options)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return an object or a range of it."""
        return self._inner.get(name, offset, length)

    def stat(self, name: str) -> ObjectStat:
        """Return size and time."""
        return self._inner.stat(name)

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """Yield the objects under ``prefix``."""
        return self._inner.list(prefix)

    def delete(self, name: str) -> None:
        """Remove an object."""
        self._inner.delete(name)

    def close(self) -> None:
        """Close the inner store."""
        self._inner.close()
