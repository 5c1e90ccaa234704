"""A stage lies beside the data, is its owner's, and is removed unless it may be needed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from snap.errors import SourceError, TargetError
from snap.sources.neo4j_admin import Account, AdminProgram
from snap.sources.neo4j_conf import Neo4jConf
from snap.sources.neo4j_exchange import Step
from snap.sources.neo4j_install_stage import InstallStage

SHARED_MEMORY = Path("/dev/shm")


def stage_of(
    home: Path, pid: int | None = None, account: Account | None = None, **settings: str
) -> InstallStage:
    conf = Neo4jConf(home, {key.replace("_", "."): value for key, value in settings.items()})
    program = AdminProgram(home / "neo4j-admin", settings={}, account=account)
    return InstallStage(conf, program, account, f"{pid or os.getpid()}-1")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def dead_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def test_it_is_made_even_where_all_data_is_gone(tmp_path: Path) -> None:
    stage = stage_of(tmp_path)
    stage.make()
    name = f".snap-in-place-{os.getpid()}-1"
    assert names(tmp_path / "data") == {"databases", "transactions", name}
    assert stage.free_bytes() > 0
    [(live, staged), (_, logs)] = stage.folders("neo4j")
    assert (live, staged) == (
        f"{tmp_path}/data/databases/neo4j",
        f"{tmp_path}/data/{name}/databases/neo4j",
    )
    assert logs == f"{tmp_path}/data/{name}/transactions/neo4j"
    stage.remove()
    stage.remove()
    assert names(tmp_path / "data") == {"databases", "transactions"}


def test_transaction_logs_elsewhere_have_a_stage_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    logs = str(tmp_path / "logs/transactions")
    stage = stage_of(tmp_path, server_directories_transaction_logs_root=logs)
    stage.make()
    [_, (live, staged)] = stage.folders("neo4j")
    assert live == f"{logs}/neo4j"
    assert Path(staged).parent.parent.parent == tmp_path / "logs"
    stage.remove()
    assert names(tmp_path / "logs") == {"transactions"}


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="there is no second file system")
def test_a_file_system_of_ones_own_is_not_left(tmp_path: Path) -> None:
    folder = SHARED_MEMORY / f"snap-{os.getpid()}"
    folder.mkdir()
    try:
        (tmp_path / "data").mkdir()
        (tmp_path / "data/databases").symlink_to(folder)
        stage = stage_of(tmp_path)
        stage.make()
        [(live, staged), _] = stage.folders("neo4j")
        Path(staged).mkdir()
        stage.apply([Step(swaps=False, source=staged, target=live)])
        assert (folder / "neo4j").is_dir()
        stage.remove()
        assert names(folder) == {"neo4j"}
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


def test_what_a_dead_process_made_is_removed_unless_it_exchanged(tmp_path: Path) -> None:
    pid = dead_pid()
    abandoned = stage_of(tmp_path, pid)
    abandoned.make()
    stage = stage_of(tmp_path)
    stage.make()
    assert f".snap-in-place-{pid}-1" not in names(tmp_path / "data")
    abandoned.make()
    abandoned.apply([])
    stage.make()
    # It may hold all that is left of the old state.
    assert f".snap-in-place-{pid}-1" in names(tmp_path / "data")
    assert abandoned.keep() == f"{tmp_path}/data/.snap-replaced-{pid}-1"
    assert f".snap-replaced-{pid}-1" in names(tmp_path / "data")


_GOES_ON = """
import pathlib, sys, time
print("ready", flush=True)
while True:
    pathlib.Path(sys.argv[1].partition("=")[2]).parent.joinpath("logs").mkdir(0o700, True, True)
    time.sleep(0.001)
"""


def test_what_a_dead_process_started_ends_before_its_folder_is_removed(tmp_path: Path) -> None:
    pid = dead_pid()
    stage_of(tmp_path, pid).make()
    folder = tmp_path / f"data/.snap-in-place-{pid}-1"
    command = [sys.executable, "-c", _GOES_ON, f"--additional-config={folder}/snap-stage.conf"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as left,
        subprocess.Popen(["sh", "-c", "read x", f"--other={folder}x/y"], stdin=-1) as other,
    ):
        assert left.stdout is not None
        assert left.stdout.readline() == b"ready\n"
        stage_of(tmp_path).make()
        ended = left.poll(), other.poll()
        left.kill()
        other.kill()
    assert ended == (-signal.SIGKILL, None)
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away takes root")
def test_all_of_it_is_the_data_owners(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, account=Account(7474, 7475))
    stage.make()
    found = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert len(found) == 7
    for path in found:
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (7474, 7475)


def test_what_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(TargetError, match="cannot make a folder beside"):
        stage_of(tmp_path).make()


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a Neo4j database's name"):
        stage_of(tmp_path).folders("../neo4j")


def test_live_folders_are_sources_of_files(tmp_path: Path) -> None:
    stage = stage_of(tmp_path)
    stage.make()
    assert stage.plain_sources("neo4j", "graph") == []
    for live, _ in stage.folders("neo4j"):
        Path(live).mkdir()
    assert [s.name for s in stage.plain_sources("neo4j", "graph")] == [
        "graph",
        "graph-transactions",
    ]
