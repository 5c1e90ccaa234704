import json
import subprocess
import sys
from pathlib import Path

import pytest

from snap.cli.times import shown_age
from snap.repo.clock import SECOND_NS

from .conftest import Snap, flip_last_byte, stored

NOTE = """
import os, sys
from pathlib import Path
from snap.sources.neo4j_downtime import note_stop
note_stop(Path(sys.argv[1]), kind="neo4j", place="/opt/neo4j", started_by="")
"""


def leave_stopped(clean: Path) -> None:
    """Leave the note of a process that is gone."""
    state = clean / "home/.local/state/snap"
    subprocess.run([sys.executable, "-c", NOTE, str(state)], check=True)


def test_a_repository_without_snapshots_says_what_to_do(initialized: Snap) -> None:
    assert "no snapshots yet" in initialized.ok("status").out


def test_each_source_has_its_last_good_snapshot(
    initialized: Snap, folder: Path, database: Path
) -> None:
    initialized.ok("backup", "folder", "sqlite:events.db", "--service", "shop")
    second = initialized.ok("backup", "folder", "--service", "shop", "--json").summary
    database.unlink()
    initialized("backup", "folder", "sqlite:events.db", "--service", "shop")
    status = initialized.ok("status", "--json").json
    assert status["ok"] is True
    assert status["stopped_servers"] == status["problems"] == []
    by_name = {source["name"]: source for source in status["sources"]}
    assert set(by_name) == {"folder", "events.db"}
    assert by_name["folder"]["snapshot_id"] != second["snapshot_id"]
    first = initialized.ok("snapshots", "--json").json[0]
    assert by_name["events.db"]["snapshot_id"] == first["id"]
    assert (by_name["events.db"]["kind"], by_name["events.db"]["service"]) == ("sqlite", "shop")
    assert 0 <= by_name["events.db"]["age_seconds"] < 600
    out = initialized.ok("status").out
    assert out.splitlines()[0].split()[0] == "source"
    assert "events.db" in out


def test_a_server_that_was_left_stopped_is_told_and_breaks_the_status(
    initialized: Snap, folder: Path, clean: Path
) -> None:
    initialized.ok("backup", "folder")
    leave_stopped(clean)
    result = initialized("status")
    assert result.code == 4
    assert (
        "STOPPED: neo4j:/opt/neo4j was stopped by a backup or restore that was killed, 0 minutes"
        in (result.out)
    )
    told = initialized("status", "--json")
    assert told.code == 4
    [server] = json.loads(told.raw)["stopped_servers"]
    assert (server["kind"], server["place"], server["minutes"]) == ("neo4j", "/opt/neo4j", 0)


def test_a_server_left_stopped_is_told_also_where_the_repository_cannot_be_opened(
    initialized: Snap, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_stopped(clean)
    nowhere = str(clean / "unmounted")
    for variable, wrong in (("SNAP_PASSWORD", "wrong"), ("SNAP_REPOSITORY", nowhere)):
        monkeypatch.setenv(variable, wrong)
        result = initialized("status")
        assert result.err.startswith("snap: error: ")
        assert "STOPPED: neo4j:/opt/neo4j" in result.out
        told = initialized("status", "--json")
        # The repository's error, as if no server was stopped.
        assert result.code == told.code == initialized("snapshots").code != 0
        assert told.json["ok"] is False
        assert told.json["sources"] is None
        assert [s["place"] for s in told.json["stopped_servers"]] == ["/opt/neo4j"]
        assert len(told.json["problems"]) == 1


def test_a_snapshot_that_cannot_be_read_breaks_the_status(
    initialized: Snap, folder: Path, clean: Path
) -> None:
    initialized.ok("backup", "folder")
    [snapshot] = stored(clean, "snapshots")
    flip_last_byte(snapshot)
    result = initialized("status", "--json")
    assert result.code == 4
    assert result.json["ok"] is False
    assert len(result.json["problems"]) == 1


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0 min"), (59, "0 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_ages_are_shown_in_units_that_fit(seconds: int, expected: str) -> None:
    assert shown_age(seconds * SECOND_NS) == expected
