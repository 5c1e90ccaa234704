"""Trying again what failed for now.

Only `BackendUnavailable` is retried: everything else is final by its class.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar, Unpack

from .base import (
    Backend,
    BackendUnavailable,
    Buffer,
    ObjectExists,
    ObjectNotFound,
    ObjectStat,
    PutOptions,
)
from .pause import PROCESS_PAUSES
from .wrapper import Wrapper

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try.

    The wait before attempt n is random between 0 and ``first_wait_seconds * 2**n``, at most
    ``longest_wait_seconds`` (full jitter: hosts that failed together do not come back together).
    No attempt is begun more than ``give_up_after_seconds`` after the first failure.
    """

    attempts: int = 6
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    give_up_after_seconds: float = 300.0


class RetryingBackend(Wrapper):
    """A store that tries again when another store is unavailable."""

    def __init__(
        self,
        inner: Backend,
        policy: RetryPolicy | None = None,
        *,
        sleep: Callable[[float], None] = PROCESS_PAUSES.pause,
        seconds: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        super().__init__(inner)
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._seconds = seconds
        self._chance = chance or random.Random()

    def _try(self, action: Callable[[], _T]) -> _T:
        failures = self._begin()
        while True:
            try:
                return action()
            except BackendUnavailable:
                if not failures.wait():
                    raise

    def _begin(self) -> "_Failures":
        return _Failures(self._policy, self._sleep, self._seconds, self._chance)

    def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
        """Store an object; an exclusive put that arrived though it seemed to fail is a success."""
        if not options.get("exclusive"):
            self._try(lambda: self._inner.put(name, data, **options))
            return
        doubtful = False

        def attempt() -> None:
            nonlocal doubtful
            try:
                self._inner.put(name, data, **options)
            except ObjectExists:
                if not (doubtful and self._holds(name, data)):
                    raise
            except BackendUnavailable:
                doubtful = True
                raise

        self._try(attempt)

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
        failures = self._begin()
        while True:
            try:
                for stat in self._inner.list(prefix):
                    if stat.name not in seen:
                        seen.add(stat.name)
                        yield stat
            except BackendUnavailable:
                if not failures.wait():
                    raise
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


class _Failures:
    """The failed attempts of one operation: how many there were, and until when to go on."""

    def __init__(
        self,
        policy: RetryPolicy,
        sleep: Callable[[float], None],
        seconds: Callable[[], float],
        chance: random.Random,
    ) -> None:
        self._policy = policy
        self._sleep = sleep
        self._seconds = seconds
        self._chance = chance
        self._count = 0
        self._end = 0.0

    def wait(self) -> bool:
        """Count a failure and wait before the next attempt; False when there is to be none."""
        policy, now = self._policy, self._seconds()
        self._count += 1
        if self._count == 1:
            self._end = now + policy.give_up_after_seconds
        if self._count >= policy.attempts or now >= self._end:
            return False
        longest = min(policy.longest_wait_seconds, policy.first_wait_seconds * 2**self._count)
        self._sleep(min(self._end - now, self._chance.uniform(0, longest)))
        return True
