"""ChromaDB servers by their URL; snap is run by the Python that has Chroma's client."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.chroma import Chroma
from tests.servers.chroma_model import Shape
from tests.servers.services import free_port

from .command import Snap
from .test_chroma_live import writing


@pytest.fixture
def chroma_snap(chroma: Chroma, snap: Snap) -> Snap:
    snap.python = chroma.python
    return snap


def records_of(folder: Path) -> list[list[Any]]:
    """Return what an export holds, in the form of the program's ``dump``."""
    found = []
    for described in sorted(folder.glob("*/*/collection.json")):
        facts = json.loads(described.read_text())
        vectors = (described.parent / "vectors.f32").read_bytes()
        size = 4 * facts["dimension"]
        lines = (described.parent / "records.jsonl").read_text().splitlines()
        assert len(vectors) == size * len(lines)
        for number, line in enumerate(lines):
            record = json.loads(line)
            vector = struct.unpack_from(f"<{facts['dimension']}f", vectors, number * size)
            values = [record["id"], list(vector), record["document"], record["metadata"]]
            found.append([facts["name"], *values])
    return sorted(found, key=lambda r: (r[0], r[1]))


def test_every_record_of_a_quiet_server_is_in_the_snapshot(
    chroma: Chroma, chroma_snap: Snap, tmp_path: Path
) -> None:
    folder = tmp_path / "chroma"
    chroma.run("fill", str(folder), "1500", "8", "2")
    with chroma.serve(folder) as url:
        summary = chroma_snap.json("backup", f"chroma:{url}")
        again = chroma_snap.json("backup", f"chroma:{url}")
    [component] = summary["components"]
    assert (component["name"], component["kind"]) == ("127.0.0.1", "chroma-server")
    assert component["statistics"]["readings"] == 2
    facts = component["statistics"]["collections"]
    assert [(c["name"], c["count"], c["dimension"]) for c in facts] == [
        ("filled-0", 1500, 8),
        ("filled-1", 1500, 8),
    ]
    assert again["bytes_new"] == 0
    chroma_snap.ok("restore", "latest", "--target", str(tmp_path / "out"))
    wanted = [json.loads(line) for line in chroma.run("dump", str(folder)).splitlines()]
    assert records_of(tmp_path / "out/127.0.0.1") == wanted


def test_a_server_that_is_written_to_all_the_time_is_not_called_of_one_moment(
    chroma: Chroma, chroma_snap: Snap, tmp_path: Path
) -> None:
    folder = tmp_path / "chroma"
    with (
        chroma.serve(folder) as url,
        # Several: one may be held up for as long as two readings take.
        writing(chroma, url, Shape(threads=3, collections=1), tmp_path / "logs"),
    ):
        done = chroma_snap.run("backup", f"chroma:{url}", "--json")
    assert done.returncode == 0
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["components"][0]["statistics"]["readings"] == 6
    assert b"this is not of one moment" in done.stdout + done.stderr


def test_a_server_that_is_not_there_is_an_error_with_a_hint(
    chroma: Chroma, chroma_snap: Snap
) -> None:
    done = chroma_snap.run("backup", f"chroma:http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert b"refused" in done.stderr
    assert b"see whether the server runs there" in done.stderr
    assert chroma_snap.ids() == []


STALLED = """
import os, signal, subprocess, sys, threading
from pathlib import Path
from snap.errors import SourceError
from snap.sources.chroma_server import ChromaServerSource
url, folder, seconds = sys.argv[1:]
try:
    with ChromaServerSource(url, spool_dir=Path(folder), answer_seconds=float(seconds)).open():
        print("read")
except SourceError as error:
    print(error, error.hint)
print(os.listdir(folder))
"""


def test_a_server_that_stops_answering_is_given_up_and_nothing_is_left(
    chroma: Chroma, tmp_path: Path
) -> None:
    folder = tmp_path / "chroma"
    chroma.run("fill", str(folder), "500", "8", "1")
    port = free_port()
    with chroma.serve(folder, port) as url:
        found = subprocess.run(
            ["pgrep", "-f", "--", f"--port {port}"], capture_output=True, text=True, check=True
        )
        pids = [int(pid) for pid in found.stdout.split()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            done = subprocess.run(
                [chroma.python, "-c", STALLED, url, str(tmp_path / "spool"), "3"],
                env=os.environ | {"PYTHONPATH": "src"},
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
    assert "stopped answering: nothing for 3 seconds" in done.stdout
    assert done.stdout.endswith("[]\n")


@contextlib.contextmanager
def forwarding(port: int, limit_bytes: int, then: Callable[[], None]) -> Iterator[str]:
    """Pass connections on to a port; once so much has come back from it, call ``then``."""
    passed = 0

    def pump(source: socket.socket, target: socket.socket, *, counts: bool) -> None:
        nonlocal passed
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                if counts and passed <= limit_bytes < passed + len(data):
                    then()
                passed += len(data) if counts else 0
                target.sendall(data)
        for side in (source, target):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def serve(near: socket.socket) -> None:
        with (
            near,
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port)) as far,
        ):
            back = threading.Thread(target=pump, args=(far, near), kwargs={"counts": True})
            back.start()
            pump(near, far, counts=False)
            back.join()

    def accept(listening: socket.socket) -> None:
        serving = []
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                serving.append(threading.Thread(target=serve, args=(near,)))
                serving[-1].start()
        for thread in serving:
            thread.join()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=accept, args=(listening,))
        accepting.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
    assert passed > limit_bytes


@pytest.mark.parametrize(
    ("number", "told"),
    [
        # It takes as long as a server may think.
        pytest.param(signal.SIGSTOP, "stopped answering", marks=pytest.mark.slow),
        (signal.SIGKILL, "see whether the server"),
    ],
)
def test_a_server_that_ends_or_stands_still_midway_is_given_up(
    chroma: Chroma, tmp_path: Path, number: signal.Signals, told: str
) -> None:
    folder = tmp_path / "chroma"
    chroma.run("fill", str(folder), "3000", "32", "1")
    port = free_port()
    with chroma.serve(folder, port):
        found = subprocess.run(
            ["pgrep", "-f", "--", f"--port {port}"], capture_output=True, text=True, check=True
        )
        pids = [int(pid) for pid in found.stdout.split()]

        def end() -> None:
            for pid in pids:
                os.kill(pid, number)

        # In the middle of the second of three pages.
        with forwarding(port, 1_000_000, end) as url:
            try:
                done = subprocess.run(
                    [chroma.python, "-c", STALLED, url, str(tmp_path / "spool"), "15"],
                    env=os.environ | {"PYTHONPATH": "src"},
                    capture_output=True,
                    text=True,
                    timeout=120,
                    check=True,
                )
            finally:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
    assert told in done.stdout
    assert done.stdout.endswith("[]\n")
