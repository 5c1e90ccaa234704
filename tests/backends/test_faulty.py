import pytest

from snap.backends.base import BackendUnavailable, StorageFull
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend


def test_the_nth_matching_call_fails_and_the_others_pass() -> None:
    full = Fault("put", prefix="data/", at=2, times=2, error=lambda: StorageFull("full"))
    store = FaultyBackend(MemoryBackend(), full)
    store.put("data/1", b"x")
    store.put("other", b"x")
    for name in ("data/2", "data/3"):
        with pytest.raises(StorageFull):
            store.put(name, b"x")
    store.put("data/4", b"x")
    assert sorted(s.name for s in store.list("")) == ["data/1", "data/4", "other"]
    assert ("put", "data/2") in store.calls


def test_a_late_fault_strikes_after_the_work_was_done() -> None:
    store = FaultyBackend(MemoryBackend(), Fault("put", late=True))
    with pytest.raises(BackendUnavailable):
        store.put("a", b"x")
    assert store.get("a") == b"x"


def test_answers_can_be_spoiled_and_listings_can_lie() -> None:
    spoil = Fault("get", error=None, times=None, change=lambda data: data[:-1])
    hide = Fault("list", error=None, times=None, omit=frozenset({"b"}))
    store = FaultyBackend(MemoryBackend(), spoil, hide)
    store.put("a", b"xyz")
    store.put("b", b"xyz")
    assert store.get("a") == b"xy"
    assert [s.name for s in store.list("")] == ["a"]


def test_a_put_can_be_cut_short_with_and_without_an_error() -> None:
    silent = Fault("put", prefix="a", error=None, change=lambda data: data[:2])
    told = Fault("put", prefix="b", late=True, change=lambda data: data[:2])
    store = FaultyBackend(MemoryBackend(), silent, told)
    store.put("a", b"hello")
    with pytest.raises(BackendUnavailable):
        store.put("b", memoryview(b"hello"))
    assert (store.get("a"), store.get("b")) == (b"he", b"he")


def test_a_listing_can_break_off_in_the_middle() -> None:
    store = FaultyBackend(MemoryBackend(), Fault("list", late=True))
    for name in ("a", "b", "c", "d"):
        store.put(name, b"x")
    seen = []
    with pytest.raises(BackendUnavailable):
        for stat in store.list(""):
            seen.append(stat.name)
    assert len(seen) == 2


def test_delays_pass_on_the_clock_that_was_given() -> None:
    waits: list[float] = []
    slow = Fault("get", at=2, error=None, delay_seconds=30)
    store = FaultyBackend(MemoryBackend(), slow, sleep=waits.append)
    store.put("a", b"x")
    assert store.get("a") + store.get("a") + store.get("a") == b"xxx"
    assert waits == [30]
