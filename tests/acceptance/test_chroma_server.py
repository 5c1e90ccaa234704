"""ChromaDB servers by their URL; snap is run by the Python that has Chroma's client."""

import json
import os
import signal
import struct
import subprocess
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
        writing(chroma, url, Shape(threads=1, collections=1), tmp_path / "logs"),
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
url, folder = sys.argv[1:]
try:
    with ChromaServerSource(url, spool_dir=Path(folder), answer_seconds=3.0).open():
        print("read")
except SourceError as error:
    print(error)
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
                [chroma.python, "-c", STALLED, url, str(tmp_path / "spool")],
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
