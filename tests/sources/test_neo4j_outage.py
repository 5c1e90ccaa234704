"""An outage of a real server ends, and what is left of one that did not is mended."""

from pathlib import Path

from snap.repo.clock import system_clock
from snap.sources.neo4j_downtime import note_stop
from snap.sources.neo4j_install import Neo4jInstall
from snap.sources.neo4j_outage import Outage
from snap.sources.neo4j_server import Neo4jOptions
from tests.servers.neo4j import RealNeo4j


def outage_of(server: RealNeo4j, folder: Path) -> Outage:
    options = Neo4jOptions("neo4j", "graph", "neo4j", server.url, server.auth)
    return Outage(Neo4jInstall(server.home), options, folder, system_clock)


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


def test_the_note_of_a_process_that_lives_is_not_mended(
    running_neo4j: RealNeo4j, tmp_path: Path
) -> None:
    note_stop(tmp_path, kind="neo4j", place=str(running_neo4j.home), started_by="")
    outage_of(running_neo4j, tmp_path).mend_last()
    assert len(list(tmp_path.iterdir())) == 1
