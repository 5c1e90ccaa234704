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

from tests.servers.chroma import Chroma
from tests.servers.chroma_model import Shape
from tests.servers.neo4j import Bolt, RealNeo4j

from .command import Snap
from .test_chroma_live import Writer, writing

NODES, RELATIONSHIPS = 50_000, 150_000
VECTORS = 30_000
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


def populate(server: Bolt) -> None:
    server.run("CREATE CONSTRAINT person FOR (p:Person) REQUIRE p.n IS UNIQUE")
    server.run("CREATE INDEX document FOR (d:Document) ON (d.title)")
    for first in range(0, NODES, 10_000):
        server.run(
            "UNWIND range($first, $first + 9999) AS n "
            "FOREACH (_ IN CASE WHEN n % 5 > 0 THEN [1] ELSE [] END | "
            "  CREATE (:Person {n: n, name: 'p' + n})) "
            "FOREACH (_ IN CASE WHEN n % 5 = 0 THEN [1] ELSE [] END | "
            "  CREATE (:Person:Document {n: n, title: 't' + n}))",
            first=first,
        )
    for kind in ("KNOWS", "WROTE", "CITES"):
        for first in range(0, NODES, 10_000):
            server.run(
                "UNWIND range($first, $first + 9999) AS n MATCH (a:Person {n: n}), "
                f"(b:Person {{n: (n * 7 + 1) % {NODES}}}) CREATE (a)-[:{kind} {{k: n}}]->(b)",
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


def fill_vectors(writer: Writer) -> None:
    """Wait until as many vectors are there as are wanted."""
    # Of six calls two add a batch, and one record more comes with another.
    per_six = 2 * SHAPE.batch - max(1, SHAPE.batch // 4) + 1
    while sum(writer.counts("done")) * per_six / 6 < VECTORS:
        time.sleep(0.2)


def back_up_live(
    chroma: Chroma, snap: Snap, folder: Path, sources: tuple[str, ...]
) -> tuple[dict[str, Any], Writer]:
    """Back up while two writers write; return the summary, and what the vectors may be."""
    vectors, events = folder / "chroma", folder / "events.db"
    with (
        writing(chroma, str(vectors), SHAPE, folder / "logs") as writer,
        writing_events(events),
    ):
        fill_vectors(writer)
        low = writer.counts("done")
        summary = snap.json("backup", *sources, f"chroma:{vectors}", f"sqlite:{events}")
        writer.jobs.append({"folder": str(vectors), "low": low, "high": writer.counts("begun")})
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
    populate(neo4j_server)
    before = picture(neo4j_server)
    monkeypatch.setenv("NEO4J_PASSWORD", str(neo4j_server.password))
    monkeypatch.setenv("SNAP_STATE_DIR", str(tmp_path / "state"))
    summary, writer = back_up_live(chroma, snap, folder, (f"neo4j:{neo4j_server.home}",))
    name = neo4j_server.home.name
    graph = next(c for c in summary["components"] if c["name"] == name)
    assert graph["statistics"]["nodes"] == NODES
    assert graph["statistics"]["relationships"] == RELATIONSHIPS

    neo4j_server.stop()
    shutil.rmtree(neo4j_server.data / "databases")
    shutil.rmtree(neo4j_server.data / "transactions")
    shutil.rmtree(folder / "chroma")
    for path in folder.glob("events.db*"):
        path.unlink()
    (folder / "events.db").write_bytes(b"gone")

    restored = snap.json("restore", summary["snapshot_id"], "--in-place", "--yes")
    assert {c["status"] for c in restored["components"]} == {"success"}
    assert picture(neo4j_server) == before
    require_as_recorded(summary, writer, folder)
