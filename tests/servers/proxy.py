"""A TCP proxy on a loopback port that cuts, stalls, delays and truncates on command."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

UP = "up"
"""From the client to the server."""
DOWN = "down"
_CHUNK_BYTES = 1 << 16


class Proxy:
    """Passes connections on to ``port``; what it does to them may change at any time.

    Attributes:
        delay_seconds: How long each piece of up to 64 KiB is held back.
        accepted: How many connections there were.
        passed: How many bytes went each way since the start.
        held: How many pieces came while it stalled.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._left: dict[str, int | None] = {UP: None, DOWN: None}
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._refusing = False
        self._closed = False
        self.delay_seconds = 0.0
        self.accepted = 0
        self.passed = {UP: 0, DOWN: 0}
        self.held = 0
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def stall(self) -> None:
        """Pass nothing on any more, and keep every connection open."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                _reset(one)

    def cut_after(self, direction: str, size_bytes: int) -> None:
        """Pass so many more bytes that way, over all connections, then cut; once."""
        with self._lock:
            self._left[direction] = size_bytes

    def refuse(self, *, refusing: bool = True) -> None:
        """Reset new connections as soon as they come, until told otherwise."""
        self._refusing = refusing

    def close(self) -> None:
        self._closed = True
        # Closing alone does not wake a thread that is in accept().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.resume()
        self.cut()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self._refusing or self._closed:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _reset(client)
                continue
            with self._lock:
                self._pairs.append((client, server))
            for direction, pair in ((UP, (client, server)), (DOWN, (server, client))):
                threading.Thread(target=self._pump, args=(direction, *pair), daemon=True).start()

    def _pump(self, direction: str, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK_BYTES):
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                if not self._flowing.is_set():
                    self.held += 1
                    self._flowing.wait()
                allowed = self._allow(direction, len(data))
                target.sendall(data[:allowed])
                if allowed < len(data):
                    self.cut()
                    return
            self._end(direction, source, target)
        except OSError:
            # One side has reset its connection: the other learns of it in the same way.
            _reset(source)
            _reset(target)

    def _end(self, direction: str, source: socket.socket, target: socket.socket) -> None:
        """Pass on that one side has ended; a cut, which ends both as well, is a reset instead."""
        pair = (source, target) if direction == UP else (target, source)
        with self._lock:
            if pair in self._pairs:
                target.shutdown(socket.SHUT_WR)

    def _allow(self, direction: str, size: int) -> int:
        with self._lock:
            left = self._left[direction]
            if left is None or left >= size:
                self._left[direction] = None if left is None else left - size
                self.passed[direction] += size
                return size
            self._left[direction] = None
            self.passed[direction] += left
            return left


def _reset(connection: socket.socket) -> None:
    # With no time to linger, closing sends a reset: nothing that is still under way arrives.
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        # A thread that is in recv() wakes up; without this the reset waits for it.
        connection.shutdown(socket.SHUT_RD)
    connection.close()


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
