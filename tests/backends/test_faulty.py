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
