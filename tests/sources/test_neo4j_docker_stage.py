"""A stage in a container's volume is made, exchanged and removed by one-off containers."""

import os
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.repo.process import process_mark
from snap.sources.abandoned import own_token
from snap.sources.neo4j_docker import DockerNeo4j
from snap.sources.neo4j_docker_stage import DockerStage
from snap.sources.neo4j_exchange import Step, begin_exchange, put_back, put_in_place
from tests.servers.docker import RealDocker


def shell(server: DockerNeo4j, script: str) -> str:
    """Run a script with the container's volumes, as the owner of its data."""
    code, out, said = server.run(["-c", script], program="sh")
    assert code == 0, said
    return out


def test_folders_are_exchanged_and_put_back_in_the_volume(
    real_docker: RealDocker, tmp_path: Path
) -> None:
    with real_docker.neo4j_container() as container:
        server = DockerNeo4j(str(container.container.name), url=real_docker.url)
        stage = server.stage(f"{os.getpid()}-1")
        stage.make()
        assert stage.free_bytes() > 0
        [(store, staged_store), (logs, staged_logs)] = stage.folders("neo4j")
        shell(
            server,
            f"mkdir {store} {staged_store} {staged_logs}; echo old > {store}/a; "
            f"echo new > {staged_store}/a; echo new > {staged_logs}/a",
        )
        state = tmp_path / "state"
        exchange = begin_exchange(
            state, stage, kind="neo4j-docker", place="box", token="1-1", databases=["neo4j"]
        )
        assert [bool(move.old) for move in exchange.moves] == [True, False]
        read = f"cat {store}/a {logs}/a 2>/dev/null; :"
        put_in_place(stage, exchange)
        assert shell(server, read) == "new\nnew\n"
        assert not put_back(stage, exchange)
        assert shell(server, read) == "old\n"
        # Cut within an exchange by renames, where the live name is free for a moment.
        stage.apply([Step(swaps=False, source=store, target=f"{staged_store}.aside")])
        assert not put_back(stage, exchange)
        assert shell(server, read) == "old\n"
        with pytest.raises(SourceError, match="is there already"):
            stage.apply([Step(swaps=False, source=staged_store, target=store)])
        assert stage.plain_sources("neo4j", "graph") == []
        stage.remove()
        with pytest.raises(SourceError, match="nothing was exchanged"):
            begin_exchange(state, stage, kind="d", place="b", token="1-1", databases=["neo4j"])
        assert ".snap" not in shell(server, "ls -a /data")
        stage.make()
        assert stage.keep().endswith(f"of container {container.container.name}")
        assert ".snap-replaced-" in shell(server, "ls -a /data")
        server.close()


def test_what_a_killed_process_left_is_removed_unless_it_exchanged(
    real_docker: RealDocker,
) -> None:
    pid, started, boot, _, host = process_mark().split(".")
    dead = 2**22 + 1
    with real_docker.neo4j_container() as container:
        server = DockerNeo4j(str(container.container.name), url=real_docker.url)
        exchanging = server.stage(f"{dead}-exchanging")
        exchanging.make()
        shell(server, f"touch /data/.snap-in-place-{dead}-exchanging/exchanging")
        tokens = [f"{dead}-left", f"{pid}.{started}.{boot}.1.{host}-elsewhere"]
        tokens.append(f"{pid}.{started}.{boot}.1.{host}-old")
        folders = " ".join(f"/data/.snap-in-place-{token}" for token in tokens)
        shell(server, f"mkdir {folders}; touch -d '3 days ago' /data/.snap-in-place-*-old")
        stage = server.stage(own_token())
        stage.make()
        found = shell(server, "cd /data; ls -d .snap-*").split()
        ends = {name.rpartition("-")[2] for name in found}
        assert ends == {"exchanging", "elsewhere", stage_end(stage)}
        server.close()


def stage_end(stage: DockerStage) -> str:
    """Return the end of a stage's name, which no other has."""
    return stage.folders("neo4j")[0][1].split("/")[-3].rpartition("-")[2]
