"""An outage of a real server ends, and what is left of one that did not is mended."""

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.repo.clock import system_clock
from snap.sources.neo4j_bolt import Neo4jBolt
from snap.sources.neo4j_downtime import note_stop
from snap.sources.neo4j_exchange import Step, begin_exchange
from snap.sources.neo4j_install import Neo4jInstall
from snap.sources.neo4j_outage import Outage
from snap.sources.neo4j_server import Neo4jOptions
from tests.servers.neo4j import RealNeo4j
from tests.servers.services import run_checked


def outage_of(server: RealNeo4j, folder: Path) -> Outage:
    options = Neo4jOptions("neo4j", "graph", "neo4j", server.url, server.auth)
    return Outage(Neo4jInstall(server.home), options, folder, system_clock)


@pytest.mark.slow
def test_a_server_is_noted_stopped_started_and_asked(
    running_neo4j: RealNeo4j, tmp_path: Path
) -> None:
    outage = outage_of(running_neo4j, tmp_path)
    outage.begin()
    assert not running_neo4j.is_running()
    assert len(list(tmp_path.iterdir())) == 1
    outage.end()
    assert running_neo4j.run("RETURN 1 AS n") == [{"n": 1}]
    assert outage.downtime_ns > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_database_that_something_else_started_while_it_was_dumped_comes_online(
    running_neo4j: RealNeo4j, tmp_path: Path
) -> None:
    running_neo4j.run("CREATE (:Kept)")
    outage = outage_of(running_neo4j, tmp_path)
    outage.begin()
    # As `neo4j-admin database dump` has it.
    with (running_neo4j.data / "databases/neo4j/database_lock").open("r+b") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        run_checked([str(running_neo4j.home / "bin/neo4j"), "start"], 120)
        with Neo4jBolt(running_neo4j.url, running_neo4j.auth) as bolt:
            bolt.wait_online("system")
            with pytest.raises(SourceError, match="offline"):
                bolt.wait_online("neo4j")
    outage.end()
    assert running_neo4j.run("MATCH (n) RETURN labels(n) AS l") == [{"l": ["Kept"]}]
    running_neo4j.run("MATCH (n) DELETE n")
    [warning] = outage.warnings
    assert "started by something else" in warning
    assert list(tmp_path.iterdir()) == []


def test_the_note_of_a_process_that_lives_is_not_mended(
    running_neo4j: RealNeo4j, tmp_path: Path
) -> None:
    note_stop(tmp_path, kind="neo4j", place=str(running_neo4j.home), started_by="")
    outage_of(running_neo4j, tmp_path).mend_last()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_a_half_done_exchange_is_undone_even_of_a_server_that_was_started_by_hand(
    running_neo4j: RealNeo4j, tmp_path: Path
) -> None:
    running_neo4j.run("CREATE (:Old)")
    running_neo4j.stop()
    stage = Neo4jInstall(running_neo4j.home).stage(f"{os.getpid()}-9")
    stage.make()
    for live, staged in stage.folders("neo4j"):
        shutil.copytree(live, staged)
    begin_exchange(
        tmp_path,
        stage,
        kind="neo4j",
        place=str(running_neo4j.home),
        token=f"{os.getpid()}-9",
        databases=["neo4j"],
    )
    with pytest.raises(SourceError, match="is restoring into it"):
        outage_of(running_neo4j, tmp_path).mend_last()
    # Killed where no folder has the live names: a server then makes an empty database.
    stage.apply(
        [
            Step(swaps=False, source=live, target=f"{staged}.aside")
            for live, staged in stage.folders("neo4j")
        ]
    )
    [journal] = tmp_path.iterdir()
    journal.write_text(json.dumps(json.loads(journal.read_text()) | {"process": "another"}))
    running_neo4j.start()
    assert running_neo4j.run("MATCH (n) RETURN count(n) AS n") == [{"n": 0}]
    said = outage_of(running_neo4j, tmp_path).mend_last()
    assert "was undone" in said
    assert ".snap-replaced-" in said
    assert running_neo4j.run("MATCH (n) RETURN labels(n) AS l") == [{"l": ["Old"]}]
    assert list(tmp_path.iterdir()) == []
    assert outage_of(running_neo4j, tmp_path).mend_last() == ""
