import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.repo.source import Consistency, ViewReport
from snap.sources.neo4j_bolt import Neo4jBolt
from snap.sources.neo4j_install import Neo4jInstall, commands_at, unit_in
from snap.sources.neo4j_server import (
    DatabaseInUse,
    DatabaseMissing,
    Neo4jServer,
    UncleanShutdown,
)
from snap.sources.neo4j_view import DumpView
from tests.servers.neo4j import VERSION, RealNeo4j, neo4j_in
from tests.servers.services import link_tree

GRAPH = (
    "CREATE INDEX by_id FOR (n:Person) ON (n.id)",
    "UNWIND range(1, 2000) AS i CREATE (:Person {id: i, name: 'name ' + i})",
    "MATCH (a:Person) WITH a MATCH (b:Person {id: a.id + 1}) CREATE (a)-[:KNOWS]->(b)",
)


def read_dump(install: Neo4jServer, database: str = "neo4j") -> bytes:
    parts = []
    with install.dump(database) as dump:
        while part := dump.read(1 << 16):
            parts.append(part)
        dump.finish()
    return b"".join(parts)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNeo4j]:
    """A server with a graph, cleanly stopped: do not start it."""
    with neo4j_in(tmp_path_factory.mktemp("stopped")) as server:
        server.start()
        for query in GRAPH:
            server.run(query)
        server.stop()
        yield server


@pytest.mark.slow
def test_the_graph_is_dumped_and_loaded_into_another_server(
    stopped: RealNeo4j, neo4j_server: RealNeo4j
) -> None:
    dump = read_dump(Neo4jInstall(stopped.home))
    assert dump[:4] == b"DZV1"
    target: Neo4jServer = Neo4jInstall(neo4j_server.home)
    assert target.load("neo4j", io.BytesIO(dump)) == []
    target.start()
    assert target.is_running()
    with Neo4jBolt(neo4j_server.url, neo4j_server.auth) as bolt:
        bolt.wait_online("neo4j")
        found = bolt.statistics("neo4j")
    assert (found["nodes"], found["relationships"]) == (2000, 1999)
    assert found["labels"] == {"Person": 2000}
    assert found["relationship_types"] == {"KNOWS": 1999}
    assert "by_id" in [index["name"] for index in found["indexes"]]
    rows = neo4j_server.run(
        "MATCH (a:Person {id: 7})-[:KNOWS]->(b) RETURN a.name AS a, b.name AS b"
    )
    assert rows == [{"a": "name 7", "b": "name 8"}]
    with pytest.raises(DatabaseInUse, match="neo4j is in use"):
        target.load("neo4j", io.BytesIO(dump))
    with target.dump("neo4j") as stream, pytest.raises(DatabaseInUse, match="neo4j is in use"):
        assert stream.read(1) == b""
        stream.finish()
    assert target.info("neo4j").in_use
    target.stop(180)
    assert not target.is_running()
    assert not target.info("neo4j").recovery_required


def test_version_and_states_are_told(stopped: RealNeo4j) -> None:
    install = Neo4jInstall.find(stopped.home)
    assert install.version() == VERSION
    assert install.place == str(stopped.home)
    assert not install.is_running()
    assert install.started_by() == ""
    states = {state.database: state for state in install.databases()}
    assert list(states) == ["neo4j", "system"]
    assert states["neo4j"] == install.info("neo4j")
    assert states["neo4j"].store_format == "record-aligned-1.1"
    assert states["neo4j"].last_transaction is not None
    assert not states["neo4j"].in_use
    assert not states["neo4j"].recovery_required


def test_a_database_that_is_not_there_is_named(stopped: RealNeo4j) -> None:
    install = Neo4jInstall(stopped.home)
    with install.dump("shop") as stream, pytest.raises(DatabaseMissing, match="no database shop"):
        assert stream.read(1) == b""
        stream.finish()
    with pytest.raises(DatabaseMissing, match="no database shop"):
        install.info("shop")
    with pytest.raises(SourceError, match="is not a Neo4j database's name"):
        install.info("*")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('"$real" "$@" | head -c 9000', "cut short"),
        ('echo "Files: 1/39, data: 0.0%"; exec "$real" "$@"', "text is mixed"),
        ('"$real" "$@" | (head -c 9000; echo "Files: 9/39"; cat)', "damaged"),
    ],
)
def test_a_real_dump_that_is_not_whole_is_refused_although_its_program_ends_with_0(
    stopped: RealNeo4j, tmp_path: Path, script: str, message: str
) -> None:
    program = tmp_path / "neo4j-admin"
    program.write_text(f"#!/bin/sh\nreal={stopped.home}/bin/neo4j-admin\n{script}\nexit 0\n")
    program.chmod(0o755)
    install = Neo4jInstall(stopped.home, programs=tmp_path)
    with install.dump("neo4j") as dump:
        ended: list[str] = []
        view = DumpView(
            "neo4j",
            dump,
            at_end=lambda: ended.append("whole"),
            report=lambda *_: ViewReport(Consistency.QUIESCED, 1),
        )
        with pytest.raises(SourceError, match=message):
            for entry in view.entries():
                if entry.open is not None:
                    with entry.open() as reader:
                        while reader.read(1 << 16):
                            pass
        dump.finish()
    assert ended == []


def test_a_dump_left_early_lets_go_of_the_database(stopped: RealNeo4j) -> None:
    install = Neo4jInstall(stopped.home)
    with install.dump("neo4j") as stream:
        assert stream.read(4) == b"DZV1"
    assert len(read_dump(install)) > 10_000


@pytest.mark.slow
def test_an_unclean_shutdown_is_told_and_cured_by_a_start_and_a_stop(
    neo4j_server: RealNeo4j,
) -> None:
    neo4j_server.start()
    neo4j_server.run("UNWIND range(1, 100) AS i CREATE (:Person {id: i})")
    neo4j_server.kill()
    install = Neo4jInstall(neo4j_server.home)
    assert not install.is_running()
    assert install.info("neo4j").recovery_required
    with install.dump("neo4j") as stream, pytest.raises(UncleanShutdown) as caught:
        assert stream.read(1) == b""
        stream.finish()
    assert "start the server" in caught.value.hint
    install.start()
    neo4j_server.wait_online()
    install.stop()
    assert not install.info("neo4j").recovery_required
    assert read_dump(install)[:4] == b"DZV1"
    # Once more, of a server that does not run.
    install.stop()


def test_what_is_no_dump_is_refused_by_the_load(neo4j_server: RealNeo4j) -> None:
    install = Neo4jInstall(neo4j_server.home)
    with pytest.raises(SourceError, match="exit code 1") as caught:
        install.load("neo4j", io.BytesIO(b"no dump" * 1000))
    assert caught.value.hint == "this is not a dump of neo4j-admin"


def test_a_server_that_cannot_start_shows_its_log(neo4j_server: RealNeo4j) -> None:
    neo4j_server.configure("server.no.such.setting=1")
    with pytest.raises(SourceError, match="the server does not start: ") as caught:
        Neo4jInstall(neo4j_server.home).start()
    assert "server.no.such.setting" in str(caught.value)


def test_a_server_that_neo4j_stop_does_not_know_is_left_alone(neo4j_server: RealNeo4j) -> None:
    neo4j_server.start()
    pid = neo4j_server.pid()
    note = neo4j_server.home / "run/neo4j.pid"
    kept = note.read_text()
    note.unlink()
    try:
        install = Neo4jInstall(neo4j_server.home)
        assert install.is_running()
        with pytest.raises(SourceError, match=f"java, process {pid}.* is not one that"):
            install.stop()
        assert install.is_running()
    finally:
        note.write_text(kept)
    assert neo4j_server.pid() == pid


_HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_no_server_is_started_while_a_program_has_a_database(neo4j_server: RealNeo4j) -> None:
    neo4j_server.start()
    neo4j_server.stop()
    lock = neo4j_server.data / "databases/neo4j/database_lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        hours = iter(range(100))
        hasty = Neo4jInstall(
            neo4j_server.home, clock=lambda: next(hours) * 3600 * 10**9, sleep=lambda _: None
        )
        with pytest.raises(SourceError, match=f"process {holder.pid} still has the database neo4j"):
            hasty.start()
        assert not hasty.is_running()
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            holder.communicate()

        Neo4jInstall(neo4j_server.home, sleep=sleep).start()
    assert slept
    neo4j_server.wait_online()


@pytest.mark.slow
def test_a_server_that_is_still_starting_counts_as_running(neo4j_server: RealNeo4j) -> None:
    install = Neo4jInstall(neo4j_server.home)
    note = neo4j_server.home / "run/neo4j.pid"
    with subprocess.Popen(
        [neo4j_server.home / "bin/neo4j", "console"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as console:
        limit = time.monotonic() + 180
        while not (note.exists() and note.read_text()) and time.monotonic() < limit:
            time.sleep(0.01)
        # It has not even made its data folder.
        assert not (neo4j_server.data / "databases/store_lock").exists()
        assert install.is_running()
        neo4j_server.wait_online()
        assert install.is_running()
        install.stop()
        assert not install.is_running()
        console.wait(60)


def test_a_stale_pid_file_is_no_server(stopped: RealNeo4j) -> None:
    install = Neo4jInstall(stopped.home)
    note = stopped.home / "run/neo4j.pid"
    try:
        for content in (str(os.getpid()), "4194304", "no number", ""):
            note.write_text(content)
            assert not install.is_running()
    finally:
        note.unlink()


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can run it as somebody else")
def test_as_root_everything_in_the_data_stays_its_owners(open_path: Path) -> None:
    with neo4j_in(open_path) as server:
        for folder in (server.data, server.home / "logs", server.home / "run", server.conf):
            for path in (folder, *folder.rglob("*")):
                os.chown(path, 7474, 7474)
        install = Neo4jInstall(server.home)
        install.start()
        server.wait_online()
        server.run("CREATE ()")
        assert os.stat(f"/proc/{server.pid()}").st_uid == 7474
        install.stop()
        dump = read_dump(install)
        install.load("neo4j", io.BytesIO(dump))
        install.start()
        server.wait_online()
        install.stop()
        owners = {
            path: path.stat().st_uid
            for folder in (server.data, server.home / "logs", server.home / "run")
            for path in (folder, *folder.rglob("*"))
        }
        assert [path for path, uid in owners.items() if uid != 7474] == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_neither_root_nor_the_owner_is_told_so_at_once(open_path: Path) -> None:
    (open_path / "data/databases").mkdir(parents=True)
    open_path.chmod(0o755)
    os.chown(open_path / "data/databases", 7474, 7474)
    script = f"""
import os
os.setuid(65534)
from pathlib import Path
from snap.errors import SourceError
from snap.sources.neo4j_install import Neo4jInstall
try:
    Neo4jInstall(Path({str(open_path)!r}))
except SourceError as error:
    print(error, "/", error.hint)
"""
    # The interpreter of the tests may lie where others cannot read.
    done = subprocess.run(
        [sys.executable, "-c", "import snap.sources.neo4j_install\n" + script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "belongs to user 7474, and only that user or root" in done.stdout
    assert "sudo -u 7474 snap" in done.stdout


def test_folders_without_a_neo4j_say_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no Neo4j") as caught:
        Neo4jInstall.find(tmp_path)
    assert "the folder that Neo4j was unpacked into" in caught.value.hint
    with pytest.raises(SourceError, match="neo4j-admin is not found"):
        Neo4jInstall.find(search=str(tmp_path))
    with pytest.raises(SourceError, match="is not there"):
        Neo4jInstall(tmp_path / "no/such/home")


def test_the_install_is_found_on_the_search_path(stopped: RealNeo4j, tmp_path: Path) -> None:
    (tmp_path / "neo4j-admin").symlink_to(stopped.home / "bin/neo4j-admin")
    assert Neo4jInstall.find(search=str(tmp_path)).home == stopped.home


@pytest.mark.slow
def test_a_package_has_its_programs_configuration_and_data_apart(
    neo4j_server: RealNeo4j, tmp_path: Path
) -> None:
    package, home, conf = tmp_path / "usr", tmp_path / "var/lib/neo4j", tmp_path / "etc/neo4j"
    link_tree(neo4j_server.home / "bin", package / "bin")
    link_tree(neo4j_server.home / "lib", package / "lib")
    (home / "data").mkdir(parents=True)
    link_tree(neo4j_server.conf, conf)
    os.unlink(conf / "neo4j.conf")
    settings = (neo4j_server.conf / "neo4j.conf").read_text()
    (conf / "neo4j.conf").write_text(
        f"{settings}\nserver.directories.lib={package}/lib\n"
        f"server.directories.data={home}/data\nserver.directories.logs={tmp_path}/log\n"
        f"server.directories.run={tmp_path}/run\n"
    )
    for place in (home, None):
        install = Neo4jInstall.find(place, debian=(home, conf), search=str(package / "bin"))
        assert (install.home, install.conf_folder) == (home, conf)
    install.start()
    try:
        assert install.is_running()
        with Neo4jBolt(install.conf.bolt_url, None) as bolt:
            assert install.conf.bolt_url == neo4j_server.url
            with pytest.raises(SourceError, match="none was given"):
                bolt.wait_online("neo4j")
        assert (home / "data/databases/neo4j").is_dir()
    finally:
        install.stop()
    assert read_dump(install, "system")[:4] == b"DZV1"
    assert not (neo4j_server.data / "databases").exists()


def test_plugins_and_configuration_files_are_listed(stopped: RealNeo4j) -> None:
    install = Neo4jInstall(stopped.home)
    assert install.plugins() == []
    (stopped.home / "plugins/b.jar").write_bytes(b"bb")
    (stopped.home / "plugins/a.jar").write_bytes(b"")
    try:
        found = install.plugins()
    finally:
        for name in ("a.jar", "b.jar"):
            (stopped.home / "plugins" / name).unlink()
    assert [(plugin.name, plugin.size_bytes) for plugin in found] == [("a.jar", 0), ("b.jar", 2)]
    assert found[0].sha256.startswith("e3b0c44298fc1c14")
    assert install.configuration_files() == [stopped.conf / "neo4j.conf"]


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/neo4j.service\n", "neo4j.service"),
        ("12:cpu:/\n1:name=systemd:/system.slice/neo4j.service\n", "neo4j.service"),
        ("0::/user.slice/user-0.slice/session-4.scope\n", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service\n", ""),
        ("0::/system.slice/docker-0123.scope\n", ""),
        ("0::/\n", ""),
    ],
)
def test_the_unit_of_a_process_is_read_from_its_group(cgroups: str, unit: str) -> None:
    assert unit_in(cgroups) == unit


def test_the_default_database_and_the_states_fit_together(stopped: RealNeo4j) -> None:
    said = json.loads(stopped.admin("database", "info", "neo4j", "--format=json"))
    install = Neo4jInstall(stopped.home)
    last = install.info(install.conf.default_database).last_transaction
    assert str(last) == said["lastCommittedTransaction"]


def test_a_start_that_goes_on_is_seen_by_its_home(tmp_path: Path) -> None:
    program = tmp_path / "neo4j"
    program.write_text("#!/bin/sh\nread line\n")
    program.chmod(0o755)
    environment = {"NEO4J_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    with subprocess.Popen([program, "start"], env=environment, stdin=subprocess.PIPE) as process:
        # Popen returns while the kernel is still putting the new program in place.
        deadline = time.monotonic() + 30
        while not commands_at(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert commands_at(tmp_path) == [process.pid]
        assert commands_at(tmp_path / "other") == []
    assert commands_at(tmp_path) == []
