"""Trying again what failed for now.

Only `BackendUnavailable` is retried: everything else is final by its class.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from .base import Backend, BackendUnavailable, Buffer, ObjectExists, ObjectNotFound, ObjectStat

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try.

    The wait before attempt n is random between 0 and ``first_wait * 2**n`` seconds, at most
    ``longest_wait`` (full jitter: hosts that failed together do not come back together).
    """

    attempts: int = 6
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0


class RetryingBackend:
    """A store that tries again when another store is unavailable."""

    def __init__(
        self,
        inner: Backend,
        policy: RetryPolicy | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        chance: random.Random | None = None,
    ) -> None:
        self._inner = inner
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._chance = chance or random.Random()

    @property
    def location(self) -> str:
        """Return the inner store's location."""
        return self._inner.location

    def _try(self, action: Callable[[], _T]) -> _T:
        for attempt in range(1, self._policy.attempts):
            try:
                return action()
            except BackendUnavailable:
                self._wait(attempt)
        return action()

    def _wait(self, attempt: int) -> None:
        longest = min(
            self._policy.longest_wait_seconds, self._policy.first_wait_seconds * 2**attempt
        )
        self._sleep(self._chance.uniform(0, longest))

    def put(self, name: str, data: Buffer, *, exclusive: bool = False) -> None:
        """Store an object; an exclusive put that arrived though it seemed to fail is a success."""
        if not exclusive:
            self._try(lambda: self._inner.put(name, data))
            return
        doubtful = False
        for attempt in range(1, self._policy.attempts + 1):
            try:
                self._inner.put(name, data, exclusive=True)
            except ObjectExists:
                if doubtful and self._holds(name, data):
                    return
                raise
            except BackendUnavailable:
                doubtful = True
                if attempt == self._policy.attempts:
                    raise
                self._wait(attempt)
            else:
                return

    def _holds(self, name: str, data: Buffer) -> bool:
        try:
            return self.get(name) == bytes(data)
        except ObjectNotFound:
            return False

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return an object or a range of it."""
        return self._try(lambda: self._inner.get(name, offset, length))

    def stat(self, name: str) -> ObjectStat:
        """Return size and time."""
        return self._try(lambda: self._inner.stat(name))

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """Yield each object once, also where the listing had to begin anew."""
        seen: set[str] = set()
        for attempt in range(1, self._policy.attempts + 1):
            try:
                for stat in self._inner.list(prefix):
                    if stat.name not in seen:
                        seen.add(stat.name)
                        yield stat
            except BackendUnavailable:
                if attempt == self._policy.attempts:
                    raise
                self._wait(attempt)
            else:
                return

    def delete(self, name: str) -> None:
        """Remove an object; one that is gone after a doubtful attempt counts as removed."""
        doubtful = False

        def attempt() -> None:
            nonlocal doubtful
            try:
                self._inner.delete(name)
            except ObjectNotFound:
                if not doubtful:
                    raise
            except BackendUnavailable:
                doubtful = True
                raise

        self._try(attempt)

    def close(self) -> None:
        """Close the inner store."""
        self._inner.close()
