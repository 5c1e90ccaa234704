"""Enterprise's online backup, as far as Community lets it be tried: its refusal is real.

No Enterprise Edition can be had here. Where a test needs one, its name says that it has a stand-in,
and it proves what snap does around the program, nothing of Enterprise.
"""

import subprocess
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.repo.source import Consistency, Unchanged
from snap.sources import neo4j_online
from snap.sources.neo4j import Neo4jService
from snap.sources.neo4j_bolt import Neo4jBolt, ServerVersion
from snap.sources.neo4j_conf import Neo4jConf
from snap.sources.neo4j_downtime import stopped_servers
from snap.sources.neo4j_install import Neo4jInstall
from snap.sources.neo4j_online import UNTRIED, artifact_in, backup_arguments, explain_backup
from tests.servers.neo4j import RealNeo4j

from .test_neo4j import all_of, options, read, service_of

CONTENT = b"BTV1" + bytes(range(256)) * 4000


@pytest.fixture
def server(running_neo4j: RealNeo4j) -> RealNeo4j:
    """A real Community server that runs, with 100 nodes."""
    if not running_neo4j.is_running():
        running_neo4j.start()
    running_neo4j.run("MATCH (n) DETACH DELETE n")
    running_neo4j.run("UNWIND range(1, 100) AS n CREATE (:Person {n: n})")
    return running_neo4j


@pytest.fixture
def claims_enterprise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the edition that is heard over Bolt be Enterprise's; all else is asked for real."""
    real = Neo4jBolt.version

    def version(bolt: Neo4jBolt) -> ServerVersion:
        return ServerVersion(real(bolt).version, "enterprise")

    monkeypatch.setattr(Neo4jBolt, "version", version)


def left_beside(server: RealNeo4j) -> list[str]:
    return sorted(path.name for path in server.data.glob("snap-spool-*"))


# ----------------------------------------------------------------- the command


def test_the_command_is_that_of_neo4js_documentation() -> None:
    said = backup_arguments("shop", address="127.0.0.1:6362", folder="/s", expand_commands=False)
    assert said == [
        "database",
        "backup",
        "--type=FULL",
        "--compress=false",
        "--include-metadata=all",
        "--from=127.0.0.1:6362",
        "--to-path=/s",
        "shop",
    ]
    # For `system` the users and roles are its content, and the option is refused.
    said = backup_arguments("system", address="h:1", folder="/s", expand_commands=True)
    assert said[2:] == [
        "--expand-commands",
        "--type=FULL",
        "--compress=false",
        "--from=h:1",
        "--to-path=/s",
        "system",
    ]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", "127.0.0.1:6362"),
        ("server.backup.listen_address=:6400", "127.0.0.1:6400"),
        ("server.backup.listen_address=0.0.0.0:6400", "127.0.0.1:6400"),
        ("server.backup.listen_address=10.1.2.3", "10.1.2.3:6362"),
        ("server.backup.listen_address=[::1]:6363", "[::1]:6363"),
    ],
)
def test_the_backup_service_is_asked_where_the_configuration_has_it(
    text: str, address: str
) -> None:
    conf = Neo4jConf.among([("neo4j.conf", text.encode())], "/opt/neo4j")
    assert conf.backup_address == address


def test_an_address_made_by_a_command_is_refused() -> None:
    conf = Neo4jConf(Path("/h"), {"server.backup.listen_address": "$(hostname):6362"})
    with pytest.raises(SourceError, match="made by a command"):
        _ = conf.backup_address


@pytest.mark.parametrize(
    ("names", "database", "found"),
    [
        (["london-2024-10-07T16-03-51.backup"], "london", "london-2024-10-07T16-03-51.backup"),
        # Names may have dashes and dots, and what looks like a time.
        (
            ["a-2024-10-07T16-03-51-2026-11-26T01-02-03.backup", "group"],
            "a-2024-10-07T16-03-51",
            "a-2024-10-07T16-03-51-2026-11-26T01-02-03.backup",
        ),
        (["shop.eu-2026-11-26T01-02-03.backup"], "Shop.EU", "shop.eu-2026-11-26T01-02-03.backup"),
    ],
)
def test_the_backup_is_found_by_its_databases_name(
    names: list[str], database: str, found: str
) -> None:
    assert artifact_in(names, database) == found


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["neo4j.backup", "neo4j.dump"],
        ["other-2026-11-26T01-02-03.backup", "my-neo4j-2026-11-26T01-02-03.backup"],
        ["neo4j-2026-11-26T01-02-03.backup", "neo4j-2026-11-26T01-02-04.backup"],
    ],
)
def test_none_or_several_backups_are_an_error(names: list[str]) -> None:
    with pytest.raises(SourceError, match=r"neo4j ended well and left [02] backups"):
        artifact_in(names, "neo4j")


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Connection refused: /127.0.0.1:6362", r"server\.backup\.enabled"),
        ("You must accept the license agreement", "accept Neo4j's licence"),
        ("java.io.IOException: No space left on device", "free some space"),
    ],
)
def test_its_own_words_are_told_with_what_to_look_at(said: str, hint: str) -> None:
    error = explain_backup("neo4j", 1, said)
    assert f"database backup neo4j failed with exit code 1: {said}" in str(error)
    assert hint.replace("\\", "") in error.hint
    assert "--offline" in error.hint


# ------------------------------------------------------ a real Community server
@pytest.mark.slow
def test_communitys_program_refuses_and_its_server_goes_on(
    server: RealNeo4j, claims_enterprise: None, tmp_path: Path
) -> None:
    pid = server.pid()
    with (
        pytest.raises(SourceError, match=r"exit code 2: Unmatched arguments .*'backup'") as caught,
        Neo4jInstall(server.home).back_up("neo4j"),
    ):
        pass
    assert "is neo4j-admin that of the Enterprise server that runs?" in caught.value.hint
    # The same from the service, which never falls back to a stop.
    service = service_of(server, tmp_path / "state")
    with service.hold():
        for source in service.sources[:2]:
            with pytest.raises(SourceError, match="exit code 2: Unmatched"), source.open():
                pass
        with service.sources[2].open() as view:
            assert b"conf/neo4j.conf" in read(view)[0]
    assert server.pid() == pid
    assert not (tmp_path / "state").exists()
    assert left_beside(server) == []


@pytest.mark.slow
def test_offline_stops_a_server_even_if_it_is_enterprise(
    server: RealNeo4j, claims_enterprise: None, tmp_path: Path
) -> None:
    pid = server.pid()
    found = all_of(service_of(server, tmp_path / "state", offline=True, system=False))
    contents, report = found["graph"]
    assert b"neostore" in contents
    assert report.consistency is Consistency.QUIESCED
    assert report.downtime_ns > 0
    assert UNTRIED not in report.warnings
    assert server.pid() != pid


# ------------------------------------------------------------------- a stand-in


def stand_in(server: RealNeo4j, folder: Path, artifact: Path) -> Path:
    """Return programs of which `database backup` copies a file; all else is the real one."""
    folder.mkdir()
    program = folder / "neo4j-admin"
    program.write_text(
        f"""#!/bin/sh
[ "$1 $2" = "database backup" ] || exec "{server.home}/bin/neo4j-admin" "$@"
for word in "$@"; do case $word in --to-path=*) to=${{word#--to-path=}};; esac; last=$word; done
echo "$@" >> "{folder}/asked"
cp "{artifact}" "$to/$last-$(date +%Y-%m-%dT%H-%M-%S).backup"
"""
    )
    program.chmod(0o755)
    return folder


@pytest.fixture
def pretended(
    server: RealNeo4j, claims_enterprise: None, tmp_path: Path
) -> tuple[RealNeo4j, Path, Path]:
    """A Community server that is said to be Enterprise, a stand-in's folder and its file."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(CONTENT)
    return server, stand_in(server, tmp_path / "programs", artifact), artifact


def test_with_a_stand_in_for_enterprise_nothing_is_stopped_and_nothing_left(
    pretended: tuple[RealNeo4j, Path, Path], tmp_path: Path
) -> None:
    server, programs, _ = pretended
    pid = server.pid()
    install = Neo4jInstall(server.home, programs=programs)
    service = Neo4jService(install, options(server), state_folder=tmp_path / "state")
    found = all_of(service)
    assert list(found) == ["graph-system", "graph", "graph-configuration"]
    contents, report = found["graph"]
    assert contents == {b"neo4j.backup": CONTENT}
    assert report.consistency is Consistency.TRANSACTION
    assert report.downtime_ns == 0
    assert report.versions["edition"] == "enterprise"
    assert report.statistics["labels"] == {"Person": 100}
    assert report.statistics["artifact"] == "backup"
    assert report.statistics["store_format"] == "record-aligned-1.1"
    assert UNTRIED in report.warnings
    assert found["graph-system"][0] == {b"system.backup": CONTENT}
    asked = (programs / "asked").read_text().splitlines()
    assert [line.split()[-1] for line in asked] == ["system", "neo4j"]
    assert server.pid() == pid
    assert left_beside(server) == []
    assert stopped_servers(tmp_path / "state") == []

    # The same transaction as last time: not even asked for.
    recorded = {name: report.statistics for name, (_, report) in found.items()}
    service = Neo4jService(
        install,
        options(server, skip_unchanged=True),
        state_folder=tmp_path / "state",
        previous=recorded.get,
    )
    with service.hold(), pytest.raises(Unchanged), service.sources[1].open():
        pass
    server.run("CREATE (:Person)")
    service = Neo4jService(
        install, options(server, skip_unchanged=True), state_folder=tmp_path / "state"
    )
    with service.hold(), service.sources[1].open() as view:
        # What is written once the backup was made does not belong to it; before, it may.
        assert read(view)[1].statistics["labels"] == {"Person": 101}


def test_with_a_stand_in_for_enterprise_what_is_written_meanwhile_is_not_counted(
    pretended: tuple[RealNeo4j, Path, Path], tmp_path: Path
) -> None:
    server, programs, _ = pretended
    install = Neo4jInstall(server.home, programs=programs)
    service = Neo4jService(install, options(server, system=False), state_folder=tmp_path / "state")
    service.look()
    server.run("CREATE (:Person)")
    with service.hold(), service.sources[0].open() as view:
        report = read(view)[1]
    assert "nodes" not in report.statistics
    assert any("written to while it was backed up" in warning for warning in report.warnings)


def test_with_a_stand_in_for_enterprise_a_backup_left_midway_is_removed(
    pretended: tuple[RealNeo4j, Path, Path],
) -> None:
    server, programs, _ = pretended
    with (
        pytest.raises(RuntimeError, match="enough"),
        Neo4jInstall(server.home, programs=programs).back_up("neo4j") as artifact,
    ):
        assert artifact.read(4) == b"BTV1"
        [name] = left_beside(server)
        assert (server.data / name).stat().st_mode & 0o777 == 0o700
        raise RuntimeError("enough")
    assert left_beside(server) == []


def test_where_there_is_no_room_no_program_is_run(
    pretended: tuple[RealNeo4j, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, programs, _ = pretended
    asked: list[int] = []

    def enormous(size_bytes: int) -> int:
        asked.append(size_bytes)
        return 1 << 60

    monkeypatch.setattr(neo4j_online, "room_for", enormous)
    with (
        pytest.raises(SourceError, match="no room to copy") as caught,
        Neo4jInstall(server.home, programs=programs).back_up("neo4j"),
    ):
        pass
    assert "disk of Neo4j's data folder" in caught.value.hint
    assert not (programs / "asked").exists()
    # What the store and its logs take, as `du` sees it.
    parts = [str(server.data / part / "neo4j") for part in ("databases", "transactions")]
    told = subprocess.run(["du", "-sbc", *parts], capture_output=True, text=True, check=True)
    assert abs(asked[0] - int(told.stdout.splitlines()[-1].split()[0])) < 1 << 20
