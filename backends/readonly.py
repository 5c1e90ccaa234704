"""A store that nothing can be written to."""

from collections.abc import Iterator

from .base import Backend, Buffer, ObjectStat, PermissionDenied


class ReadOnlyBackend:
    """Passes reads on to another store and refuses everything else."""

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

    def put(
        self,
        name: str,
        data: Buffer,
        *,
        exclusive: bool = False,
        retain_until_ns: int | None = None,
    ) -> None:
        """Refuse."""
        raise PermissionDenied(f"{name}: {self.location} was opened for reading only")

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
        """Refuse."""
        raise PermissionDenied(f"{name}: {self.location} was opened for reading only")

    def close(self) -> None:
        """Close the inner store."""
        self._inner.close()
