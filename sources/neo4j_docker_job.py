"""A program that runs in a one-off container, and what goes in and comes out of it."""

import contextlib
import socket
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from snap.repo.clock import SECOND_NS, Clock, system_clock
from snap.repo.process import is_left, process_mark

from .neo4j_server import ByteStream

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

_PIECE_BYTES = 1 << 20
_SAID_BYTES = 16 << 10
_STDOUT = 1
_SERVER = "snap.job"
_MADE_BY = "snap.made-by"
_FRAME = struct.Struct(">BxxxL")
"""What stands before each piece of a container's output: stream and length."""


def labels_of(server: str) -> dict[str, str]:
    """Return what tells a one-off of this process for a server, by the server's id."""
    return {_SERVER: server, _MADE_BY: process_mark()}


def remove_left(client: "docker.DockerClient", server: str, clock: Clock = system_clock) -> None:
    """End and remove the one-offs of a server whose process was killed.

    They hold the server's stores and volumes, and go on: a server that is started beside one may
    find its databases locked. Of a process that cannot be seen from here (of another host or
    container) one goes that does not run and is a day old.
    """
    label = f"{_SERVER}={server}"
    for left in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
        if _is_left(left, clock()):
            # Another that removes it at this moment does as well.
            with contextlib.suppress(Exception):
                left.remove(force=True)


def _is_left(container: "Container", now_ns: int) -> bool:
    mark = container.labels.get(_MADE_BY, "")
    if container.status in ("running", "restarting", "paused"):
        return is_left(mark, 0)
    # By the daemon's clock, in nanoseconds, of which Python takes six digits.
    created = datetime.fromisoformat(container.attrs["Created"][:19] + "+00:00")
    return is_left(mark, now_ns - int(created.timestamp()) * SECOND_NS)


class Job:
    """A one-off container that runs, and its streams, of which no log is kept."""

    def __init__(self, container: "Container", *, takes_input: bool) -> None:
        self._container = container
        self._said = bytearray()
        params: Mapping[str, int] = {
            "stdin": int(takes_input),
            "stdout": 1,
            "stderr": 1,
            "stream": 1,
        }
        # Before it starts: what it says before somebody listens is lost.
        api = cast(Any, container.client).api
        raw = api.attach_socket(container.id, params=dict(params))
        self._raw = raw
        self._socket = getattr(raw, "_sock", raw)
        # Of one's own, so that a dump that takes hours is no hanging request.
        self._socket.settimeout(None)
        self._rest = 0
        self._stream = 0
        container.start()

    def read(self, length: int) -> bytes:
        """Return some of standard output, at most ``length`` bytes; none at the end."""
        while True:
            if not self._rest:
                header = self._exactly(_FRAME.size)
                if len(header) < _FRAME.size:
                    return b""
                self._stream, self._rest = _FRAME.unpack(header)
                continue
            data = self._socket.recv(min(self._rest, length))
            if not data:
                return b""
            self._rest -= len(data)
            if self._stream == _STDOUT:
                return bytes(data)
            self._said += data
            del self._said[:-_SAID_BYTES]

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self._socket.recv(length - len(data))
            if not piece:
                break
            data += piece
        return data

    def read_all(self) -> bytes:
        """Return all of standard output."""
        parts = []
        while part := self.read(_PIECE_BYTES):
            parts.append(part)
        return b"".join(parts)

    def end_input_with_program(self) -> None:
        """Wait until the program ends; what is still being sent to it then fails."""
        self.finish()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def send(self, data: ByteStream) -> None:
        """Write standard input and end it.

        A program may end before it has read all; it takes `end_input_with_program` in another
        thread for that to be noticed within seconds.
        """
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while piece := data.read(_PIECE_BYTES):
                self._socket.sendall(piece)
            self._socket.shutdown(socket.SHUT_WR)

    def finish(self) -> tuple[int, str]:
        """Wait for the program's end; return its exit code and the last that it said."""
        # However long it takes.
        code = int(self._container.wait(timeout=None)["StatusCode"])
        return code, self._said.decode("utf-8", "backslashreplace")

    def close(self) -> None:
        """Close the streams."""
        with contextlib.suppress(OSError):
            self._raw.close()
        with contextlib.suppress(OSError):
            self._socket.close()
