"""Programs in one-off containers of a real Docker, without any Neo4j."""

import contextlib
import io
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from subprocess import PIPE

import pytest
from docker.errors import NotFound
from docker.types import LogConfig

from snap.repo.clock import MINUTE_NS, system_clock
from snap.repo.process import process_mark
from snap.sources.neo4j_docker_job import Job, labels_of, remove_left
from tests.servers.docker import RealDocker

NOISE = random.Random(5).randbytes(3_000_000)


@contextmanager
def running(docker: RealDocker, script: str, *, takes_input: bool = False) -> Iterator[Job]:
    container = docker.client.containers.create(
        docker.neo4j_image(),
        entrypoint=["bash"],
        command=["-c", script],
        network_mode="none",
        stdin_open=takes_input,
        log_config=LogConfig(type="none"),
    )
    try:
        job = Job(container, takes_input=takes_input)
        with contextlib.closing(job):
            yield job
    finally:
        container.remove(force=True, v=True)


def test_what_it_prints_is_read_apart_from_what_it_says(real_docker: RealDocker) -> None:
    script = "echo first; echo careful >&2; echo second; echo worse >&2; exit 3"
    with running(real_docker, script) as job:
        assert job.read_all() == b"first\nsecond\n"
        assert job.finish() == (3, "careful\nworse\n")


@pytest.mark.parametrize("length", [1_000, 1 << 20])
def test_no_more_is_read_than_was_asked_for(real_docker: RealDocker, length: int) -> None:
    with running(real_docker, "head -c 100000 /dev/zero") as job:
        pieces = list(iter(lambda: job.read(length), b""))
        assert b"".join(pieces) == bytes(100_000)
        assert max(map(len, pieces)) <= length


def test_of_much_that_it_says_the_end_is_kept(real_docker: RealDocker) -> None:
    with running(real_docker, "for n in {1..4000}; do echo line $n >&2; done") as job:
        assert job.read_all() == b""
        _, said = job.finish()
        assert said.endswith("line 3999\nline 4000\n")
        assert len(said) == 16 << 10


def test_it_is_sent_all_and_then_the_end(real_docker: RealDocker) -> None:
    few = NOISE[:20_000]
    with running(real_docker, "cat", takes_input=True) as job:
        job.send(io.BytesIO(few))
        assert job.read_all() == few
        assert job.finish() == (0, "")


def test_it_may_end_before_it_has_read_all(real_docker: RealDocker) -> None:
    with running(real_docker, "head -c 3 >/dev/null; exit 7", takes_input=True) as job:
        ending = threading.Thread(target=job.end_input_with_program)
        ending.start()
        job.send(io.BytesIO(NOISE))
        ending.join()
        assert job.read_all() == b""
        assert job.finish() == (7, "")


def labels_of_a_dead_process(server: str) -> dict[str, str]:
    program = "from snap.repo.process import process_mark; print(process_mark())"
    mark = subprocess.run([sys.executable, "-c", program], stdout=PIPE, text=True, check=True)
    return labels_of(server) | {"snap.made-by": mark.stdout.strip()}


@contextmanager
def one_offs(docker: RealDocker, labels: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Make containers by their names; one whose name ends with "running" is started."""
    made = [
        docker.client.containers.create(
            docker.neo4j_image(),
            entrypoint=["sleep"],
            command=["600"],
            name=name,
            network_mode="none",
            labels=dict(its),
        )
        for name, its in labels.items()
    ]
    try:
        for container in made:
            if str(container.name).endswith("running"):
                container.start()
        yield
    finally:
        for container in made:
            with contextlib.suppress(NotFound):
                container.remove(force=True)


def test_what_a_killed_process_left_is_ended_and_what_may_be_in_use_is_kept(
    real_docker: RealDocker,
) -> None:
    def names() -> set[str]:
        found = real_docker.client.containers.list(all=True, filters={"label": "snap.job"})
        return {str(container.name) for container in found}

    dead = labels_of_a_dead_process("one")
    pid, started, boot, _, host = process_mark().split(".")
    elsewhere = dead | {"snap.made-by": f"{pid}.{started}.{boot}.1.{host}"}
    labels = {
        "dead-running": dead,
        "dead-made": dead,
        "dead-of-another-server": labels_of_a_dead_process("two"),
        "ours-running": labels_of("one"),
        "ours-made": labels_of("one"),
        "elsewhere-running": elsewhere,
        "elsewhere-made": elsewhere,
    }
    with one_offs(real_docker, labels):
        before = names()
        assert before == labels.keys()
        remove_left(real_docker.client, "one")
        kept = before - {"dead-running", "dead-made"}
        assert names() == kept
        # In two days: of a process that nobody here can see.
        remove_left(real_docker.client, "one", lambda: system_clock() + 2 * 24 * 60 * MINUTE_NS)
        assert names() == kept - {"elsewhere-made"}
