import threading
import time

import pytest

from snap.backends.memory import MemoryBackend
from snap.backends.pause import Interrupted, Pauses
from snap.backends.throttle import Limits, ThrottledBackend


def test_a_pause_takes_its_time() -> None:
    slept: list[float] = []
    pauses = Pauses(slept.append)
    pauses.pause(0.35)
    assert sum(slept) == pytest.approx(0.35)
    pauses.pause(0)
    pauses.pause(-1)
    assert sum(slept) == pytest.approx(0.35)


def test_a_thread_that_waits_for_the_line_is_let_go_at_once() -> None:
    waits = threading.Event()

    def sleep(seconds: float) -> None:
        waits.set()
        time.sleep(seconds)

    pauses = Pauses(sleep)
    store = ThrottledBackend(MemoryBackend(), Limits(upload=1.0), sleep=pauses.pause_if_going_on)
    store.put("a", b"x" * 3600)
    ended: list[BaseException] = []

    def put() -> None:
        try:
            store.put("b", b"x")
        except Interrupted as error:
            ended.append(error)

    thread = threading.Thread(target=put)
    thread.start()
    assert waits.wait(60)
    assert thread.is_alive()
    pauses.end()
    thread.join(60)
    assert len(ended) == 1
    store.put("last", b"x" * 3600)
    with pytest.raises(Interrupted):
        pauses.pause(0.001)
