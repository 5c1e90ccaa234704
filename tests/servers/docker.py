"""A private Docker daemon, and Neo4j in its containers.

Containers use the host's network and the daemon makes no bridge: nothing of the machine's own
network, or of a Docker that runs on it, is touched.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.image import CHANGES, neo4j_image
from tests.servers.neo4j import PASSWORD, Bolt
from tests.servers.services import free_port, guard, unavailable

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

IMAGE = "snap-tests/neo4j"
_START_SECONDS = 180
_STOP_SECONDS = 60


@dataclass
class RealDocker:
    """A daemon; ``url`` is what DOCKER_HOST would hold."""

    url: str
    client: "docker.DockerClient"

    def neo4j_image(self) -> str:
        """Return the id of the image, imported when first asked for."""
        found = self.client.images.list(IMAGE)
        if not found:
            self.client.api.import_image_from_file(
                str(neo4j_image()), repository=IMAGE, tag="test", changes=CHANGES
            )
            found = self.client.images.list(IMAGE)
        return str(found[0].id)

    @contextmanager
    def neo4j_container(
        self, *, password: str | None = PASSWORD, **options: Any
    ) -> Iterator["RealContainer"]:
        """Give a container that is not started yet; it and its volumes are removed afterwards.

        ``options`` are those of docker-py's ``containers.create``.
        """
        port = free_port()
        environment = {
            "NEO4J_AUTH": "none" if password is None else f"neo4j/{password}",
            "NEO4J_server_bolt_listen__address": f"127.0.0.1:{port}",
            **options.pop("environment", {}),
        }
        container = self.client.containers.create(
            self.neo4j_image(), environment=environment, network_mode="host", **options
        )
        try:
            yield RealContainer(port, password, container)
        finally:
            container.remove(force=True, v=True)


@dataclass
class RealContainer(Bolt):
    """A container with a server in it."""

    container: "Container"

    def start(self) -> None:
        self.container.start()
        self.wait_online()

    def stop(self) -> None:
        # Docker's own 10 seconds are not always enough for a clean end.
        self.container.stop(timeout=120)

    def is_running(self) -> bool:
        self.container.reload()
        return bool(self.container.status == "running")


_END = """kill -TERM "$1"; for i in $(seq 60); do kill -0 "$1" || break; sleep 1; done
kill -9 "$1"; umount -l "$2/run/netns/default"; rm -rf "$2" """


@contextmanager
def docker_daemon() -> Iterator[RealDocker]:
    """Give a daemon of one's own; it and all its containers end with this process."""
    for program in ("dockerd", "containerd", "runc"):
        if shutil.which(program) is None:
            unavailable("docker", f"{program} is not installed (Debian: docker.io)")
    if os.getuid():
        unavailable("docker", "a daemon takes root")
    # Short: the path of a socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="snap-docker-"))
    problem = ""
    try:
        for driver in ("overlay2", "vfs"):
            process = _start_daemon(folder, driver)
            watch = guard(_END, str(process.pid), str(folder))
            try:
                problem = _wait_for(process, folder)
                if not problem:
                    yield from _connected(folder)
                    return
            finally:
                process.terminate()
                process.wait(_STOP_SECONDS)
                watch.kill()
                watch.communicate()
    finally:
        # A daemon leaves this mount behind.
        subprocess.run(
            ["umount", "-l", folder / "run/netns/default"], capture_output=True, check=False
        )
        shutil.rmtree(folder)
    unavailable("docker", problem)


def _start_daemon(folder: Path, driver: str) -> "subprocess.Popen[bytes]":
    command = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/run"]
    command += ["-H", f"unix://{folder}/sock", "--pidfile", f"{folder}/pid"]
    command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    command += [f"--storage-driver={driver}", "--shutdown-timeout=5"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _wait_for(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    """Return nothing when the daemon listens, else why it does not."""
    limit = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < limit:
        if "API listen on" in (folder / "log").read_text(errors="replace"):
            return ""
        time.sleep(0.1)
    last = (folder / "log").read_text(errors="replace").strip().splitlines()[-3:]
    return "dockerd does not start: " + " | ".join(last)


def _connected(folder: Path) -> Iterator[RealDocker]:
    import docker

    url = f"unix://{folder}/sock"
    client = docker.DockerClient(base_url=url, timeout=300)
    try:
        yield RealDocker(url, client)
    finally:
        for container in client.containers.list(all=True):
            container.remove(force=True, v=True)
        client.close()


@pytest.fixture(scope="module")
def real_docker() -> Iterator[RealDocker]:
    """A daemon for all tests of a module."""
    with docker_daemon() as daemon:
        yield daemon
