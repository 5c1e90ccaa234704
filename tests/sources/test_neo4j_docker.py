"""Neo4j in a container: dumped, loaded, stopped and started, and all that can be wrong with it."""

import gc
import io
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.neo4j_access import Neo4jAccess
from snap.sources.neo4j_docker import DockerNeo4j
from snap.sources.neo4j_place import neo4j_service
from snap.sources.neo4j_server import DatabaseInUse, DatabaseMissing, UncleanShutdown
from tests.servers.docker import RealContainer, RealDocker


@pytest.fixture(scope="module")
def container(real_docker: RealDocker) -> Iterator[RealContainer]:
    with real_docker.neo4j_container() as server:
        server.start()
        server.run("UNWIND range(1, 500) AS n CREATE (:Person {n: n})")
        yield server


@pytest.fixture
def server(real_docker: RealDocker, container: RealContainer) -> Iterator[DockerNeo4j]:
    """The same server for all tests of this file; each leaves it as it likes."""
    server = DockerNeo4j(str(container.container.name), url=real_docker.url)
    yield server
    server.close()


def dumped(server: DockerNeo4j, database: str = "neo4j") -> bytes:
    with server.dump(database) as dump:
        data = b"".join(iter(lambda: dump.read(1 << 16), b""))
        dump.finish()
    return data


@pytest.mark.slow
def test_a_database_is_dumped_and_loaded_and_the_server_goes_on(
    container: RealContainer, server: DockerNeo4j, real_docker: RealDocker
) -> None:
    if not server.is_running():
        container.start()
    assert server.version() == "5.26.29"
    assert server.is_running()
    assert server.info("neo4j").in_use
    with pytest.raises(DatabaseInUse):
        dumped(server)
    server.stop(120)
    assert not server.is_running()
    found = {info.database: info for info in server.databases()}
    assert set(found) == {"neo4j", "system"}
    assert not found["neo4j"].recovery_required
    assert found["neo4j"].store_format == "record-aligned-1.1"
    data = dumped(server)
    assert data.startswith(b"DZV1")
    assert dumped(server, "system").startswith(b"DZV1")
    server.start()
    container.wait_online()
    container.run("MATCH (n) DELETE n")
    server.stop(120)
    assert server.load("neo4j", io.BytesIO(data)) == []
    server.start()
    container.wait_online()
    assert container.run("MATCH (n:Person) RETURN count(n) AS n") == [{"n": 500}]
    server.stop(120)
    names = [c.name for c in real_docker.client.containers.list(all=True)]
    assert names == [container.container.name]


def test_what_is_wrong_is_said(container: RealContainer, server: DockerNeo4j) -> None:
    with pytest.raises(DatabaseMissing, match="there is no database nothere"):
        server.info("nothere")
    with pytest.raises(SourceError, match="not a Neo4j database's name"):
        server.info("*")
    server.stop(120)
    with pytest.raises(SourceError, match="neo4j-admin database load"):
        server.load("neo4j", io.BytesIO(b"rubbish" * 100_000))
    with pytest.raises(DatabaseMissing):
        dumped(server, "nothere")


def test_a_dump_that_is_left_early_leaves_nothing_behind(
    container: RealContainer, server: DockerNeo4j, real_docker: RealDocker
) -> None:
    server.stop(120)
    with server.dump("system") as dump:
        assert dump.read(4) == b"DZV1"
    assert len(real_docker.client.containers.list(all=True)) == 1
    assert dumped(server, "system").startswith(b"DZV1")


_KILLED = """
import os, signal, sys
from snap.sources.neo4j_docker import DockerNeo4j
with DockerNeo4j(sys.argv[1], url=sys.argv[2]).dump("neo4j") as dump:
    dump.read(4)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_dump_left_is_gone_before_the_server_starts(
    container: RealContainer, server: DockerNeo4j, real_docker: RealDocker
) -> None:
    def others() -> list[str]:
        every = real_docker.client.containers.list(all=True)
        return [str(one.name) for one in every if one.id != container.container.id]

    server.stop(120)
    command = [sys.executable, "-c", _KILLED, server.place, real_docker.url]
    assert subprocess.run(command, check=False, timeout=120).returncode == -signal.SIGKILL
    assert len(others()) == 1
    server.start()
    assert others() == []
    container.wait_online()
    server.stop(120)
    subprocess.run(command, check=False, timeout=120)
    assert len(others()) == 1
    assert {info.database for info in server.databases()} == {"neo4j", "system"}
    assert others() == []


def test_settings_and_plugins_are_read_from_the_container(
    container: RealContainer, server: DockerNeo4j
) -> None:
    files = dict(server.configuration())
    assert f"listen_address=127.0.0.1:{container.port}".encode() in files["neo4j.conf"]
    assert server.plugins() == []
    assert server.environment()["NEO4J_EDITION"] == "community"
    server.require_lasting()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_container_or_a_daemon_that_is_not_there_is_a_clear_error(
    real_docker: RealDocker,
) -> None:
    missing = DockerNeo4j("nothere", url=real_docker.url)
    with pytest.raises(SourceError, match="there is no container nothere"):
        missing.is_running()
    missing.close()
    nobody = DockerNeo4j("neo4j", url="unix:///nowhere/sock")
    with pytest.raises(SourceError, match="Docker: ") as caught:
        nobody.is_running()
    assert "does Docker run?" in caught.value.hint
    del caught
    # Docker's client leaves a socket open that it could not connect.
    gc.collect()


def test_a_container_that_is_no_neo4j_is_a_clear_error(real_docker: RealDocker) -> None:
    other = real_docker.client.containers.create(
        real_docker.neo4j_image(), entrypoint=["sleep"], command=["60"], network_mode="none"
    )
    server = DockerNeo4j(str(other.name), url=real_docker.url)
    try:
        assert not server.is_running()
        with pytest.raises(SourceError, match="/data/databases"):
            server.databases()
    finally:
        server.close()
        other.remove(force=True, v=True)


def test_a_container_that_would_be_gone_with_its_data_is_refused(real_docker: RealDocker) -> None:
    bare = io.BytesIO()
    tarfile.open(fileobj=bare, mode="w").close()
    real_docker.client.api.import_image_from_data(
        bare.getvalue(), repository="snap-tests/bare", tag="test"
    )
    create = real_docker.client.containers.create
    passing = create(real_docker.neo4j_image(), network_mode="none", auto_remove=True)
    within = create("snap-tests/bare:test", ["neo4j"], network_mode="none")
    try:
        for other, message in ((passing, "was started with --rm"), (within, "is in no volume")):
            with pytest.raises(SourceError, match=message) as caught:
                neo4j_service(
                    "neo4j-docker",
                    str(other.name),
                    name=None,
                    access=Neo4jAccess(docker_url=real_docker.url),
                    state_folder=Path("/nowhere"),
                    previous=lambda _name: None,
                )
            assert caught.value.hint
            other.reload()
            assert other.status == "created"
    finally:
        passing.remove(force=True, v=True)
        within.remove(force=True, v=True)


@pytest.mark.slow
def test_a_container_that_is_killed_as_it_stops_has_to_be_recovered_first(
    container: RealContainer, server: DockerNeo4j
) -> None:
    container.start()
    container.run("CREATE (:Late)")
    with pytest.raises(SourceError, match="did not stop within 0 seconds and was killed"):
        server.stop(0)
    assert server.info("neo4j").recovery_required
    with pytest.raises(UncleanShutdown):
        dumped(server)
    server.start()
    container.wait_online()
    assert container.run("MATCH (n:Late) RETURN count(n) AS n") == [{"n": 1}]
