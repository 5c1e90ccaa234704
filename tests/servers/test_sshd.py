"""The server of the tests and the proxy before it: neither may be the reason of a green test."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .proxy import DOWN, UP, proxy_to
from .services import runs
from .sshd import Sshd

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, time
from tests.servers.sshd import running_sshd
with running_sshd() as server:
    print(server.process.pid, server.folder, flush=True)
    time.sleep(600)
"""


@pytest.mark.usefixtures("sshd")
def test_no_server_outlives_a_run_that_is_killed() -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    pid, _, folder = run.stdout.readline().strip().partition(" ")
    run.kill()
    run.communicate()
    ends = time.monotonic() + 60
    while runs(int(pid)):
        assert time.monotonic() < ends
        time.sleep(0.05)
    subprocess.run(["rm", "-rf", folder], check=True)


def test_the_proxy_passes_on_cuts_and_stalls(sshd: Sshd) -> None:
    with proxy_to(sshd.port) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
            assert client.recv(4) == b"SSH-"
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                while client.recv(1000):
                    pass
        proxy.cut_after(DOWN, 3)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
            got = b""
            with pytest.raises(ConnectionResetError):
                while piece := client.recv(1000):
                    got += piece
            assert got in (b"", b"SSH"[: len(got)])
        proxy.stall()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.3) as client:
            with pytest.raises(TimeoutError):
                client.recv(1)
            proxy.resume()
            client.settimeout(60)
            assert client.recv(4) == b"SSH-"
        assert proxy.passed[UP] == 0
        assert proxy.accepted == 3
