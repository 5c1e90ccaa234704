"""Which components go back into which server, and what happens where that server is not."""

from pathlib import Path

import neo4j

from snap.cli.neo4j_in_place import neo4j_parts
from snap.repo.ids import BlobId
from snap.repo.snapshot import SUCCESS, Component, Snapshot
from snap.sources.neo4j_in_place import Neo4jPlace
from snap.sources.neo4j_install import Neo4jInstall
from snap.sources.neo4j_server import Neo4jOptions
from tests.servers.neo4j import RealNeo4j

TREE = (BlobId(bytes(32)),)


def component(name: str, place: str, kind: str = "neo4j", database: str = "") -> Component:
    statistics = {"database": database} if database else {}
    return Component(name, kind, place, SUCCESS, subtree=TREE, statistics=statistics)


def snapshot(*components: Component) -> Snapshot:
    return Snapshot(0, "shop", "here", "me", "snap", SUCCESS, components)


ALL = snapshot(
    component("graph-system", "/opt/neo4j/system", database="system"),
    component("graph", "/opt/neo4j/neo4j", database="neo4j"),
    component("graph-configuration", "/opt/neo4j/configuration", "files"),
    component("box", "box/neo4j", "neo4j-docker", database="neo4j"),
    component("events.db", "/srv/events.db", "sqlite"),
    component("etc", "/etc/configuration", "files"),
)


def test_all_databases_of_a_server_go_back_together() -> None:
    servers, notes = neo4j_parts(ALL, None)
    assert [(s.kind, s.place, [c.name for c in s.components]) for s in servers] == [
        ("neo4j", "/opt/neo4j", ["graph-system", "graph"]),
        ("neo4j-docker", "box", ["box"]),
    ]
    assert list(notes) == ["graph-configuration"]


def test_a_named_one_goes_back_alone() -> None:
    [server], notes = neo4j_parts(ALL, "graph")
    assert [c.name for c in server.components] == ["graph"]
    assert notes == {}
    assert neo4j_parts(ALL, "events.db") == ([], {})


def test_a_component_that_failed_goes_nowhere() -> None:
    failed = Component("graph", "neo4j", "/opt/neo4j/neo4j", "failed", error="no password")
    assert neo4j_parts(snapshot(failed), None) == ([], {})


def test_paths_with_slashes_are_a_servers(tmp_path: Path) -> None:
    [server], _ = neo4j_parts(
        snapshot(component("g", f"{tmp_path}/shop.db", database="shop.db")), "g"
    )
    assert server.place == str(tmp_path)


def test_the_question_names_the_server_its_clients_and_its_stop(
    running_neo4j: RealNeo4j, tmp_path: Path
) -> None:
    options = Neo4jOptions("neo4j", "graph", "neo4j", running_neo4j.url, running_neo4j.auth)
    place = Neo4jPlace(Neo4jInstall(running_neo4j.home), options, [], state_folder=tmp_path)
    [server], _ = neo4j_parts(
        snapshot(component("graph", f"{running_neo4j.home}/neo4j", database="neo4j")), None
    )
    with neo4j.GraphDatabase.driver(running_neo4j.url, auth=running_neo4j.auth) as driver:
        driver.verify_connectivity()
        lines = server.lines(place)
    assert lines[0].startswith("graph: the database neo4j (0 B) of neo4j:")
    assert "will be stopped meanwhile" in lines[1]
    assert "neo4j-python" in lines[2]
    running_neo4j.stop()
    assert len(server.lines(place)) == 1
