"""What the servers of the tests share: skipping, a place to keep what was made, free ports."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path.home() / ".cache/snap-tests"


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
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


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
