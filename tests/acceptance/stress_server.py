"""The processes of one host of the stress test: forked by one that has imported all of snap."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = str(Path(__file__).parent / "stress_program.py")


class Forked:
    """A command at work; as `subprocess.Popen`, of which it has what is needed."""

    def __init__(self, server: "ForkServer", pid: int, out: Path, err: Path) -> None:
        self._server, self.pid, self._out, self._err = server, pid, out, err
        self.returncode: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        # Its number is its own until the server has waited for it, which it does at its end only.
        if self.returncode is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Wait for its end; return what it printed.

        Raises:
            subprocess.TimeoutExpired: it is still at work.
        """
        if self.returncode is None:
            self.returncode = int(self._server.answer(timeout))
        return self._out.read_bytes(), self._err.read_bytes()


class ForkServer:
    """Starts one command after the other."""

    def __init__(self, folder: Path, environment: dict[str, str], modules: list[str]) -> None:
        folder.mkdir()
        self._folder = folder
        self._read = b""
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, "serve", *modules],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def start(self, arguments: tuple[str, ...], environment: dict[str, str]) -> Forked:
        out, err = self._folder / "out", self._folder / "err"
        order = {
            "arguments": arguments,
            "environment": environment,
            "out": str(out),
            "err": str(err),
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        return Forked(self, int(self.answer(120)), out, err)

    def answer(self, timeout: float | None) -> bytes:
        """Return the next line that the server prints.

        Raises:
            subprocess.TimeoutExpired: it printed none.
        """
        assert self.process.stdout is not None
        ends = time.monotonic() + (600 if timeout is None else timeout)
        while b"\n" not in self._read:
            left = ends - time.monotonic()
            if not select.select([self.process.stdout], [], [], max(0.0, left))[0]:
                raise subprocess.TimeoutExpired("snap", timeout or 0.0)
            more = self.process.stdout.read(100)
            assert more, "the server is gone"
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
