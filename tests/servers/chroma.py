"""ChromaDB from PyPI: an environment of its own, embedded programs, and `chroma run`.

It brings a hundred megabytes of packages, so it is installed once beside the repository, not with
the tools of every clone; what of snap talks to a server runs there too.
"""

import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .services import free_port, made_once, unavailable

VERSION = "1.5.9"
ROOT = Path(__file__).parents[2]
_START_SECONDS = 180


@dataclass(frozen=True)
class Chroma:
    """Where it is installed."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "venv/bin/python")

    def program(self, *arguments: str) -> list[str]:
        # By its path, so that it runs wherever it is started from.
        start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[0] = 'chroma_program'"
        return [
            *(self.python, "-c", f"{start}; from tests.servers.chroma_program import main; main()"),
            *arguments,
        ]

    def run(self, *arguments: str, timeout: float = 300) -> str:
        """Run the program with a ChromaDB in it, and return what it prints."""
        done = subprocess.run(
            self.program(*arguments), capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, (arguments, done.returncode, done.stderr[-2000:])
        return done.stdout

    @contextmanager
    def serve(self, folder: Path, port: int | None = None) -> Iterator[str]:
        """Run `chroma run` on a persist directory; give its URL."""
        port = port or free_port()
        url = f"http://127.0.0.1:{port}"
        with (folder.parent / f"chroma-{port}.log").open("wb") as log:
            server = subprocess.Popen(
                [
                    # Its script names the Python of where the environment was made.
                    *(self.python, "-c", "from chromadb.cli.cli import app; app()"),
                    *("run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)),
                ],
                stdout=log,
                stderr=log,
            )
        try:
            _wait_for(url, server)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/api/v2/heartbeat", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, "chroma run ended"
            assert time.monotonic() < ends, "chroma run does not answer"
            time.sleep(0.1)


def _install(folder: Path) -> None:
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, capture_output=True)
    with (ROOT / "pyproject.toml").open("rb") as file:
        own = tomllib.load(file)["project"]["dependencies"]
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", f"chromadb=={VERSION}"]
    subprocess.run([*pip, *own], check=True, capture_output=True, timeout=900)


def installed_chroma() -> Chroma:
    """Return the installation, made where it is missing; skip where it cannot be had."""
    name = f"chroma-{VERSION}-python-{sys.version_info.major}.{sys.version_info.minor}"
    try:
        folder = made_once(name, _install)
    except (subprocess.SubprocessError, OSError) as error:
        stderr = getattr(error, "stderr", None) or b""
        unavailable("chroma", f"{error}: {stderr[-300:].decode(errors='replace')}")
    return Chroma(folder)


@pytest.fixture(scope="session")
def chroma() -> Chroma:
    return installed_chroma()
