import pytest

from snap.backends.base import Backend, ObjectExists, RetentionUnsupported
from snap.backends.memory import MemoryBackend
from snap.backends.wrapper import Wrapper

from .contract import BackendContract


class TestWrapper(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return Wrapper(Wrapper(MemoryBackend()))


def test_a_wrapper_passes_on_how_an_object_is_put() -> None:
    store = Wrapper(MemoryBackend())
    store.put("a", b"x", exclusive=True)
    with pytest.raises(ObjectExists):
        store.put("a", b"x", exclusive=True)
    with pytest.raises(RetentionUnsupported):
        store.put("b", b"x", retain_until_ns=1)
    assert [stat.name for stat in store.list("")] == ["a"]


def test_a_wrapper_has_the_place_and_the_speed_of_its_store_and_closes_it() -> None:
    class Inner(MemoryBackend):
        location = "the place"
        parallel_requests = 7
        keeps_deleted = True
        closed = 0

        def close(self) -> None:
            self.closed += 1

    inner = Inner()
    store = Wrapper(inner)
    assert (store.location, store.parallel_requests) == ("the place", 7)
    assert store.keeps_deleted
    store.close()
    assert inner.closed == 1
