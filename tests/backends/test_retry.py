import random
from collections.abc import Callable

import pytest

from snap.backends.base import (
    BackendError,
    BackendUnavailable,
    ObjectExists,
    ObjectNotFound,
    PermissionDenied,
    StorageFull,
)
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.backends.retry import RetryingBackend, RetryPolicy


class Waits:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def retrying(*faults: Fault, attempts: int = 4) -> tuple[RetryingBackend, FaultyBackend, Waits]:
    faulty, waits = FaultyBackend(MemoryBackend(), *faults), Waits()
    policy = RetryPolicy(attempts=attempts, first_wait_seconds=1, longest_wait_seconds=5)
    store = RetryingBackend(faulty, policy, sleep=waits, chance=random.Random(1))
    return store, faulty, waits


def test_what_is_unavailable_for_now_is_tried_again_with_growing_waits() -> None:
    store, faulty, waits = retrying(Fault("put", times=3))
    store.put("a", b"x")
    assert store.get("a") == b"x"
    assert len(faulty.calls) == 5
    assert all(0 <= s <= limit for s, limit in zip(waits.seconds, (2, 4, 5), strict=True))


def test_it_gives_up_after_so_many_attempts() -> None:
    store, faulty, waits = retrying(Fault("*", times=None))
    calls: list[Callable[[], object]] = [
        lambda: store.put("a", b"x"),
        lambda: store.put("a", b"x", exclusive=True),
        lambda: store.get("a"),
        lambda: store.stat("a"),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
    ]
    for call in calls:
        faulty.calls.clear()
        waits.seconds.clear()
        with pytest.raises(BackendUnavailable):
            call()
        assert (len(faulty.calls), len(waits.seconds)) == (4, 3)


def test_what_fails_twice_is_told_at_most_once_a_minute() -> None:
    told: list[str] = []
    now = 0.0
    faulty = FaultyBackend(MemoryBackend(), Fault("*", times=None))
    store = RetryingBackend(
        faulty,
        RetryPolicy(attempts=4),
        sleep=Waits(),
        seconds=lambda: now,
        tell=lambda error: told.append(str(error)),
    )
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            store.get("a")
    assert len(told) == 1
    now += 61
    with pytest.raises(BackendUnavailable):
        list(store.list(""))
    assert len(told) == 2
    now += 61
    faulty.faults[:] = [Fault("get", times=1)]
    with pytest.raises(ObjectNotFound):
        store.get("a")
    assert len(told) == 2, "one failure is not worth a word"


def test_it_gives_up_after_so_long() -> None:
    now = [1000.0]
    faulty = FaultyBackend(MemoryBackend(), Fault("get", times=None))

    def sleep(seconds: float) -> None:
        assert seconds > 0
        now[0] += seconds

    policy = RetryPolicy(
        attempts=10**6, first_wait_seconds=1, longest_wait_seconds=10, give_up_after_seconds=60
    )
    store = RetryingBackend(
        faulty, policy, sleep=sleep, seconds=lambda: now[0], chance=random.Random(1)
    )
    with pytest.raises(BackendUnavailable):
        store.get("a")
    assert now[0] == pytest.approx(1060)
    assert 10 < len(faulty.calls) < 40


def test_a_call_that_hung_before_it_failed_is_tried_again() -> None:
    now = [0.0]

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    hang = Fault("put", delay_seconds=7200)
    faulty = FaultyBackend(MemoryBackend(), hang, sleep=pass_time)
    store = RetryingBackend(faulty, sleep=pass_time, seconds=lambda: now[0])
    store.put("a", b"x")
    assert store.get("a") == b"x"


@pytest.mark.parametrize("error", [StorageFull, PermissionDenied, BackendError])
def test_what_is_final_is_not_tried_again(error: type[BackendError]) -> None:
    store, faulty, waits = retrying(Fault("put", times=None, error=lambda: error("final")))
    with pytest.raises(error):
        store.put("a", b"x")
    assert len(faulty.calls) == 1
    assert waits.seconds == []


def test_an_exclusive_put_whose_answer_was_lost_is_a_success() -> None:
    store, _, _ = retrying(Fault("put", late=True))
    store.put("a", b"ours", exclusive=True)
    assert store.get("a") == b"ours"
    with pytest.raises(ObjectExists):
        store.put("a", b"ours", exclusive=True)


def test_an_exclusive_put_that_lost_to_another_is_no_success() -> None:
    store, faulty, _ = retrying(Fault("put"))
    faulty._inner.put("a", b"theirs")
    with pytest.raises(ObjectExists):
        store.put("a", b"ours", exclusive=True)


def test_a_delete_whose_answer_was_lost_is_a_success() -> None:
    store, _, _ = retrying(Fault("delete", late=True))
    store.put("a", b"x")
    store.delete("a")
    with pytest.raises(ObjectNotFound):
        store.delete("a")


def test_a_listing_that_broke_off_has_each_object_once() -> None:
    store, _, _ = retrying(Fault("list", late=True, times=2))
    for n in range(10):
        store.put(f"d/{n}", b"x")
    assert sorted(s.name for s in store.list("d/")) == [f"d/{n}" for n in range(10)]


def test_an_object_that_was_there_and_is_gone_again_was_not_ours() -> None:
    late = Fault("put", prefix="a", late=True)
    gone = Fault("get", prefix="a", error=lambda: ObjectNotFound("deleted meanwhile"))
    store, _, _ = retrying(late, gone)
    with pytest.raises(ObjectExists):
        store.put("a", b"ours", exclusive=True)


def test_wrappers_have_the_place_of_the_store_and_close_it() -> None:
    class Closing(MemoryBackend):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    inner = Closing()
    store = RetryingBackend(FaultyBackend(inner))
    assert store.location == "memory"
    store.close()
    assert inner.closed == 1
