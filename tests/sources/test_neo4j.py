"""A real Neo4j is stopped, dumped, started again, whatever happens; and asked before."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from snap.errors import SourceError
from snap.repo.source import Unchanged, View, ViewReport
from snap.sources.neo4j import Neo4jService
from snap.sources.neo4j_downtime import stopped_servers
from snap.sources.neo4j_install import Neo4jInstall
from snap.sources.neo4j_server import DumpStream, Neo4jOptions
from tests.servers.neo4j import RealNeo4j


def options(server: RealNeo4j, **changes: Any) -> Neo4jOptions:
    return Neo4jOptions(
        **{
            "kind": "neo4j",
            "name": "graph",
            "database": "neo4j",
            "url": server.url,
            "auth": server.auth,
            **changes,
        }
    )


@pytest.fixture
def populated(running_neo4j: RealNeo4j) -> RealNeo4j:
    """A server that runs, whatever the last test left of it, with 400 nodes."""
    if not running_neo4j.is_running():
        running_neo4j.start()
    running_neo4j.run("MATCH (n) DETACH DELETE n")
    running_neo4j.run("UNWIND range(1, 200) AS n CREATE (:Person {n: n})-[:KNOWS]->(:Thing {n: n})")
    return running_neo4j


def service_of(
    server: RealNeo4j,
    folder: Path,
    recorded: Mapping[str, Mapping[str, Any]] | None = None,
    **changes: Any,
) -> Neo4jService:
    return Neo4jService(
        Neo4jInstall(server.home),
        options(server, **changes),
        state_folder=folder,
        previous=dict(recorded or {}).get,
    )


def read(view: View) -> tuple[dict[bytes, bytes], ViewReport]:
    contents = {}
    for entry in view.entries():
        if entry.open is not None:
            with entry.open() as reader:
                data = b"".join(iter(lambda r=reader: r.read(1 << 20), b""))  # type: ignore[misc]
            contents[b"/".join(entry.path)] = data
    return contents, view.finish()


def all_of(service: Neo4jService) -> dict[str, tuple[dict[bytes, bytes], ViewReport]]:
    found = {}
    with service.hold():
        for source in service.sources:
            with source.open() as view:
                found[source.name] = read(view)
    return found


@pytest.mark.slow
def test_one_stop_serves_both_databases_and_the_server_goes_on(
    populated: RealNeo4j, tmp_path: Path
) -> None:
    service = service_of(populated, tmp_path / "state")
    found = all_of(service)
    assert list(found) == ["graph-system", "graph", "graph-configuration"]
    contents, report = found["graph"]
    assert {b"neostore", b"neostore.nodestore.db", b"neostore.transaction.db.0"} <= set(contents)
    statistics = report.statistics
    assert statistics["labels"] == {"Person": 200, "Thing": 200}
    assert (statistics["nodes"], statistics["relationships"]) == (400, 200)
    assert statistics["store_format"] == "record-aligned-1.1"
    assert report.versions == {"neo4j": "5.26.29", "edition": "community"}
    assert report.warnings == []
    # One downtime, told once.
    assert report.downtime_ns > 0
    assert found["graph-system"][1].downtime_ns == 0
    assert report.point_ns == found["graph-system"][1].point_ns
    configuration, _ = found["graph-configuration"]
    assert set(configuration) == {b"conf/neo4j.conf", b"plugins.json"}
    assert populated.run("MATCH (n) RETURN count(n) AS n") == [{"n": 400}]
    assert stopped_servers(tmp_path / "state") == []

    # Nothing was written since: it is said, and, if that is wanted, nothing is stopped.
    recorded = {name: report.statistics for name, (_, report) in found.items()}
    pid = populated.pid()
    service = service_of(populated, tmp_path / "state", recorded, skip_unchanged=True)
    with service.hold():
        for source in service.sources[:2]:
            with pytest.raises(Unchanged, match="nothing was written"), source.open():
                pass
    assert populated.pid() == pid
    # Another database may have come to the same number.
    other = {name: {**statistics, "nodes": 399} for name, statistics in recorded.items()}
    service = service_of(populated, tmp_path / "state", other, skip_unchanged=True)
    with service.hold(), service.sources[1].open() as view:
        assert read(view)[1].statistics["nodes"] == 400
    pid = populated.pid()
    populated.run("CREATE (:Person)")
    service = service_of(populated, tmp_path / "state", recorded, skip_unchanged=True)
    with service.hold(), service.sources[1].open() as view:
        assert read(view)[1].statistics["nodes"] == 401
    assert populated.pid() != pid


@pytest.mark.slow
def test_an_error_between_two_dumps_starts_the_server(populated: RealNeo4j, tmp_path: Path) -> None:
    service = service_of(populated, tmp_path)
    with pytest.raises(RuntimeError, match="disk"), service.hold():
        with service.sources[0].open() as view:
            read(view)
        assert not populated.is_running()
        raise RuntimeError("disk full")
    assert populated.is_running()
    assert stopped_servers(tmp_path) == []


def test_a_dump_that_is_left_midway_starts_the_server(populated: RealNeo4j, tmp_path: Path) -> None:
    service = service_of(populated, tmp_path, system=False)
    with pytest.raises(KeyboardInterrupt), service.hold(), service.sources[0].open() as view:
        next(iter(view.entries()))
        raise KeyboardInterrupt
    populated.wait_online()
    assert populated.run("MATCH (n:Person) RETURN count(n) AS n") == [{"n": 200}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auth": ("neo4j", "wrong-password")}, "wrong user or password"),
        ({"database": "neo5j"}, "has no database neo5j"),
        ({"url": "bolt://127.0.0.1:1"}, "nobody answers"),
    ],
)
def test_what_is_wrong_is_found_out_before_anything_is_stopped(
    populated: RealNeo4j, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    pid = populated.pid()
    service = service_of(populated, tmp_path, **changes)
    with service.hold(), pytest.raises(SourceError, match=message), service.sources[-2].open():
        pass
    assert populated.pid() == pid
    assert list(tmp_path.iterdir()) == []


def test_a_server_whose_dumps_cannot_be_streamed_is_not_stopped_for_one(
    populated: RealNeo4j, tmp_path: Path
) -> None:
    program = tmp_path / "neo4j-admin"
    program.write_text("#!/bin/sh\necho 5.18.1\n")
    program.chmod(0o755)
    pid = populated.pid()
    service = Neo4jService(
        Neo4jInstall(populated.home, programs=tmp_path),
        options(populated),
        state_folder=tmp_path / "state",
    )
    with service.hold(), pytest.raises(SourceError, match=r"5\.18\.1 writes its progress"):
        all_of(service)
    assert populated.pid() == pid


def test_a_server_that_something_else_starts_again_during_the_backup_is_said_to_be_one(
    populated: RealNeo4j, tmp_path: Path
) -> None:
    class Watched(Neo4jInstall):
        @contextmanager
        def dump(self, database: str) -> Iterator[DumpStream]:
            # As an orchestrator does.
            populated.start()
            with super().dump(database) as stream:
                yield stream

    service = Neo4jService(
        Watched(populated.home), options(populated, system=False), state_folder=tmp_path
    )
    with (
        service.hold(),
        pytest.raises(SourceError, match="was started by something else") as caught,
        service.sources[0].open() as view,
    ):
        read(view)
    assert "pause what looks after it" in caught.value.hint
    assert populated.run("MATCH (n) RETURN count(n) AS n") == [{"n": 400}]
    assert stopped_servers(tmp_path) == []


def test_a_server_that_is_stopped_is_dumped_and_stays_stopped(
    populated: RealNeo4j, tmp_path: Path
) -> None:
    populated.stop()
    for name in ("databases", "transactions"):
        shutil.copytree(populated.data / name / "neo4j", populated.data / name / "archive")
    try:
        found = all_of(service_of(populated, tmp_path))
    finally:
        for name in ("databases", "transactions"):
            shutil.rmtree(populated.data / name / "archive")
    report = found["graph"][1]
    assert report.warnings == ["not in this snapshot: archive; back up each with --database NAME"]
    assert report.downtime_ns == 0
    assert "nodes" not in report.statistics
    assert not populated.is_running()


def test_a_store_that_was_not_closed_is_refused_and_its_server_left_as_it_was(
    populated: RealNeo4j, tmp_path: Path
) -> None:
    populated.kill()
    service = service_of(populated, tmp_path)
    source = service.sources[1]
    with service.hold(), pytest.raises(SourceError, match="not shut down cleanly"), source.open():
        pass
    assert not populated.is_running()


_KILLED = """
import sys, os
from pathlib import Path
from snap.sources.neo4j import Neo4jService
from snap.sources.neo4j_install import Neo4jInstall
from snap.sources.neo4j_server import DumpStream, Neo4jOptions
home, state, url, password = sys.argv[1:]
options = Neo4jOptions("neo4j", "graph", "neo4j", url, ("neo4j", password))
service = Neo4jService(Neo4jInstall(Path(home)), options, state_folder=Path(state))
with service.hold(), service.sources[0].open() as view:
    next(iter(view.entries()))
    print("stopped", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_server_that_a_killed_backup_left_stopped_is_told_and_started_by_the_next(
    populated: RealNeo4j, tmp_path: Path
) -> None:
    arguments = [str(populated.home), str(tmp_path), populated.url, str(populated.password)]
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"stopped\n"
        process.send_signal(signal.SIGKILL)
    assert not populated.is_running()
    [note] = stopped_servers(tmp_path)
    assert (note.kind, note.place) == ("neo4j", str(populated.home))
    found = all_of(service_of(populated, tmp_path))
    assert found["graph"][1].statistics["nodes"] == 400
    assert populated.is_running()
    assert stopped_servers(tmp_path) == []
