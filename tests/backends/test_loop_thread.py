import asyncio
import threading

import pytest

from snap.backends.base import BackendError
from snap.backends.loop_thread import LoopThread


async def nothing() -> None:
    pass


async def fail() -> None:
    raise KeyError("mine")


async def thread_name() -> str:
    return threading.current_thread().name


def test_what_a_coroutine_returns_and_raises_reaches_who_asked() -> None:
    thread = LoopThread()
    assert thread.run(thread_name()) == "snap-sftp"
    with pytest.raises(KeyError, match="mine"):
        thread.run(fail())
    thread.stop(nothing)


def test_stopping_ends_what_is_under_way_and_refuses_what_comes_after() -> None:
    thread = LoopThread()
    begun = threading.Event()
    outcome: list[BaseException] = []

    async def wait() -> None:
        begun.set()
        await asyncio.sleep(600)

    def run() -> None:
        try:
            thread.run(wait())
        except BaseException as error:
            outcome.append(error)

    waiting = threading.Thread(target=run)
    waiting.start()
    assert begun.wait(60)
    thread.stop(nothing)
    waiting.join(60)
    assert len(outcome) == 1
    thread.stop(nothing)
    with pytest.raises(BackendError, match="closed"):
        thread.run(nothing())
