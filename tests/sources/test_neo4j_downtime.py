import json
import subprocess
import sys
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.neo4j_downtime import note_started, note_stop, stopped_servers

NOW = 1_790_000_000_000_000_000

_NOTE = """
import os, sys
from pathlib import Path
from snap.sources.neo4j_downtime import note_stop
note_stop(Path(sys.argv[1]), kind="neo4j", place="/opt/neo4j", started_by="neo4j.service",
          clock=lambda: int(sys.argv[2]))
print("noted", flush=True)
if sys.argv[3] == "wait":
    sys.stdin.read()
os._exit(9)
"""


def noted_by_another(folder: Path, what: str = "die") -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", _NOTE, str(folder), str(NOW), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"noted\n"
    return process


def test_a_server_left_stopped_by_a_dead_process_is_told(tmp_path: Path) -> None:
    with noted_by_another(tmp_path) as process:
        process.communicate()
    (left,) = stopped_servers(tmp_path)
    assert (left.kind, left.place, left.started_by) == ("neo4j", "/opt/neo4j", "neo4j.service")
    assert left.since_ns == NOW
    assert left.minutes(NOW + 150 * 1_000_000_000) == 2
    note_started(tmp_path, kind="neo4j", place="/opt/neo4j")
    assert stopped_servers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    note_started(tmp_path, kind="neo4j", place="/opt/neo4j")


def test_a_backup_that_still_runs_has_left_nothing_and_is_not_disturbed(tmp_path: Path) -> None:
    with noted_by_another(tmp_path, "wait") as process:
        assert stopped_servers(tmp_path) == []
        with pytest.raises(SourceError, match=rf"another snap \(process {process.pid}\)"):
            note_stop(tmp_path, kind="neo4j", place="/opt/neo4j", started_by="")
        process.communicate()
    assert len(stopped_servers(tmp_path)) == 1


def test_our_own_note_is_not_one_of_a_server_left(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "when needed"
    note_stop(folder, kind="neo4j", place="/opt/neo4j", started_by="")
    assert stopped_servers(folder) == []
    note_stop(folder, kind="neo4j", place="/opt/neo4j", started_by="")
    note_stop(folder, kind="neo4j-docker", place="/opt/neo4j", started_by="")
    assert len(list(folder.iterdir())) == 2


def test_another_process_of_the_same_number_is_not_taken_for_ours(tmp_path: Path) -> None:
    note_stop(tmp_path, kind="neo4j", place="/opt/neo4j", started_by="", clock=lambda: NOW)
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_text())
    boot, _, ticks = found["process"].partition(":")
    for other in (f"{boot}:{int(ticks) - 1}", f"0{boot}:{ticks}"):
        path.write_text(json.dumps({**found, "process": other}))
        assert [left.place for left in stopped_servers(tmp_path)] == ["/opt/neo4j"]
    path.write_text(json.dumps(found))
    assert stopped_servers(tmp_path) == []


def test_a_note_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    with noted_by_another(tmp_path) as process:
        process.communicate()
    note_stop(tmp_path, kind="neo4j", place="/opt/neo4j", started_by="")
    assert stopped_servers(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 1


def test_the_oldest_comes_first(tmp_path: Path) -> None:
    times = iter((NOW + 1, NOW + 2, NOW))
    for place in ("/b", "/a", "/c"):
        note_stop(tmp_path, kind="neo4j", place=place, started_by="", clock=times.__next__)
    for path in tmp_path.iterdir():
        path.write_text(path.read_text().replace('"process": "', '"process": "x'))
    assert [left.place for left in stopped_servers(tmp_path)] == ["/c", "/b", "/a"]


@pytest.mark.parametrize("content", ["", "[]", '{"kind": "neo4j"}', "\0\0"])
def test_a_damaged_note_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    note_stop(tmp_path, kind="neo4j", place="/opt/neo4j", started_by="")
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    with pytest.raises(SourceError, match=path.name):
        stopped_servers(tmp_path)


def test_where_no_note_can_be_written_no_server_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError, match="cannot note"):
        note_stop(tmp_path / "file", kind="neo4j", place="/opt/neo4j", started_by="")


def test_without_a_folder_nothing_is_left_stopped(tmp_path: Path) -> None:
    assert stopped_servers(tmp_path / "none") == []
