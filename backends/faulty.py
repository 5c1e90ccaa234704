"""A store that fails as it is told to: for tests of everything that must survive failures."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .base import Backend, BackendError, BackendUnavailable, Buffer, ObjectStat


@dataclass(slots=True)
class Fault:
    """What goes wrong, and when.

    Attributes:
        operation: ``put``, ``get``, ``stat``, ``list`` or ``delete``; ``*`` is any.
        prefix: Names that it concerns.
        at: The how-manieth matching call fails, counted from 1.
        times: How many calls in a row fail from there on; None is all.
        error: What is raised; None lets the call go on.
        change: Applied to what ``get`` returns or ``put`` stores: cuts it short, flips bits.
        late: Raise only after the inner store has done it: an answer that was lost.
        delay_seconds: How long the call takes, by the store's ``sleep``, before all else.
        omit: Leave these names out of listings.
    """

    operation: str
    prefix: str = ""
    at: int = 1
    times: int | None = 1
    error: Callable[[], BackendError] | None = field(
        default=lambda: BackendUnavailable("injected: unavailable")
    )
    change: Callable[[bytes], bytes] | None = None
    late: bool = False
    delay_seconds: float = 0.0
    omit: frozenset[str] = frozenset()
    calls: int = 0

    def strikes(self, operation: str, name: str) -> bool:
        """Count a call and return whether it is to fail."""
        if self.operation not in (operation, "*") or not name.startswith(self.prefix):
            return False
        self.calls += 1
        over = self.times is not None and self.calls >= self.at + self.times
        return self.calls >= self.at and not over


class FaultyBackend:
    """Passes everything on to another store, but for the faults that strike."""

    def __init__(
        self, inner: Backend, *faults: Fault, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._inner = inner
        self._sleep = sleep
        self._lock = threading.Lock()
        self.faults = list(faults)
        self.calls: list[tuple[str, str]] = []

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

    def _struck(self, operation: str, name: str) -> list[Fault]:
        with self._lock:
            self.calls.append((operation, name))
            struck = [fault for fault in self.faults if fault.strikes(operation, name)]
        for fault in struck:
            if fault.delay_seconds:
                self._sleep(fault.delay_seconds)
            if fault.error is not None and not fault.late:
                raise fault.error()
        return struck

    def put(
        self,
        name: str,
        data: Buffer,
        *,
        exclusive: bool = False,
        retain_until_ns: int | None = None,
    ) -> None:
        """Store an object, spoiled where a fault says so."""
        struck = self._struck("put", name)
        self._inner.put(
            name,
            _changed(struck, bytes(data)),
            exclusive=exclusive,
            retain_until_ns=retain_until_ns,
        )
        _raise_late(struck)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return an object, spoiled where a fault says so."""
        struck = self._struck("get", name)
        data = _changed(struck, self._inner.get(name, offset, length))
        _raise_late(struck)
        return data

    def stat(self, name: str) -> ObjectStat:
        """Return size and time."""
        struck = self._struck("stat", name)
        found = self._inner.stat(name)
        _raise_late(struck)
        return found

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """Yield the objects; a late fault strikes in the middle."""
        struck = self._struck("list", prefix)
        omitted = frozenset[str]().union(*(fault.omit for fault in struck))
        found = [stat for stat in self._inner.list(prefix) if stat.name not in omitted]
        yield from found[: len(found) // 2]
        _raise_late(struck)
        yield from found[len(found) // 2 :]

    def delete(self, name: str) -> None:
        """Remove an object."""
        struck = self._struck("delete", name)
        self._inner.delete(name)
        _raise_late(struck)

    def close(self) -> None:
        """Close the inner store."""
        self._inner.close()


def _changed(struck: list[Fault], data: bytes) -> bytes:
    for fault in struck:
        if fault.change is not None:
            data = fault.change(data)
    return data


def _raise_late(struck: list[Fault]) -> None:
    for fault in struck:
        if fault.error is not None and fault.late:
            raise fault.error()
