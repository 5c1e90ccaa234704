"""A thread that carries out coroutines for others: asyncio behind an interface that is not."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from .base import BackendError

_T = TypeVar("_T")


class LoopThread:
    """A thread with an event loop in which other threads have coroutines carried out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what a coroutine returns; an interruption of this thread cancels it."""
        try:
            loop = self._start()
        except BaseException:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise BackendError("the connection was closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A failure reaches whoever asked; the loop's own word of it would go to the screen.
                self._loop.set_exception_handler(lambda loop, context: None)
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="snap-sftp", daemon=True
                )
                self._thread.start()
            return self._loop

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Carry ``last`` out, end what is still under way, and the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._finish(last), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await last()
        rest = asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()
