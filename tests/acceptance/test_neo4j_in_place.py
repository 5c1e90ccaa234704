"""A real Neo4j gets its databases back where they live, or keeps those that it has."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.servers.docker import RealDocker
from tests.servers.neo4j import RealNeo4j

from .command import Snap
from .test_neo4j import picture, populate

NODES = 5100


@pytest.fixture
def backed_up(
    snap: Snap, neo4j_server: RealNeo4j, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RealNeo4j:
    """A server that runs, whose state is in the latest snapshot."""
    neo4j_server.start()
    populate(neo4j_server)
    monkeypatch.setenv("NEO4J_PASSWORD", str(neo4j_server.password))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    snap.ok("backup", f"neo4j:{neo4j_server.home}")
    return neo4j_server


def require_tidy(server: RealNeo4j, state: Path) -> None:
    """Require that nothing is left beside the data, nor a note of anything."""
    assert [path.name for path in server.data.iterdir() if path.name.startswith(".")] == []
    assert state.is_dir()
    assert list(state.iterdir()) == []
    status = os.stat(server.data)
    for folder, _, files in os.walk(server.data):
        for name in files:
            found = os.stat(Path(folder) / name)
            assert (found.st_uid, found.st_gid) == (status.st_uid, status.st_gid)


@pytest.mark.slow
def test_what_was_deleted_is_back_and_what_was_there_is_kept(
    snap: Snap, backed_up: RealNeo4j
) -> None:
    before = picture(backed_up)
    backed_up.run("MATCH (n) DETACH DELETE n")
    backed_up.run("CREATE (:Later {n: 1})")
    summary = snap.json("restore", "latest:neo4j-home", "--in-place", "--yes")
    assert picture(backed_up) == before
    [component] = summary["components"]
    assert component["status"] == "success"
    assert f"{NODES} nodes, 15000 relationships" in component["proofs"][1]
    require_tidy(backed_up, snap.cache.parent / "snap")
    # And back again, all databases of the server for one stop.
    pid = backed_up.pid()
    done = snap.run("restore", component["safety_snapshot_id"], "--in-place", "--yes")
    assert done.returncode == 0, done.stderr
    assert backed_up.pid() != pid
    assert backed_up.run("MATCH (n) RETURN labels(n) AS l") == [{"l": ["Later"]}]
    snap.ok("check", "--read-data")


@pytest.mark.slow
def test_a_server_whose_data_is_gone_comes_back_whole(snap: Snap, backed_up: RealNeo4j) -> None:
    before = picture(backed_up)
    backed_up.kill()
    shutil.rmtree(backed_up.data)
    done = snap.run("restore", "latest", "--in-place", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert b"configuration stays as it is" in done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    kept = {c["name"]: c["safety_snapshot_id"] for c in summary["components"]}
    assert kept == {"neo4j-home-system": None, "neo4j-home": None}
    assert backed_up.is_running()
    assert picture(backed_up) == before
    require_tidy(backed_up, snap.cache.parent / "snap")


@pytest.mark.slow
def test_a_damaged_database_is_kept_as_files_and_replaced(snap: Snap, backed_up: RealNeo4j) -> None:
    before = picture(backed_up)
    backed_up.kill()
    store = backed_up.data / "databases/neo4j/neostore"
    store.write_bytes(b"\xff" * store.stat().st_size)
    summary = snap.json("restore", "latest:neo4j-home", "--in-place", "--yes")
    assert picture(backed_up) == before
    safety = summary["components"][0]["safety_snapshot_id"]
    listed = snap.ok("ls", f"{safety}:neo4j-home")
    assert "neostore.nodestore.db" in listed
    streamed = snap.run("dump", f"{safety}:neo4j-home/neostore").stdout
    assert set(streamed) == {0xFF}
    require_tidy(backed_up, snap.cache.parent / "snap")


@pytest.mark.slow
def test_a_wrong_password_is_found_out_before_anything_is_stopped(
    snap: Snap, backed_up: RealNeo4j, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = backed_up.pid()
    for password, message in (("wrong-password", b"wrong user or password"), ("", b"no password")):
        monkeypatch.setenv("NEO4J_PASSWORD", password)
        done = snap.run("restore", "latest", "--in-place", "--yes")
        assert done.returncode == 1
        assert message in done.stderr
    assert backed_up.pid() == pid
    assert len(snap.ids()) == 1
    require_tidy(backed_up, snap.cache.parent / "snap")


@pytest.mark.slow
def test_a_server_in_a_container_gets_its_databases_back(
    snap: Snap, real_docker: RealDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with real_docker.neo4j_container() as container:
        container.start()
        populate(container)
        before = picture(container)
        name = str(container.container.name)
        monkeypatch.setenv("NEO4J_PASSWORD", str(container.password))
        monkeypatch.setenv("DOCKER_HOST", real_docker.url)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        snap.ok("backup", f"neo4j-docker:{name}")
        container.run("MATCH (n) DETACH DELETE n")
        container.run("CREATE (:Later)")
        summary = snap.json("restore", "latest", "--in-place", "--yes")
        container.wait_online()
        assert picture(container) == before
        assert {c["status"] for c in summary["components"]} == {"success"}
        # And what was there before, from its safety snapshot.
        [safety] = [c["safety_snapshot_id"] for c in summary["components"] if c["name"] == name]
        snap.ok("restore", f"{safety}:{name}", "--in-place", "--yes")
        container.wait_online()
        assert container.run("MATCH (n) RETURN labels(n) AS l") == [{"l": ["Later"]}]
        code, said = container.container.exec_run(["ls", "-an", "/data", "/data/databases"])
        assert code == 0
        assert isinstance(said, bytes)
        listed = said.decode()
        assert ".snap-" not in listed
        owners = {line.split()[2] for line in listed.splitlines() if line.startswith("d")}
        assert owners <= {"7474", "0"}
        assert list((tmp_path / "snap").iterdir()) == []
