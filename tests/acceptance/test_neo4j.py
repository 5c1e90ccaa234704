"""A running Neo4j, native and in a container, backed up with a live SQLite database and back."""

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from snap.sources.neo4j_docker import DockerNeo4j
from tests.servers.docker import RealDocker
from tests.servers.neo4j import Bolt, RealNeo4j, neo4j_in

from .command import Snap

PEOPLE, KNOWN = 5000, 15_000


def populate(server: Bolt) -> None:
    server.run("CREATE INDEX person FOR (p:Person) ON (p.n)")
    server.run("CREATE CONSTRAINT thing FOR (t:Thing) REQUIRE t.n IS UNIQUE")
    server.run(f"UNWIND range(1, {PEOPLE}) AS n CREATE (:Person {{n: n, name: 'p' + n}})")
    server.run("UNWIND range(1, 100) AS n CREATE (:Thing:Rare {n: n})")
    server.run("CALL db.awaitIndexes()")
    server.run(
        f"UNWIND range(1, {KNOWN}) AS k MATCH (a:Person {{n: k % {PEOPLE} + 1}}), "
        f"(b:Person {{n: (k * 7) % {PEOPLE} + 1}}) CREATE (a)-[:KNOWS {{k: k}}]->(b)"
    )


def picture(server: Bolt) -> dict[str, object]:
    """Return what the database holds, row by row for a part of it."""
    return {
        "labels": server.run("MATCH (n) RETURN labels(n) AS l, count(*) AS n ORDER BY l"),
        "types": server.run("MATCH ()-[r]->() RETURN type(r) AS t, count(*) AS n, sum(r.k) AS s"),
        "people": server.run(
            "MATCH (p:Person) WHERE p.n % 97 = 0 RETURN p.n AS n, p.name AS m ORDER BY n"
        ),
        "schema": server.run("SHOW INDEXES YIELD name, type, labelsOrTypes, properties, state"),
    }


def make_events(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("create table events(id integer primary key, what text)")
        db.executemany("insert into events(what) values(?)", ((f"e{n}",) for n in range(1000)))


@pytest.mark.slow
def test_a_native_server_comes_back_with_everything_it_held(
    snap: Snap, neo4j_server: RealNeo4j, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    neo4j_server.start()
    populate(neo4j_server)
    before = picture(neo4j_server)
    make_events(tmp_path / "events.db")
    monkeypatch.setenv("NEO4J_PASSWORD", str(neo4j_server.password))
    monkeypatch.setenv("SNAP_STATE_DIR", str(tmp_path / "state"))
    arguments = (f"neo4j:{neo4j_server.home}", f"sqlite:{tmp_path / 'events.db'}")
    summary = snap.json("backup", *arguments)
    found = {component["name"]: component for component in summary["components"]}
    assert {name: c["status"] for name, c in found.items()} == dict.fromkeys(
        ("neo4j-home", "neo4j-home-system", "neo4j-home-configuration", "events.db"), "success"
    )
    assert found["neo4j-home"]["statistics"]["labels"] == {
        "Person": PEOPLE,
        "Rare": 100,
        "Thing": 100,
    }
    assert found["neo4j-home"]["downtime_seconds"] > 0
    assert picture(neo4j_server) == before

    # A later day stores little, and nothing where nothing was written.
    neo4j_server.run("MATCH (p:Person) WHERE p.n % 100 = 0 SET p.name = 'changed'")
    later = snap.json("backup", *arguments)
    again = {component["name"]: component for component in later["components"]}
    assert again["neo4j-home"]["bytes_stored"] < found["neo4j-home"]["bytes_stored"] / 4

    # Into a server that has never seen it.
    snap.ok("restore", summary["snapshot_id"], "--target", str(tmp_path / "out"))
    (tmp_path / "other").mkdir()
    with neo4j_in(tmp_path / "other") as other:
        for name, database in (("neo4j-home", "neo4j"), ("neo4j-home-system", "system")):
            other.admin(
                *("database", "load", f"--from-path={tmp_path / 'out' / name}"),
                *("--overwrite-destination=true", database),
            )
        other.start()
        assert picture(other) == before
        other.stop()
    # The same as a stream.
    command = f"{summary['snapshot_id']}:neo4j-home"
    streamed = snap.run("dump", command).stdout
    assert streamed == (tmp_path / "out/neo4j-home/neo4j.dump").read_bytes()
    snap.ok("check", "--read-data")


@pytest.mark.slow
def test_a_server_in_a_container_comes_back_with_everything_it_held(
    snap: Snap, real_docker: RealDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with real_docker.neo4j_container() as container:
        container.start()
        populate(container)
        before = picture(container)
        name = str(container.container.name)
        monkeypatch.setenv("NEO4J_PASSWORD", str(container.password))
        monkeypatch.setenv("DOCKER_HOST", real_docker.url)
        monkeypatch.setenv("SNAP_STATE_DIR", str(tmp_path / "state"))
        summary = snap.json("backup", f"neo4j-docker:{name}")
        found = {component["name"]: component for component in summary["components"]}
        assert found[name]["statistics"]["labels"]["Person"] == PEOPLE
        assert set(found) == {name, f"{name}-system", f"{name}-configuration"}
        assert container.is_running()
        container.run("MATCH (n) DETACH DELETE n")
        streamed = snap.run("dump", f"latest:{name}").stdout
        server = DockerNeo4j(name, url=real_docker.url)
        try:
            server.stop(120)
            server.load("neo4j", io.BytesIO(streamed))
            server.start()
        finally:
            server.close()
        container.wait_online()
        assert picture(container) == before


@pytest.mark.slow
def test_what_is_wrong_with_a_server_leaves_the_other_components(
    snap: Snap, neo4j_server: RealNeo4j, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    neo4j_server.start()
    make_events(tmp_path / "events.db")
    monkeypatch.setenv("NEO4J_PASSWORD", "a-wrong-password")
    monkeypatch.setenv("SNAP_STATE_DIR", str(tmp_path / "state"))
    done = snap.run("backup", f"neo4j:{neo4j_server.home}", f"sqlite:{tmp_path / 'events.db'}")
    assert done.returncode == 3
    assert b"wrong user or password" in done.stderr
    assert neo4j_server.is_running()
    nothing = snap.run("backup", f"neo4j:{tmp_path}")
    assert nothing.returncode == 1
    assert b"holds no Neo4j" in nothing.stderr
