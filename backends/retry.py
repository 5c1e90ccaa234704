"""Trying again what failed for now.

Only `BackendUnavailable` is retried: everything else is final by its class.
"""

import random
import threading
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
_SILENT_SECONDS = 60.0
"""So long nothing is told again of a store that fails on and on."""


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
        tell: Callable[[BackendUnavailable], None] | None = None,
    ) -> None:
        """Try what fails for now again.

        ``tell`` hears of a failure when the same was in vain twice, at most once a minute; on the
        thread that waits.
        """
        super().__init__(inner)
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._seconds = seconds
        self._chance = chance or random.Random()
        self._tell = tell
        self._told_lock = threading.Lock()
        self._told_at = float("-inf")

    def _try(self, action: Callable[[], _T]) -> _T:
        failures = self._begin()
        while True:
            try:
                return action()
            except BackendUnavailable as error:
                if not self._wait(failures, error):
                    raise

    def _wait(self, failures: "_Failures", error: BackendUnavailable) -> bool:
        """Wait before the next attempt; False when there is to be none."""
        if not failures.may_go_on():
            return False
        if failures.count > 1 and self._tell is not None:
            now = self._seconds()
            with self._told_lock:
                is_news = now - self._told_at >= _SILENT_SECONDS
                self._told_at = now if is_news else self._told_at
            if is_news:
                self._tell(error)
        failures.wait()
        return True

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
            except BackendUnavailable as error:
                if not self._wait(failures, error):
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
        self.count = 0
        self._left = 0.0
        self._end = 0.0

    def may_go_on(self) -> bool:
        """Count a failure; return whether there is to be another attempt."""
        policy, now = self._policy, self._seconds()
        self.count += 1
        if self.count == 1:
            self._end = now + policy.give_up_after_seconds
        self._left = self._end - now
        return self.count < policy.attempts and self._left > 0

    def wait(self) -> None:
        """Wait before the next attempt."""
        policy = self._policy
        longest = min(policy.longest_wait_seconds, policy.first_wait_seconds * 2**self.count)
        self._sleep(min(self._left, self._chance.uniform(0, longest)))
