"""What a store of named bytes promises, and the errors it may raise.

Every store and every wrapper passes ``tests/backends/contract.py``, which is this page as tests.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypedDict

from snap.errors import SnapError, UsageError

Buffer = bytes | bytearray | memoryview

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


class BackendError(SnapError):
    """A store failed in a way that trying again does not mend."""


class ObjectNotFound(BackendError):
    """No object has this name."""


class ObjectExists(BackendError):
    """An exclusive put found an object of this name."""


class PermissionDenied(BackendError):
    """The store refuses this operation to us."""


class ObjectRetained(PermissionDenied):
    """The store keeps this object until its retention has ended: try the deletion again later."""


class RetentionUnsupported(BackendError):
    """The store cannot protect objects from deletion for a time."""


class StorageFull(BackendError):
    """The store has no room; what was being put is not there."""


class ShortRead(BackendError):
    """The object does not have the range that was asked for: it is shorter than it should be."""


class BackendUnavailable(BackendError):
    """The store did not answer or failed for now: the only class that is retried."""


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """An object's name, size in bytes, and time of its last put by the store's clock."""

    name: str
    size_bytes: int
    modified_ns: int


class PutOptions(TypedDict, total=False):
    """The options of `Backend.put`, for who passes them on as they are."""

    exclusive: bool
    retain_until_ns: int | None


class Backend(Protocol):
    """A store of named bytes. Safe to use from several threads at once.

    Names are relative, of ``[A-Za-z0-9._-]`` parts joined by ``/`` (`check_name`);
    no part begins with a dot.
    """

    @property
    def location(self) -> str:
        """Where the store is, for messages; never holds a secret."""
        ...

    @property
    def parallel_requests(self) -> int:
        """How many puts or gets at once make it fast: 1 where one already uses all of it."""
        ...

    @property
    def keeps_deleted(self) -> bool:
        """Whether something that was deleted through this is known to stay as an old version.

        It is gone for readers of names; it takes room, and who may read old versions has it.
        """
        ...

    def put(
        self,
        name: str,
        data: Buffer,
        *,
        exclusive: bool = False,
        retain_until_ns: int | None = None,
    ) -> None:
        """Store ``data`` under ``name``, replacing what was there.

        All or nothing: whatever happens, a reader sees the old object, none, or all of
        ``data``. On return the object is durable and visible to every reader.

        Args:
            name: The object's name.
            data: The whole object.
            exclusive: Fail with `ObjectExists` when the name is taken; of several
                writers racing, exactly one succeeds.
            retain_until_ns: Ask the store to refuse deleting and replacing the object until
                then, by its own clock, whoever asks (S3 Object Lock). None leaves it to the
                store's own default.

        Raises:
            ObjectExists: exclusive, and there is such an object.
            RetentionUnsupported: ``retain_until_ns``, and the store cannot do that; nothing
                was stored.
            StorageFull: no room; nothing was stored.
            BackendError: any other failure, by its class.
        """
        ...

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return the object's bytes, or ``length`` of them from ``offset``.

        Never fewer than asked. ``length`` None reads to the end.

        Raises:
            ObjectNotFound: no such object.
            ShortRead: the object ends before ``offset + length``.
        """
        ...

    def stat(self, name: str) -> ObjectStat:
        """Return size and time of one object.

        Raises:
            ObjectNotFound: no such object.
        """
        ...

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """Yield every object whose name begins with ``prefix``, in no set order.

        ``prefix`` is empty or ends with ``/`` (`check_prefix`). Complete: an object that was
        there when the listing began and still is when it ends is yielded, once.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove an object; durable on return.

        Raises:
            ObjectRetained: the store keeps it for a while yet; it is still there.
            ObjectNotFound: no such object. A store that retries cannot tell that from its own
                earlier attempt whose answer was lost, and then takes it for done.
        """
        ...

    def close(self) -> None:
        """Release connections and threads. The store stays as it is."""
        ...


def refuse_retention(location: str, retain_until_ns: int | None) -> None:
    """Refuse a put with retention, for a store that knows none.

    Raises:
        RetentionUnsupported: ``retain_until_ns`` is given.
    """
    if retain_until_ns is not None:
        raise RetentionUnsupported(
            f"{location} cannot protect objects from deletion for a time",
            "use an S3 bucket with Object Lock, or take the retention out of the configuration",
        )


def check_name(name: str) -> str:
    """Return ``name`` if it is one that every store can hold, else raise UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"not a valid object name: {name!r}")
    return name


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is empty or a valid name and a slash, else raise UsageError."""
    if prefix and not (prefix.endswith("/") and _NAME.fullmatch(prefix[:-1])):
        raise UsageError(f"not a valid prefix of object names: {prefix!r}")
    return prefix
