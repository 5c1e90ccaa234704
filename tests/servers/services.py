"""What the servers of the tests share: skipping, a place to keep what was made, free ports."""

import fcntl
import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path.home() / ".cache/snap-tests"
_FIRST_PORT = 10_000
_taken: set[int] = set()


def unavailable(service: str, reason: str) -> NoReturn:
    """Skip the test, or fail it where SNAP_REQUIRE_SERVICES names the service."""
    if service in os.environ.get("SNAP_REQUIRE_SERVICES", "").split(","):
        pytest.fail(f"{service} is required: {reason}")
    pytest.skip(f"no {service} here: {reason}")


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, made by ``make`` where it is missing.

    It appears whole or not at all. Of several processes that make it at once, one's stays.
    """
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"making-{name}-") as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            make(made)
            try:
                made.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return folder


def link_tree(source: Path, target: Path) -> None:
    """Copy a folder by hard links, by bytes where the disks differ."""

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)

    shutil.copytree(source, target, copy_function=link, symlinks=True)


def free_port() -> int:
    """Return a port that is free and stays so until a server of ours listens on it.

    It is none of those the system gives to whoever asks for any, and no process of the tests,
    this one included, gets it again until this one ends.
    """
    given_to_anybody = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    ports = range(_FIRST_PORT, max(int(given_to_anybody[0]), 2 * _FIRST_PORT))
    for port in random.SystemRandom().sample(ports, len(ports)):
        if port not in _taken and _is_ours(port) and _is_free(port):
            _taken.add(port)
            return port
    raise RuntimeError("no port is free")


def _is_ours(port: int) -> bool:
    """Take a port for this process, as long as it lives; return whether no other one has it."""
    try:
        fcntl.lockf(_ports_of_all(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as listening:
        try:
            listening.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@cache
def _ports_of_all() -> int:
    """Return the file in which each process of the tests has a byte locked for each of its ports.

    It stays open: closing it would give them all back.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    return os.open(CACHE / "ports", os.O_RDWR | os.O_CREAT, 0o600)


def runs(pid: int) -> bool:
    """Tell whether anything of a process still runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        # A zombie waits for whoever reaps it; its locks go with its last thread.
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def run_checked(command: list[str], timeout_seconds: float, cwd: Path | None = None) -> str:
    """Run a program and return its standard output.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_seconds, cwd=cwd, check=False
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-2000:].strip()
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {said}")
    return done.stdout


def guard(script: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Run a shell script as soon as this process is gone, however it ended.

    Closing the returned process' standard input runs it at once.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", f"cat > /dev/null; {script}", "guard", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
