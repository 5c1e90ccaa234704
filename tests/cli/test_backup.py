import os
import socket
import sqlite3
from pathlib import Path

import pytest

from .conftest import Snap

SUMMARY = {
    "message_type",
    "snapshot_id",
    "dry_run",
    "status",
    "duration_seconds",
    "bytes_processed",
    "bytes_new",
    "bytes_stored",
    "components",
}
COMPONENT = {"name", "kind", "status", "files", "bytes_processed", "bytes_stored", "statistics"}


def test_a_folder_and_a_database_become_one_snapshot(
    initialized: Snap, folder: Path, database: Path
) -> None:
    result = initialized.ok("backup", "folder", "sqlite:events.db", "--json")
    summary = result.summary
    assert set(summary) == SUMMARY
    assert (summary["message_type"], summary["status"]) == ("summary", "success")
    assert len(summary["snapshot_id"]) == 64
    components = {c["name"]: c for c in summary["components"]}
    assert set(components) == {"events.db", "folder"}
    assert all(set(c) >= COMPONENT for c in components.values())
    assert components["folder"]["files"] == 2
    assert components["folder"]["bytes_processed"] == 6 + 256 * 40
    assert components["events.db"]["kind"] == "sqlite"
    assert components["events.db"]["consistency"] == "transaction"
    assert all(line["message_type"] == "status" for line in result.lines[:-1])
    assert {line["task"] for line in result.lines[:-1]} == {"folder", "events.db"}


def test_people_get_a_table_and_the_id(initialized: Snap, folder: Path) -> None:
    result = initialized.ok("backup", "folder")
    lines = result.out.splitlines()
    assert lines[0].split() == [
        "component",
        "kind",
        "status",
        "files",
        "processed",
        "new",
        "stored",
    ]
    assert lines[1].split()[:4] == ["folder", "files", "success", "2"]
    short_id = initialized.ok("snapshots", "--json").json[0]["short_id"]
    assert lines[-1] == f"snapshot {short_id} stored"
    assert result.err.startswith("backing up folder: 10.0 KiB in ")


def test_quiet_prints_nothing_at_all(initialized: Snap, folder: Path) -> None:
    result = initialized.ok("backup", "folder", "-q")
    assert (result.out, result.err) == ("", "")
    assert len(initialized.ok("snapshots", "--json").json) == 1


def test_verbose_shows_the_statistics(initialized: Snap, database: Path) -> None:
    result = initialized.ok("backup", "sqlite:events.db", "-v")
    assert "  events.db: journal_mode: " in result.out


def test_a_second_backup_stores_next_to_nothing(initialized: Snap, folder: Path) -> None:
    initialized.ok("backup", "folder")
    summary = initialized.ok("backup", "folder", "--json").summary
    assert summary["bytes_processed"] == 6 + 256 * 40
    assert summary["components"][0]["bytes_new"] == 0


def test_what_a_command_prints_is_stored(initialized: Snap) -> None:
    initialized.ok("backup", "--command", "printf 'a\\nb'", "--name", "dump.sql")
    assert initialized.ok("dump", "latest:dump.sql").raw == b"a\nb"


@pytest.mark.parametrize("command", ["echo partial; exit 3", "true", "no-such-program-at-all"])
def test_a_command_that_fails_or_prints_nothing_makes_no_snapshot(
    initialized: Snap, command: str
) -> None:
    result = initialized("backup", "--command", command, "--name", "dump.sql")
    assert result.code == 1
    assert "snap: error: dump.sql: " in result.err
    assert "Traceback" not in result.err
    assert initialized.ok("snapshots", "--json").json == []


def test_standard_input_is_stored(initialized: Snap) -> None:
    content = os.urandom(3_000_000)
    initialized.ok("backup", "--stdin", "--name", "dump.bin", stdin=content)
    assert initialized.ok("dump", "latest:dump.bin").raw == content


def test_empty_standard_input_makes_no_snapshot(initialized: Snap) -> None:
    result = initialized("backup", "--stdin", "--name", "dump.bin")
    assert result.code == 1
    assert initialized.ok("snapshots", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to back up"),
        (["folder", "--stdin"], "exclude each other"),
        (["--stdin", "--command", "x", "--name", "n"], "exclude each other"),
        (["--stdin"], "need --name"),
        (["--command", "x"], "need --name"),
        (["folder", "--name", "a/b"], "not a name for a component: 'a/b'"),
        (["--stdin", "--name", ".."], "not a name for a component: '..'"),
        (["--stdin", "--name", ""], "not a name for a component: ''"),
        (["folder", "--name", "x" * 256], "not a name for a component"),
        (["folder", "folder/sub", "--name", "n"], "--name is for a single source"),
        (["folder", "./folder"], "two sources have the name 'folder'"),
        (["--stdin", "--name", "n", "--exclude", "x"], "--exclude is for files only"),
        (["sqlit:events.db"], "sqlit"),
        (["folder", "--time", "yesterday"], "not a time: 'yesterday'"),
        (["folder", "--tag", "a,b"], "not a tag: 'a,b'"),
    ],
)
def test_a_call_that_is_not_clear_is_refused(
    initialized: Snap, folder: Path, arguments: list[str], message: str
) -> None:
    result = initialized("backup", *arguments)
    assert result.code == 2
    assert message in result.err
    assert initialized.ok("snapshots", "--json").json == []


def test_a_component_that_fails_does_not_stop_the_others(
    initialized: Snap, folder: Path, clean: Path
) -> None:
    (clean / "not.db").write_text("this is no database, though it is a file" * 30)
    result = initialized("backup", "folder", "sqlite:not.db", "sqlite:gone.db", "--json")
    assert result.code == 3
    assert result.summary["status"] == "partial"
    statuses = {c["name"]: c["status"] for c in result.summary["components"]}
    assert statuses == {"folder": "success", "not.db": "failed", "gone.db": "failed"}
    errors = {c["name"]: c["error"] for c in result.summary["components"]}
    assert errors["folder"] == ""
    assert errors["not.db"]
    assert errors["gone.db"]
    assert '"message_type": "warning"' in result.err


def test_a_partial_snapshot_is_said_to_be_one(initialized: Snap, folder: Path) -> None:
    result = initialized("backup", "folder", "gone")
    assert result.code == 3
    assert result.out.splitlines()[-1].endswith(" stored (partial: see the warnings)")
    assert "snap: warning: gone: " in result.err


def test_a_dry_run_stores_nothing(initialized: Snap, folder: Path, clean: Path) -> None:
    def names() -> set[Path]:
        return {p for p in (clean / "repo").rglob("*") if p.is_file()}

    before = names()
    result = initialized.ok("backup", "folder", "--dry-run", "--json")
    assert (result.summary["snapshot_id"], result.summary["dry_run"]) == (None, True)
    assert result.summary["bytes_processed"] == 6 + 256 * 40
    assert result.summary["bytes_new"] >= 6 + 256 * 40
    text = initialized.ok("backup", "folder", "--dry-run")
    assert text.out.splitlines()[-1] == "dry run: nothing was stored"
    assert names() == before


def test_the_options_are_recorded(initialized: Snap, folder: Path) -> None:
    initialized.ok(
        "backup",
        "folder",
        "--service",
        "shop",
        "--host",
        "db1",
        "--tag",
        "b",
        "--tag",
        "a",
        "--time",
        "2026-07-01T12:00",
        "--name",
        "tree",
    )
    snapshot = initialized.ok("snapshots", "--json").json[0]
    assert (snapshot["service"], snapshot["hostname"]) == ("shop", "db1")
    assert snapshot["tags"] == ["a", "b"]
    assert snapshot["time"] == "2026-07-01T10:00:00.000000+00:00"
    assert [c["name"] for c in snapshot["components"]] == ["tree"]


def test_the_service_is_the_host_where_nothing_else_is_said(
    initialized: Snap, folder: Path
) -> None:
    initialized.ok("backup", "folder")
    snapshot = initialized.ok("snapshots", "--json").json[0]
    assert snapshot["service"] == snapshot["hostname"] == socket.gethostname()


def test_excludes_are_left_out(initialized: Snap, folder: Path) -> None:
    initialized.ok("backup", "folder", "--exclude", "*.bin", "--exclude", "link")
    assert initialized.ok("ls", "latest").out.splitlines() == ["folder/a.txt", "folder/sub"]


def test_a_backup_without_extra_verification_is_whole(initialized: Snap, folder: Path) -> None:
    initialized.ok("backup", "folder", "--no-extra-verify", "--full")
    initialized.ok("check", "--read-data")


def test_nothing_is_left_in_the_spool(initialized: Snap, database: Path, clean: Path) -> None:
    initialized.ok("backup", "sqlite:events.db", "--cache-dir", "cache")
    assert (clean / "cache").is_dir()
    assert [p for p in (clean / "cache" / "spool").rglob("*") if p.is_file()] == []


def test_a_database_in_use_is_backed_up(initialized: Snap, database: Path) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("begin immediate")
    connection.execute("insert into events (what) values ('not yet committed')")
    summary = initialized.ok("backup", "sqlite:events.db", "--json").summary
    connection.execute("rollback")
    connection.close()
    assert summary["components"][0]["statistics"]["tables"] == {"events": 500}


def test_a_writer_key_backs_up(
    initialized: Snap, folder: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean / "new").write_text("writer's password")
    initialized.ok(
        "key", "add", "--capability", "writer", "--new-password-file", "new", "--kdf-seconds", "0"
    )
    monkeypatch.setenv("SNAP_PASSWORD", "writer's password")
    initialized.ok("backup", "folder")
    assert len(initialized.ok("snapshots", "--json").json) == 1


@pytest.mark.parametrize("source", ["neo4j:/opt/neo4j", "neo4j-docker:graph"])
def test_a_dry_run_never_stops_a_server(initialized: Snap, source: str) -> None:
    result = initialized("backup", source, "--dry-run")
    assert result.code == 2
    assert "would stop its server" in result.err
