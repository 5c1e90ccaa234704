"""``snap config``, and ``snap backup`` of what is configured."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import PASSWORD, Snap

TWO = """
repository = "repository"
password_file = "password"
service = "shop"
tags = ["nightly"]

[sources.events]
kind = "sqlite"
path = "events.db"

[sources.dump]
kind = "command"
command = "echo hello"
"""


@pytest.fixture
def folder(clean: Path, snap: Snap, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database, a configuration of it, and a repository."""
    (clean / "password").write_text(PASSWORD + "\n")
    (clean / "snap.toml").write_text(TWO)
    with closing(sqlite3.connect(clean / "events.db")) as db, db:
        db.execute("create table events(id integer primary key)")
        db.executemany("insert into events values(?)", [(n,) for n in range(500)])
    for name in ("SNAP_REPOSITORY", "SNAP_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SNAP_CONFIG", str(clean / "snap.toml"))
    snap.ok("init", "--kdf-seconds", "0")
    return clean


def test_all_that_is_configured_becomes_one_snapshot(folder: Path, snap: Snap) -> None:
    summary = snap.ok("backup", "--json").summary
    assert [(c["name"], c["kind"]) for c in summary["components"]] == [
        ("dump", "command"),
        ("events", "sqlite"),
    ]
    [record] = snap.ok("snapshots", "--json").json
    assert (record["service"], record["tags"]) == ("shop", ["nightly"])
    snap.ok("restore", "latest", "--target", "out")
    assert (folder / "out/dump/dump").read_bytes() == b"hello\n"


def test_a_configured_source_is_backed_up_by_its_name_or_beside_a_place(
    folder: Path, snap: Snap
) -> None:
    [one] = snap.ok("backup", "events", "--json").summary["components"]
    assert one["name"] == "events"
    both = snap.ok("backup", "events", "files:password", "--json").summary["components"]
    assert [c["name"] for c in both] == ["events", "password"]


def test_a_configured_name_goes_before_a_path_of_that_name(folder: Path, snap: Snap) -> None:
    (folder / "events").mkdir()
    [one] = snap.ok("backup", "events", "--json").summary["components"]
    assert one["kind"] == "sqlite"


def test_a_source_that_fails_leaves_the_others_stored(folder: Path, snap: Snap) -> None:
    with (folder / "snap.toml").open("a") as file:
        file.write('[sources.graph]\nkind = "neo4j"\nhome = "no-neo4j"\n')
        file.write('[sources.lost]\nkind = "sqlite"\npath = "lost.db"\n')
    result = snap("backup", "--json")
    assert result.code == 3
    statuses = {c["name"]: c["status"] for c in result.summary["components"]}
    assert statuses == {
        "dump": "success",
        "events": "success",
        "graph": "failed",
        "lost": "failed",
    }
    snap.ok("restore", "latest:events", "--target", "out")


def test_options_and_environment_go_before_the_configuration(
    folder: Path, snap: Snap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAP_REPOSITORY", "from-environment")
    rows = {r["key"]: r for r in snap.ok("config", "show", "--json").json}
    assert (rows["repository"]["value"], rows["repository"]["origin"]) == (
        "from-environment",
        "SNAP_REPOSITORY",
    )
    rows = {r["key"]: r for r in snap.ok("config", "show", "--json", "--repo", "said").json}
    assert (rows["repository"]["value"], rows["repository"]["origin"]) == ("said", "--repo")
    monkeypatch.delenv("SNAP_REPOSITORY")
    rows = {r["key"]: r for r in snap.ok("config", "show", "--json").json}
    assert rows["repository"]["value"] == str(folder / "repository")
    assert rows["repository"]["origin"] == f"{folder / 'snap.toml'}:2"
    snap.ok("backup", "--service", "other", "--tag", "t", "events")
    [record] = snap.ok("snapshots", "--json").json
    assert (record["service"], record["tags"]) == ("other", ["nightly", "t"])


def test_the_users_configuration_is_found_by_itself_and_not_one_of_the_working_folder(
    folder: Path, snap: Snap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SNAP_CONFIG")
    result = snap("backup")
    assert result.code == 2
    assert "snap config example" in result.err
    own = folder / "home/.config/snap/snap.toml"
    own.parent.mkdir(parents=True)
    own.write_text(TWO.replace('"repository"', f'"{folder}/repository"').replace("events.db", "x"))
    assert snap("config", "check").out.endswith(f"{own}: ok, 2 sources\n")


def test_check_tells_all_that_is_wrong_and_show_and_backup_the_first(
    folder: Path, snap: Snap
) -> None:
    (folder / "snap.toml").write_text("repositry = 'x'\nservice = 3\n")
    result = snap("config", "check")
    assert result.code == 2
    assert f"{folder / 'snap.toml'}:1: unknown key 'repositry'" in result.err
    assert "did you mean 'repository'?" in result.err
    assert f"{folder / 'snap.toml'}:2: 'service' is not text" in result.err
    listed = snap("config", "check", "--json")
    assert (listed.code, listed.json["ok"], len(listed.json["problems"])) == (2, False, 2)
    result = snap("backup")
    assert result.code == 2
    assert "(and 1 more: snap config check)" in result.err


def test_check_lists_the_sources_and_says_where_it_looked_if_there_is_none(
    folder: Path, snap: Snap, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "events  sqlite   events.db" in snap.ok("config", "check").out
    assert len(snap.ok("config", "check", "--json").json["sources"]) == 2
    monkeypatch.delenv("SNAP_CONFIG")
    result = snap("config", "check")
    assert result.code == 2
    assert "/etc/snap/snap.toml" in result.err


def test_the_example_passes_its_own_check(folder: Path, snap: Snap) -> None:
    (folder / "example.toml").write_text(snap.ok("config", "example").out)
    assert "4 sources" in snap.ok("config", "check", "--config", "example.toml").out


def test_no_secret_is_shown(folder: Path, snap: Snap) -> None:
    assert PASSWORD not in snap.ok("config", "show").out


def test_copies_are_named_by_check_and_show(folder: Path, snap: Snap) -> None:
    place = folder / "snap.toml"
    table = '[copies.usb]\nlocation = "usb"\nmedia = "usb disk"\n[rule]\ncopies = 2\n'
    place.write_text(TWO + table)
    copy = {
        "name": "usb",
        "location": str(folder / "usb"),
        "media": "usb disk",
        "offsite": False,
        "retention": {},
    }
    assert snap.ok("config", "check", "--json").json["copies"] == [copy]
    checked = snap.ok("config", "check").out
    assert "2 sources, 1 copy" in checked
    assert str(folder / "usb") in checked
    shown = {row["key"]: row["value"] for row in snap.ok("config", "show", "--json").json}
    assert shown["copies.usb.media"] == "usb disk"
    assert shown["rule.copies"] == "2"
    # Its name is as good as its place.
    shown = {row["key"]: row for row in snap.ok("config", "show", "-r", "usb", "--json").json}
    assert shown["repository"]["value"] == str(folder / "usb")
