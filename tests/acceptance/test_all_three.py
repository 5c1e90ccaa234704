"""A live service of three databases: one backup, all destroyed, one restore in place."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.scale import rounds
from tests.servers.chroma import Chroma
from tests.servers.chroma_model import Shape
from tests.servers.docker import RealDocker
from tests.servers.neo4j import Bolt, RealNeo4j

from .command import Snap
from .test_chroma_live import Writer, writing

NODES, VECTORS = rounds(50_000, otherwise=10_000), rounds(30_000, otherwise=6_000)
KINDS = ("KNOWS", "WROTE", "CITES")
IN_CONTAINER = rounds(1, otherwise=2)
"""What is by so much smaller there, where nothing but the way to the server differs."""
SHAPE = Shape(seed=9, threads=3, collections=3, batch=25, dimension=32, threshold=500)

SQLITE_WRITER = """
import sqlite3, sys, threading
db = sqlite3.connect(sys.argv[1], timeout=60, check_same_thread=False)
db.execute("pragma journal_mode=wal")
db.execute("create table if not exists events(id integer primary key, what text)")
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
print("writing", flush=True)
while not stop.is_set():
    with db:
        db.executemany("insert into events(what) values(?)", [("event " * 9,)] * 5)
"""


def populate(server: Bolt, nodes: int) -> None:
    server.run("CREATE CONSTRAINT person FOR (p:Person) REQUIRE p.n IS UNIQUE")
    server.run("CREATE INDEX document FOR (d:Document) ON (d.title)")
    for first in range(0, nodes, 5_000):
        server.run(
            "UNWIND range($first, $first + 4999) AS n "
            "FOREACH (_ IN CASE WHEN n % 5 > 0 THEN [1] ELSE [] END | "
            "  CREATE (:Person {n: n, name: 'p' + n})) "
            "FOREACH (_ IN CASE WHEN n % 5 = 0 THEN [1] ELSE [] END | "
            "  CREATE (:Person:Document {n: n, title: 't' + n}))",
            first=first,
        )
    for kind in KINDS:
        for first in range(0, nodes, 5_000):
            server.run(
                "UNWIND range($first, $first + 4999) AS n MATCH (a:Person {n: n}), "
                f"(b:Person {{n: (n * 7 + 1) % {nodes}}}) CREATE (a)-[:{kind} {{k: n}}]->(b)",
                first=first,
            )


def picture(server: Bolt) -> dict[str, Any]:
    """Return all nodes and relationships, and the schema."""
    return {
        "nodes": server.run(
            "MATCH (n) RETURN labels(n) AS l, properties(n) AS p, n.n AS n ORDER BY n"
        ),
        "relationships": server.run(
            "MATCH (a)-[r]->(b) RETURN type(r) AS t, r.k AS k, a.n AS a, b.n AS b ORDER BY t, k"
        ),
        "indexes": server.run(
            "SHOW INDEXES YIELD name, type, labelsOrTypes, properties, state RETURN * ORDER BY name"
        ),
        "constraints": server.run(
            "SHOW CONSTRAINTS YIELD name, type, labelsOrTypes RETURN * ORDER BY name"
        ),
    }


@contextlib.contextmanager
def writing_events(path: Path) -> Iterator[None]:
    command = [sys.executable, "-c", SQLITE_WRITER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield
        assert process.poll() is None
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()


def fill_vectors(writer: Writer, vectors: int) -> None:
    """Wait until as many vectors are there as are wanted."""
    # Of six calls two add a batch, and one record more comes with another.
    per_six = 2 * SHAPE.batch - max(1, SHAPE.batch // 4) + 1
    while sum(writer.counts("done")) * per_six / 6 < vectors:
        time.sleep(1)


def back_up_live(
    chroma: Chroma, snap: Snap, folder: Path, graph: str, count: int
) -> tuple[dict[str, Any], Writer]:
    """Back up while two writers write; return the summary, and what the vectors may be."""
    vectors, events = folder / "chroma", folder / "events.db"
    with writing(chroma, str(vectors), SHAPE, folder / "logs") as writer:
        fill_vectors(writer, count)
        with writing_events(events):
            low = writer.counts("done")
            summary = snap.json("backup", graph, f"chroma:{vectors}", f"sqlite:{events}")
            high = writer.counts("begun")
        writer.jobs.append({"folder": str(vectors), "low": low, "high": high})
    assert {c["status"] for c in summary["components"]} == {"success"}
    return summary, writer


def require_as_recorded(summary: dict[str, Any], writer: Writer, folder: Path) -> None:
    assert set(writer.check().values()) == {""}
    found = {component["name"]: component for component in summary["components"]}
    with closing(sqlite3.connect(folder / "events.db")) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        count, last, texts = db.execute(
            "select count(*), max(id), count(distinct what) from events"
        ).fetchone()
    assert count == last == found["events.db"]["statistics"]["tables"]["events"]
    assert texts == 1


def lose_the_folder(folder: Path) -> None:
    shutil.rmtree(folder / "chroma")
    for path in folder.glob("events.db*"):
        path.unlink()
    (folder / "events.db").write_bytes(b"gone")


@pytest.mark.slow
def test_a_live_service_comes_back_after_all_of_it_was_destroyed(
    chroma: Chroma,
    snap: Snap,
    neo4j_server: RealNeo4j,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "srv"
    folder.mkdir()
    neo4j_server.start()
    populate(neo4j_server, NODES)
    before = picture(neo4j_server)
    monkeypatch.setenv("NEO4J_PASSWORD", str(neo4j_server.password))
    monkeypatch.setenv("SNAP_STATE_DIR", str(tmp_path / "state"))
    place = f"neo4j:{neo4j_server.home}"
    summary, writer = back_up_live(chroma, snap, folder, place, VECTORS)
    require_counted(summary, neo4j_server.home.name, NODES)

    neo4j_server.stop()
    shutil.rmtree(neo4j_server.data / "databases")
    shutil.rmtree(neo4j_server.data / "transactions")
    lose_the_folder(folder)

    restored = snap.json("restore", summary["snapshot_id"], "--in-place", "--yes")
    assert {c["status"] for c in restored["components"]} == {"success"}
    assert picture(neo4j_server) == before
    require_as_recorded(summary, writer, folder)


@pytest.mark.slow
def test_a_live_service_with_its_graph_in_a_container_comes_back_as_well(
    chroma: Chroma,
    snap: Snap,
    real_docker: RealDocker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "srv"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_HOST", real_docker.url)
    monkeypatch.setenv("SNAP_STATE_DIR", str(tmp_path / "state"))
    nodes = NODES // IN_CONTAINER
    with real_docker.neo4j_container() as container:
        monkeypatch.setenv("NEO4J_PASSWORD", str(container.password))
        container.start()
        populate(container, nodes)
        before = picture(container)
        name = str(container.container.name)
        place = f"neo4j-docker:{name}"
        summary, writer = back_up_live(chroma, snap, folder, place, VECTORS // IN_CONTAINER)
        require_counted(summary, name, nodes)

        for _ in range(0, nodes, 5_000):
            container.run("MATCH (n) WITH n LIMIT 5000 DETACH DELETE n")
        assert container.run("MATCH (n) RETURN count(n) AS n") == [{"n": 0}]
        lose_the_folder(folder)

        restored = snap.json("restore", summary["snapshot_id"], "--in-place", "--yes")
        assert {c["status"] for c in restored["components"]} == {"success"}
        container.wait_online()
        assert picture(container) == before
    require_as_recorded(summary, writer, folder)


def require_counted(summary: dict[str, Any], name: str, nodes: int) -> None:
    graph = next(c for c in summary["components"] if c["name"] == name)
    assert graph["statistics"]["nodes"] == nodes
    assert graph["statistics"]["relationships"] == len(KINDS) * nodes
