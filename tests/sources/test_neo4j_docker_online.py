"""Enterprise's online backup in a container: the refusal of Community's program in there is real.

Where a test has a stand-in for Enterprise's program, its name says so.
"""

import io
import tarfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from snap.errors import SourceError
from snap.sources import neo4j_docker_online
from snap.sources.neo4j_conf import Neo4jConf
from snap.sources.neo4j_docker import DockerNeo4j
from snap.sources.neo4j_docker_online import Inside, back_up_inside, run_inside
from tests.servers.docker import RealContainer, RealDocker

CONTENT = b"BTV1" + bytes(range(256)) * 20000
_STAND_IN = """#!/bin/sh
for word in "$@"; do case $word in --to-path=*) to=${word#--to-path=};; esac; last=$word; done
cp /tmp/enterprise/artifact "$to/$last-$(date +%Y-%m-%dT%H-%M-%S).backup"
echo "$(id -u) $HEAP_SIZE $*" > /tmp/asked
"""


@pytest.fixture(scope="module")
def container(real_docker: RealDocker) -> Iterator[RealContainer]:
    with real_docker.neo4j_container() as server:
        server.start()
        yield server


@pytest.fixture
def inside(container: RealContainer) -> Inside:
    """The running container, with a stand-in for Enterprise's program in a home of its own."""
    files = {"bin/neo4j-admin": _STAND_IN.encode(), "artifact": CONTENT}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"enterprise/{name}")
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    container.container.put_archive("/tmp", packed.getvalue())
    return Inside(container.container, "7474:7474", "/tmp/enterprise")


CONF = Neo4jConf.among([], "/var/lib/neo4j")


def left_in(inside: Inside) -> str:
    return run_inside(inside, "ls -A /data | grep -v -x -e databases -e transactions || :")[1]


def started_at(container: RealContainer) -> str:
    container.container.reload()
    return str(container.container.attrs["State"]["StartedAt"])


def test_communitys_program_refuses_in_the_container_that_goes_on(
    container: RealContainer, inside: Inside, real_docker: RealDocker
) -> None:
    before, there = started_at(container), left_in(inside)
    server = DockerNeo4j(str(container.container.name), url=real_docker.url)
    try:
        with (
            pytest.raises(SourceError, match=r"exit code 2: Unmatched arguments .*'backup'"),
            server.back_up("neo4j"),
        ):
            pass
    finally:
        server.close()
    assert started_at(container) == before
    assert left_in(inside) == there
    assert container.run("RETURN 1 AS n") == [{"n": 1}]


def test_with_a_stand_in_for_enterprise_the_backup_is_fetched_and_removed(
    container: RealContainer, inside: Inside
) -> None:
    before, there = started_at(container), left_in(inside)
    with back_up_inside(inside, CONF, "neo4j") as artifact:
        assert ".snap-online-" in left_in(inside)
        assert b"".join(iter(lambda: artifact.read(100_000), b"")) == CONTENT
        artifact.finish()
    assert left_in(inside) == there
    # As the data's owner, with little memory.
    asked = run_inside(inside, "cat /tmp/asked")[1]
    assert asked.startswith("7474 256m database backup --type=FULL --compress=false")
    # Left midway, it is removed as well; so is what a process left that is gone.
    run_inside(inside, "mkdir -p /data/.snap-online-4194305-abc/neo4j.tmp")
    with back_up_inside(inside, CONF, "neo4j") as artifact:
        assert artifact.read(4) == b"BTV1"
    assert left_in(inside) == there
    assert started_at(container) == before


def test_with_a_stand_in_for_enterprise_no_room_in_the_volume_is_told_before(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def enormous(size_bytes: int) -> int:
        sizes.append(size_bytes)
        return 1 << 60

    monkeypatch.setattr(neo4j_docker_online, "room_for", enormous)
    there = left_in(inside)
    run_inside(inside, "rm -f /tmp/asked")
    with (
        pytest.raises(SourceError, match="no room for a backup of neo4j"),
        back_up_inside(inside, CONF, "neo4j"),
    ):
        pass
    assert run_inside(inside, "ls /tmp/asked")[0] != 0
    # The store's files are there, so it is something, and not all of the disk.
    assert 1 << 18 < sizes[0] < 1 << 32
    assert left_in(inside) == there


def test_a_program_that_is_left_is_ended_with_its_children(inside: Inside) -> None:
    folder = "/data/.snap-online-test"
    run_inside(inside, 'mkdir "$1"', folder)
    ended: list[Any] = []
    arguments = (folder, "sh", "-c", "sleep 1000 & wait")
    thread = threading.Thread(
        target=lambda: ended.append(run_inside(inside, neo4j_docker_online.RUN, *arguments))
    )
    thread.start()
    while "sleep" not in str(inside.container.top()):
        assert thread.is_alive()
        time.sleep(0.2)
    run_inside(inside, neo4j_docker_online.REMOVE, folder)
    thread.join(60)
    assert [code for code, _, _ in ended] == [137]
    assert "sleep" not in str(inside.container.top())
    assert ".snap-online-test" not in left_in(inside)
