import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.neo4j_bolt import Neo4jBolt, ServerUnreachable, transaction_in
from tests.servers.neo4j import VERSION, RealNeo4j
from tests.servers.services import free_port


@pytest.fixture
def bolt(running_neo4j: RealNeo4j) -> Iterator[Neo4jBolt]:
    running_neo4j.run("MATCH (n) DETACH DELETE n")
    with Neo4jBolt(running_neo4j.url, running_neo4j.auth) as connection:
        yield connection


def test_version_and_edition_are_told(bolt: Neo4jBolt) -> None:
    found = bolt.version()
    assert (found.version, found.edition) == (VERSION, "community")


def test_the_databases_are_listed_with_their_states(bolt: Neo4jBolt) -> None:
    before = {state.name: state for state in bolt.databases()}
    assert list(before) == ["neo4j", "system"]
    assert (before["neo4j"].status, before["neo4j"].kind) == ("online", "standard")
    assert before["neo4j"].store.startswith("record-aligned")
    assert before["system"].kind == "system"
    assert before["neo4j"].store_id != before["system"].store_id
    assert len(before["neo4j"].store_id) == 64


def test_the_last_transaction_is_told_without_stopping_the_server(
    neo4j_server: RealNeo4j,
) -> None:
    neo4j_server.start()
    with Neo4jBolt(neo4j_server.url, neo4j_server.auth) as bolt:
        first = bolt.last_transaction("neo4j")
        assert first is not None
        assert bolt.last_transaction("neo4j") == first
        # Enough for numbers of more than one byte.
        neo4j_server.run("UNWIND range(1, 150) AS i CALL { CREATE () } IN TRANSACTIONS OF 1 ROW")
        last = bolt.last_transaction("neo4j")
        assert last is not None
        assert last >= first + 150
        system = bolt.last_transaction("system")
        assert bolt.wait_online("system").name == "system"
    neo4j_server.stop()
    said = neo4j_server.admin("database", "info", "--format=json")
    found = {row["databaseName"]: row["lastCommittedTransaction"] for row in json.loads(said)}
    assert found == {"neo4j": str(last), "system": str(system)}


@pytest.mark.parametrize(
    ("bookmark", "number"),
    [
        ("FB:kcwQhqagzTTWS0qj/wei/qW34w+Q", 15),
        ("FB:kcwQhqagzTTWS0qj/wei/qW348kBLJA=", 300),
        ("FB:kcwQhqagzTTWS0qj/wei/qW348kBkA==", None),
        ("FB:kcwQhqagzTTWS0qj/wei/qW34w+R", None),
        ("neo4j:bookmark:v1:tx15", None),
        ("FB:!", None),
        ("", None),
    ],
)
def test_only_a_bookmark_that_is_understood_gives_a_number(
    bookmark: str, number: int | None
) -> None:
    assert transaction_in(bookmark) == number


def test_statistics_count_what_was_written(bolt: Neo4jBolt, running_neo4j: RealNeo4j) -> None:
    running_neo4j.run("UNWIND range(1, 30) AS i CREATE (:Person {id: i})")
    running_neo4j.run("UNWIND range(1, 7) AS i CREATE (:`A ``quoted`` label`:Person {id: -i})")
    running_neo4j.run(
        "MATCH (a:Person {id: 1}), (b:Person) WHERE b.id > 20 CREATE (a)-[:KNOWS]->(b)"
    )
    running_neo4j.run("CREATE INDEX by_id IF NOT EXISTS FOR (n:Person) ON (n.id)")
    running_neo4j.run(
        "CREATE CONSTRAINT one_name IF NOT EXISTS FOR (n:City) REQUIRE n.name IS UNIQUE"
    )
    running_neo4j.run("CALL db.awaitIndexes()")
    found = bolt.statistics("neo4j")
    assert found["nodes"] == 37
    assert found["relationships"] == 10
    assert found["labels"]["Person"] == 37
    assert found["labels"]["A `quoted` label"] == 7
    assert found["relationship_types"] == {"KNOWS": 10}
    by_id = {"name": "by_id", "type": "RANGE", "entity": "NODE", "on": ["Person"]}
    assert {**by_id, "properties": ["id"], "state": "ONLINE"} in found["indexes"]
    assert found["constraints"] == [
        {
            "name": "one_name",
            "type": "UNIQUENESS",
            "entity": "NODE",
            "on": ["City"],
            "properties": ["name"],
        }
    ]


def test_a_wrong_database_name_tells_the_nearest_right_one(bolt: Neo4jBolt) -> None:
    with pytest.raises(SourceError, match="has no database ne4j") as caught:
        bolt.statistics("ne4j")
    assert caught.value.hint == "did you mean neo4j?"
    with pytest.raises(SourceError, match="has no database customers") as caught:
        bolt.wait_online("customers", timeout_seconds=1)
    assert caught.value.hint == "it has: neo4j, system"


def test_a_wrong_password_is_said_at_once(running_neo4j: RealNeo4j) -> None:
    for auth, said in (
        (("neo4j", "wrong-horse-1"), "wrong user or password for neo4j"),
        (None, "asks for a password, and none was given"),
    ):
        with (
            Neo4jBolt(running_neo4j.url, auth) as connection,
            pytest.raises(SourceError, match=said) as caught,
        ):
            connection.wait_online("neo4j")
        assert caught.value.hint


def test_too_many_wrong_passwords_are_named_as_such(running_neo4j: RealNeo4j) -> None:
    running_neo4j.run(
        "CREATE USER other IF NOT EXISTS SET PASSWORD 'a-good-one-1' CHANGE NOT REQUIRED",
        database="system",
    )
    said = ""
    for _ in range(5):
        with (
            Neo4jBolt(running_neo4j.url, ("other", "no-good-one-1")) as connection,
            pytest.raises(SourceError) as caught,
        ):
            connection.version()
        said = str(caught.value)
    assert "too many wrong passwords for other" in said


def test_a_password_that_has_to_be_changed_is_named_as_such(running_neo4j: RealNeo4j) -> None:
    running_neo4j.run(
        "CREATE USER fresh IF NOT EXISTS SET PASSWORD 'a-good-one-1' CHANGE REQUIRED",
        database="system",
    )
    with (
        Neo4jBolt(running_neo4j.url, ("fresh", "a-good-one-1")) as connection,
        pytest.raises(SourceError, match="has to be changed first"),
    ):
        connection.statistics("neo4j")


def test_nobody_listening_is_said(tmp_path: Path) -> None:
    with (
        Neo4jBolt(f"bolt://127.0.0.1:{free_port()}", None) as connection,
        pytest.raises(ServerUnreachable, match="nobody answers") as caught,
    ):
        connection.version()
    assert "Bolt address" in caught.value.hint


def test_waiting_ends_after_its_time(tmp_path: Path) -> None:
    seconds = iter(range(100))
    slept: list[float] = []
    with (
        Neo4jBolt(
            f"bolt://127.0.0.1:{free_port()}",
            None,
            clock=lambda: next(seconds) * 1_000_000_000,
            sleep=slept.append,
        ) as connection,
        pytest.raises(SourceError, match="was not ready in 3 seconds: nobody answers"),
    ):
        connection.wait_online("neo4j", timeout_seconds=3)
    assert len(slept) == 3


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:7687", "bolt://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with Neo4jBolt(url, None) as connection, pytest.raises(SourceError) as caught:
        connection.version()
    assert caught.value.hint


def test_the_driver_prints_nothing(running_neo4j: RealNeo4j) -> None:
    script = f"""
from snap.errors import SourceError
from snap.sources.neo4j_bolt import Neo4jBolt
nobody, wrong = ("bolt://127.0.0.1:{free_port()}", None), ("{running_neo4j.url}", ("neo4j", "no"))
for url, auth in (nobody, wrong):
    with Neo4jBolt(url, auth) as bolt:
        try:
            bolt.version()
        except SourceError:
            pass
with Neo4jBolt("{running_neo4j.url}", {running_neo4j.auth!r}) as bolt:
    bolt.statistics("neo4j")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "neo4j"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "neo4j", None)
    with (
        contextlib.closing(Neo4jBolt("bolt://127.0.0.1:1", None)) as connection,
        pytest.raises(SourceError) as caught,
    ):
        connection.version()
    assert caught.value.hint == "pip install 'snap-backup[neo4j]'"
