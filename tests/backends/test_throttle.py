import threading
from dataclasses import dataclass, field

import pytest

from snap.backends.base import Backend, BackendUnavailable, ObjectNotFound
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.backends.retry import RetryingBackend
from snap.backends.throttle import Limits, ThrottledBackend

from .contract import BackendContract, run_all


@dataclass
class FakeTime:
    """A clock that moves only when somebody sleeps, for the one who sleeps longest."""

    now: float = 100.0
    slept: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.now += seconds

    def seconds(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


def throttled(clock: FakeTime, inner: Backend | None = None, **limits: float) -> ThrottledBackend:
    return ThrottledBackend(
        inner or MemoryBackend(), Limits(**limits), sleep=clock.sleep, seconds=clock.seconds
    )


class TestThrottled(BackendContract):
    @pytest.fixture
    def backend(self, clock: FakeTime) -> Backend:
        return throttled(clock, upload=1000, download=1000)


class TestUnlimited(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return ThrottledBackend(MemoryBackend(), Limits())


def test_uploads_take_as_long_as_the_limit_says(clock: FakeTime) -> None:
    store = throttled(clock, upload=100)
    for n in range(5):
        store.put(f"{n}", bytes(50))
    assert clock.slept == [0.5] * 4
    assert clock.now == 102.0


def test_downloads_are_counted_whether_their_length_is_known_or_not(clock: FakeTime) -> None:
    store = throttled(clock, download=100)
    store.put("a", bytes(200))
    assert clock.slept == []
    store.get("a")
    assert clock.slept == []
    store.get("a", 0, 100)
    store.get("a", 0, 100)
    assert clock.slept == [2.0, 1.0]
    with pytest.raises(ObjectNotFound):
        store.get("none")
    assert clock.slept == [2.0, 1.0, 1.0]


def test_each_direction_has_its_own_limit(clock: FakeTime) -> None:
    store = throttled(clock, upload=10)
    store.put("a", bytes(1000))
    store.get("a")
    store.get("a")
    store.stat("a")
    assert list(store.list(""))
    assert clock.slept == []
    store.delete("a")
    store.put("b", bytes(1))
    assert clock.slept == [100.0]


def test_time_that_passed_without_a_transfer_is_not_saved_up(clock: FakeTime) -> None:
    store = throttled(clock, upload=100)
    store.put("a", bytes(100))
    clock.now += 3600
    store.put("b", bytes(100))
    assert clock.slept == []
    store.put("c", bytes(100))
    assert clock.slept == [1.0]


def test_the_limit_is_that_of_all_threads_together() -> None:
    waited: list[float] = []
    store = ThrottledBackend(
        MemoryBackend(), Limits(upload=100), sleep=waited.append, seconds=lambda: 7.0
    )
    run_all([lambda n=n: store.put(f"{n}", bytes(100)) for n in range(8)])  # type: ignore[misc]
    assert sorted(waited) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_what_is_sent_again_is_counted_again(clock: FakeTime) -> None:
    lost = Fault("put", times=2, late=True, error=lambda: BackendUnavailable("lost"))
    limited = throttled(clock, FaultyBackend(MemoryBackend(), lost), upload=100)
    RetryingBackend(limited, sleep=lambda _: None).put("a", bytes(100))
    assert clock.slept == [1.0, 1.0]


def test_any_buffer_is_measured_in_bytes(clock: FakeTime) -> None:
    store = throttled(clock, upload=100)
    store.put("a", memoryview(bytearray(100)))
    store.put("b", b"")
    assert clock.slept == [1.0]
