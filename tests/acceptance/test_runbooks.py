"""The five disasters of spec/RUNBOOKS.md: its commands, as printed, against real servers."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.chroma import ROOT, Chroma
from tests.servers.neo4j import RealNeo4j, neo4j_in

PASSWORD = "runbooks"
RUNBOOKS = ROOT / "spec/RUNBOOKS.md"


def blocks_of(number: int) -> list[str]:
    """Return the shell blocks of one disaster."""
    [section] = re.findall(rf"^## {number}\. .*?(?=^## |\Z)", RUNBOOKS.read_text(), re.M | re.S)
    return re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)


@dataclass
class Service:
    """A small knowledge service: events, vectors, and where there is a server the graph."""

    folder: Path
    chroma: Chroma
    graph: RealNeo4j | None

    @property
    def events(self) -> Path:
        return self.folder / "srv/events.db"

    @property
    def vectors(self) -> Path:
        return self.folder / "srv/chroma"

    def configure(self) -> None:
        text = RUNBOOKS.read_text().split("```toml\n")[1].split("```")[0]
        graph = self.graph
        text = text.replace("/mnt/backup/knowledge", str(self.folder / "backup"))
        text = text.replace("/srv/knowledge", str(self.folder / "srv"))
        text = text.replace("/etc/snap/", str(self.folder) + "/")
        if graph is None:
            text = re.sub(r"\[sources\.graph\].*?(?=\[)", "", text, flags=re.S)
        else:
            text = text.replace("/opt/neo4j", str(graph.home))
            (self.folder / "neo4j-password").write_text(str(graph.password))
        (self.folder / "password").write_text(PASSWORD)
        own = self.folder / "home/.config/snap/snap.toml"
        own.parent.mkdir(parents=True)
        own.write_text(text)

    def fill(self) -> None:
        self.events.parent.mkdir()
        with closing(sqlite3.connect(self.events)) as db, db:
            db.execute("create table events(id integer primary key, what text)")
            db.executemany("insert into events(what) values(?)", ((f"e{n}",) for n in range(2000)))
        self.chroma.run("fill", str(self.vectors), "800", "8", "2")
        if self.graph is not None:
            self.graph.start()
            self.graph.run("UNWIND range(1, 2000) AS n CREATE (:Person {n: n})")
            self.graph.run(
                "MATCH (a:Person), (b:Person {n: a.n % 2000 + 1}) CREATE (a)-[:KNOWS {k: a.n}]->(b)"
            )

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNAP_", "XDG_", "NEO4J"))}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-e", "-u", "-o", "pipefail"],
            input=script,
            env=kept | {"HOME": str(self.folder / "home"), "PATH": path},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def ok(self, script: str) -> str:
        done = self.shell(script)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def picture(self) -> dict[str, object]:
        """Return all that the databases hold."""
        with closing(sqlite3.connect(self.events)) as db:
            events = db.execute("select * from events order by id").fetchall()
        held: dict[str, object] = {
            "events": events,
            "vectors": self.chroma.run("dump", str(self.vectors)),
        }
        if self.graph is not None:
            held["people"] = self.graph.run("MATCH (p:Person) RETURN p.n AS n ORDER BY n")
            held["known"] = self.graph.run(
                "MATCH (a)-[r:KNOWS]->(b) RETURN a.n AS a, r.k AS k, b.n AS b ORDER BY k"
            )
        return held

    def run_book(self, number: int) -> str:
        [block] = blocks_of(number)
        return self.ok(block)


def made(folder: Path, chroma: Chroma, graph: RealNeo4j | None) -> Service:
    service = Service(folder, chroma, graph)
    service.configure()
    service.fill()
    service.ok("snap init --kdf-seconds 0\nsnap backup")
    return service


@pytest.fixture
def service(tmp_path: Path, chroma: Chroma) -> Service:
    """Events and vectors, backed up once."""
    return made(tmp_path, chroma, None)


@pytest.fixture
def whole_service(tmp_path: Path, chroma: Chroma) -> Iterator[Service]:
    """All three, backed up once."""
    (tmp_path / "graph").mkdir()
    with neo4j_in(tmp_path / "graph") as graph:
        yield made(tmp_path, chroma, graph)


def test_every_disaster_has_one_block_of_commands() -> None:
    assert [len(blocks_of(number)) for number in range(1, 6)] == [1] * 5


@pytest.mark.slow
def test_everything_is_lost(whole_service: Service) -> None:
    before = whole_service.picture()
    graph = whole_service.graph
    assert graph is not None
    shutil.rmtree(whole_service.events.parent)
    graph.stop()
    # As it is installed: without any database.
    for name in ("databases", "transactions"):
        shutil.rmtree(graph.data / name)
        (graph.data / name).mkdir()
    shutil.rmtree(whole_service.folder / "home/.cache", ignore_errors=True)
    told = whole_service.run_book(1)
    assert "events: " in told
    assert whole_service.picture() == before


def test_the_sqlite_database_is_corrupted(service: Service) -> None:
    before = service.picture()
    with service.events.open("r+b") as file:
        file.seek(8000)
        file.write(b"x" * 20_000)
    nightly = service.shell("snap backup")
    assert nightly.returncode == 3
    assert "events" in nightly.stderr
    service.run_book(2)
    assert service.picture() == before


@pytest.mark.slow
def test_neo4j_is_gone(whole_service: Service) -> None:
    before = whole_service.picture()
    graph = whole_service.graph
    assert graph is not None
    graph.kill()
    shutil.rmtree(graph.data / "databases/neo4j")
    shutil.rmtree(graph.data / "transactions/neo4j")
    whole_service.run_book(3)
    assert whole_service.picture() == before


@pytest.mark.slow
def test_something_was_deleted_and_noticed_hours_later(whole_service: Service) -> None:
    before = whole_service.picture()
    graph = whole_service.graph
    assert graph is not None
    with closing(sqlite3.connect(whole_service.events)) as db, db:
        db.execute("delete from events where id > 50")
    whole_service.chroma.run("thin", str(whole_service.vectors))
    graph.run("MATCH (p:Person) WHERE p.n > 100 DETACH DELETE p")
    nightly = whole_service.shell("snap backup")
    assert nightly.returncode == 4
    for name in ("graph", "events", "vectors"):
        assert f"{name}: since the last good snapshot it collapsed" in nightly.stderr
    told = whole_service.run_book(4)
    assert "QUARANTINED" in told
    assert whole_service.picture() == before


def test_the_vectors_are_corrupted_and_the_rest_is_intact(service: Service) -> None:
    before = service.picture()
    for path in service.vectors.glob("*/*.bin"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    (next(service.vectors.glob("*/header.bin"))).unlink()
    # The records of this store are in Chroma's queue: with these lost, only the files have them.
    nightly = service.shell("snap backup")
    assert nightly.returncode == 4
    told = service.run_book(5)
    assert "QUARANTINED" in told
    assert service.picture() == before
