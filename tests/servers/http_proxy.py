"""A proxy before an HTTP server that does what networks and gateways do: cut, stall, refuse."""

import contextlib
import http.client
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

CUT_REQUEST = "the connection ends in the middle of what is sent"
CUT_ANSWER = "the connection ends in the middle of the answer"
LOSE_ANSWER = "the server did it, the answer never comes"
STALL = "nothing is answered, the connection stays"
STALL_ANSWER = "half of the answer comes, the connection stays"
SHORTEN = "half of the answer comes as if it were all"
REPLACE = "another answer comes than the server's, which has done what was asked"
REFUSE = "an answer comes, the server was not asked"
DELAY = "everything takes longer"

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length"}


@dataclass
class Trouble:
    """What happens to requests of a method whose target holds ``part``.

    ``at`` counts from 1; ``times`` None means from there on. ``status``, ``code`` and ``headers``
    are the answer's where one is made up; ``seconds`` is the delay.
    """

    kind: str
    method: str = ""
    part: str = ""
    at: int = 1
    times: int | None = 1
    status: int = 503
    code: str = "SlowDown"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    seconds: float = 0.0
    calls: int = 0

    def strikes(self, method: str, target: str) -> bool:
        if self.method not in ("", method) or self.part not in target:
            return False
        self.calls += 1
        return self.calls >= self.at and (self.times is None or self.calls < self.at + self.times)

    def answer(self) -> bytes:
        if self.body is not None:
            return self.body
        return f"<Error><Code>{self.code}</Code><Message>made up</Message></Error>".encode()


@dataclass
class _Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    length: int


class Proxy(socketserver.ThreadingTCPServer):
    """Listens on a free port of 127.0.0.1; ``seen`` has each request's method and target."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = urlsplit(upstream).netloc
        self.troubles: list[Trouble] = []
        self.seen: list[tuple[str, str]] = []
        self.ended = threading.Event()
        self.lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def struck(self, request: _Request) -> Trouble | None:
        with self.lock:
            self.seen.append((request.method, request.target))
            found = [t for t in self.troubles if t.strikes(request.method, request.target)]
        return found[0] if found else None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections that end are what this is for."""


class _Connection(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while self._pass_one():
                pass

    def _pass_one(self) -> bool:
        request = self._read_head()
        if request is None:
            return False
        trouble = self.server.struck(request)
        kind = trouble.kind if trouble else ""
        if trouble and kind == DELAY:
            time.sleep(trouble.seconds)
        if kind == CUT_REQUEST:
            self.rfile.read(request.length // 2)
            return self._reset()
        body = self.rfile.read(request.length)
        if kind == STALL:
            self.server.ended.wait()
            return False
        if trouble and kind == REFUSE:
            return self._send(request, trouble.status, list(trouble.headers), trouble.answer())
        status, headers, answer = self._ask(request, body)
        if trouble and kind == REPLACE:
            return self._send(request, trouble.status, list(trouble.headers), trouble.answer())
        if kind == LOSE_ANSWER:
            return self._reset()
        if kind in (CUT_ANSWER, STALL_ANSWER):
            self._send(request, status, headers, answer, sent=len(answer) // 2)
            if kind == STALL_ANSWER:
                self.server.ended.wait()
            return self._reset()
        if kind == SHORTEN:
            answer = answer[: len(answer) // 2]
        return self._send(request, status, headers, answer)

    def _read_head(self) -> _Request | None:
        first = self.rfile.readline().decode().split()
        if len(first) < 3:
            return None
        parsed = http.client.parse_headers(self.rfile)
        if parsed.get("Expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(parsed.get("Content-Length") or 0)
        return _Request(first[0], first[1], list(parsed.items()), length)

    def _ask(self, request: _Request, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=120)
        try:
            connection.putrequest(
                request.method, request.target, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers:
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(request.length))
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in _HOP_BY_HOP]
            length = answer.getheader("Content-Length", "0")
            if request.method == "HEAD":
                headers.append(("Content-Length", length))
            return answer.status, headers, data
        finally:
            connection.close()

    def _send(
        self,
        request: _Request,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        sent: int | None = None,
    ) -> bool:
        lines = [f"HTTP/1.1 {status} Because", *(f"{n}: {v}" for n, v in headers)]
        if request.method == "HEAD":
            body = b""
        elif status != 204:
            lines.append(f"Content-Length: {len(body)}")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + body[:sent])
        return True

    def _reset(self) -> bool:
        # Not a clean end but a connection that breaks off.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        return False


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """Give a proxy before a server's URL."""
    with Proxy(upstream) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
