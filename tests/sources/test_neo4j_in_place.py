"""A restore into a real server that goes wrong at any step leaves what was there."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import neo4j
import pytest

from snap.errors import IntegrityError, SnapError, SourceError, TargetError
from snap.repo.source import Source
from snap.sources.neo4j_archive import OutputFile, make_dump
from snap.sources.neo4j_downtime import stopped_servers
from snap.sources.neo4j_exchange import left_exchanges
from snap.sources.neo4j_in_place import DatabaseState, Neo4jPlace
from snap.sources.neo4j_install import Neo4jInstall
from snap.sources.neo4j_server import Neo4jOptions
from tests.servers.neo4j import RealNeo4j, neo4j_in
from tests.tmpfs import small_disk

# Each restores into a server that is stopped and started.
pytestmark = pytest.mark.slow

COUNTED: dict[str, Any] = {
    "nodes": 20,
    "relationships": 0,
    "labels": {"New": 20},
    "relationship_types": {},
    "constraints": [],
}


@pytest.fixture(scope="module")
def dump(running_neo4j: RealNeo4j, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A dump of 20 nodes; the server then has another one, and goes on."""
    folder = tmp_path_factory.mktemp("dump")
    running_neo4j.run("MATCH (n) DETACH DELETE n")
    running_neo4j.run("UNWIND range(1, 20) AS n CREATE (:New {n: n})")
    running_neo4j.stop()
    running_neo4j.admin("database", "dump", "neo4j", f"--to-path={folder}")
    running_neo4j.start()
    running_neo4j.run("MATCH (n) DETACH DELETE n")
    running_neo4j.run("CREATE (:Old)")
    return (folder / "neo4j.dump").read_bytes()


def place_of(server: RealNeo4j, folder: Path, dump: bytes, **changes: Any) -> Neo4jPlace:
    def pieces() -> Iterator[bytes]:
        yield from (dump[at : at + 10_000] for at in range(0, len(dump), 10_000))

    fields: dict[str, Any] = {
        "name": "graph",
        "database": "neo4j",
        "statistics": COUNTED,
        "versions": {"neo4j": "5.26.29"},
        "size_bytes": 1 << 20,
        "open_dump": pieces,
    }
    options = Neo4jOptions("neo4j", "graph", "neo4j", server.url, server.auth)
    return Neo4jPlace(
        Neo4jInstall(server.home),
        options,
        [DatabaseState(**(fields | changes))],
        state_folder=folder,
    )


def read_all(sources: Sequence[Source]) -> list[str]:
    """Read what a snapshot would store."""
    for source in sources:
        with source.open() as view:
            for entry in view.entries():
                if entry.open is not None:
                    with entry.open() as reader:
                        while reader.read(1 << 20):
                            pass
            view.finish()
    return []


def require_old(server: RealNeo4j, folder: Path) -> None:
    assert server.run("MATCH (n) RETURN labels(n) AS l") == [{"l": ["Old"]}]
    assert stopped_servers(folder) == []
    assert left_exchanges(folder) == []
    assert not folder.exists() or list(folder.iterdir()) == []
    assert list(server.data.glob(".snap-*")) == []


def cut_short() -> Iterator[bytes]:
    yield b"DZV1"
    raise IntegrityError("a pack is damaged")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"versions": {"neo4j": "5.27.0"}}, "older one cannot read it"),
        ({"size_bytes": 1 << 60}, "are free there; nothing was changed"),
        ({"open_dump": lambda: iter([b"no dump"])}, "[Nn]ot a valid Neo4j archive"),
        ({"open_dump": cut_short}, "a pack is damaged"),
        ({"statistics": COUNTED | {"last_transaction": 1}}, "last_transaction is"),
        ({"statistics": COUNTED | {"store_format": "block"}}, "store_format is"),
    ],
)
def test_what_cannot_go_well_never_stops_the_server(
    running_neo4j: RealNeo4j, tmp_path: Path, dump: bytes, changes: dict[str, Any], message: str
) -> None:
    pid = running_neo4j.pid()
    with pytest.raises(SnapError, match=message):
        place_of(running_neo4j, tmp_path, dump, **changes).restore(read_all)
    assert running_neo4j.pid() == pid
    require_old(running_neo4j, tmp_path)


def test_a_disk_that_is_full_before_all_is_loaded_changes_nothing(tmp_path: Path) -> None:
    large = OutputFile(
        (b"neostore.large",), False, 0o600, 0, 200 << 20, lambda: iter([bytes(1 << 20)] * 200)
    )
    with neo4j_in(tmp_path) as server:
        with small_disk(server.home / "full", 100 << 20) as disk:
            server.configure(f"server.directories.data={disk}")
            place = place_of(server, tmp_path / "state", b"", open_dump=lambda: make_dump([large]))
            with pytest.raises(SourceError, match="No space left") as caught:
                place.restore(read_all)
            assert "free some space" in caught.value.hint
            # Empty folders, where there was nothing.
            assert sorted(path.name for path in disk.rglob("*")) == ["databases", "transactions"]
        assert not (tmp_path / "state").exists()


def test_a_store_that_its_own_check_refuses_never_stops_the_server(
    running_neo4j: RealNeo4j, tmp_path: Path, dump: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(running_neo4j, tmp_path, dump)
    [(_, staged), _] = place._stage.folders("neo4j")
    info = place._stage.info

    def damaged(database: str) -> object:
        found = info(database)
        store = Path(staged) / "neostore.nodestore.db"
        # The records of the 20 nodes.
        store.write_bytes(b"\xff" * 300 + store.read_bytes()[300:])
        return found

    monkeypatch.setattr(place._stage, "info", damaged)
    pid = running_neo4j.pid()
    with pytest.raises(IntegrityError, match="inconsistent"):
        place.restore(read_all)
    assert running_neo4j.pid() == pid
    require_old(running_neo4j, tmp_path)


def test_counts_that_differ_after_the_exchange_put_the_old_state_back(
    running_neo4j: RealNeo4j, tmp_path: Path, dump: bytes
) -> None:
    statistics = COUNTED | {"nodes": 21}
    with pytest.raises(TargetError, match="recorded were 21; what was there before is back"):
        place_of(running_neo4j, tmp_path, dump, statistics=statistics).restore(read_all)
    require_old(running_neo4j, tmp_path)


def test_what_cannot_be_kept_is_not_replaced(
    running_neo4j: RealNeo4j, tmp_path: Path, dump: bytes
) -> None:
    def full(_sources: Sequence[Source]) -> list[str]:
        raise TargetError("the repository's disk is full")

    with pytest.raises(TargetError, match="disk is full"):
        place_of(running_neo4j, tmp_path, dump).restore(full)
    require_old(running_neo4j, tmp_path)
    with pytest.raises(SourceError, match="neither as dumps nor as files"):
        place_of(running_neo4j, tmp_path, dump).restore(lambda sources: [s.name for s in sources])
    require_old(running_neo4j, tmp_path)


def test_a_server_that_something_else_starts_meanwhile_keeps_what_it_has(
    running_neo4j: RealNeo4j, tmp_path: Path, dump: bytes
) -> None:
    def disturbed(_sources: Sequence[Source]) -> list[str]:
        running_neo4j.start()
        return []

    with pytest.raises(SourceError, match="was started by something else"):
        place_of(running_neo4j, tmp_path, dump).restore(disturbed)
    require_old(running_neo4j, tmp_path)


def test_the_new_state_is_proven_and_the_downtime_told(
    running_neo4j: RealNeo4j, tmp_path: Path, dump: bytes
) -> None:
    place = place_of(running_neo4j, tmp_path, dump)
    with neo4j.GraphDatabase.driver(running_neo4j.url, auth=running_neo4j.auth) as driver:
        driver.verify_connectivity()
        [client] = place.users()
    assert "neo4j-python" in client
    done = place.restore(read_all)
    assert done.downtime_ns > 0
    assert done.warnings == []
    assert done.proofs["graph"][1].startswith("20 nodes, 0 relationships")
    assert running_neo4j.run("MATCH (n:New) RETURN count(n) AS n") == [{"n": 20}]
    assert list(tmp_path.iterdir()) == []
    running_neo4j.run("MATCH (n) DETACH DELETE n")
    running_neo4j.run("CREATE (:Old)")
    # Of a server that does not run, too.
    running_neo4j.stop()
    done = place_of(running_neo4j, tmp_path, dump).restore(read_all)
    assert done.warnings == ["the server did not run; it was started and goes on"]
    assert running_neo4j.run("MATCH (n:New) RETURN count(n) AS n") == [{"n": 20}]
