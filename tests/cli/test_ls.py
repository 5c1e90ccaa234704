import os
from pathlib import Path

import pytest

from .conftest import Snap


def test_all_entries_are_listed(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, _ = two_snapshots
    assert snap.ok("ls", first[:10]).out.splitlines() == [
        "folder/a.txt",
        "folder/link",
        "folder/sub",
        "folder/sub/b.bin",
    ]


def test_a_part_is_listed(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, _ = two_snapshots
    assert snap.ok("ls", f"{first}:folder/sub").out.splitlines() == [
        "folder/sub",
        "folder/sub/b.bin",
    ]
    assert snap.ok("ls", f"{first}:folder/a.txt").out == "folder/a.txt\n"
    assert len(snap.ok("ls", f"{first}:folder").out.splitlines()) == 4


def test_the_long_format_shows_mode_size_and_target(initialized: Snap, folder: Path) -> None:
    (folder / "a.txt").chmod(0o640)
    os.utime(folder / "a.txt", (1_767_225_600, 1_767_225_600))
    initialized.ok("backup", "folder")
    lines = initialized.ok("ls", "-l", "latest").out.splitlines()
    words = lines[0].split()
    assert words[0] == "-rw-r-----"
    assert words[3:] == ["6", "2026-01-01", "01:00:00", "folder/a.txt"]
    assert lines[1].startswith("lrwxrwxrwx ")
    assert lines[1].endswith(" folder/link -> a.txt")
    assert lines[2].startswith("drwx")


def test_json_has_one_entry_a_line(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, _ = two_snapshots
    nodes = snap.ok("ls", first, "--json").lines
    assert [n["message_type"] for n in nodes] == ["node"] * 4
    assert nodes[0]["component"] == "folder"
    assert (nodes[0]["path"], nodes[0]["type"], nodes[0]["size"]) == ("a.txt", "file", 6)
    assert nodes[1]["target"] == "a.txt"
    assert (nodes[2]["type"], nodes[2]["size"]) == ("dir", None)
    assert (nodes[3]["path"], nodes[3]["name"]) == ("sub/b.bin", "b.bin")


def test_hostile_names_cannot_command_the_terminal(initialized: Snap, folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\x1b[2J\xff\n")).write_bytes(b"x")
    initialized.ok("backup", "folder")
    for arguments in (["ls", "latest"], ["ls", "-l", "latest"], ["find", "*2J*"]):
        result = initialized.ok(*arguments)
        assert "folder/\\x1b[2J\\xff\\x0a" in result.out
        assert "\x1b" not in result.out
    node = next(n for n in initialized.ok("ls", "latest", "--json").lines if "path_b64" in n)
    assert node["path_b64"] == node["name_b64"] == "G1sySv8K"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("latest:nothing", "no component 'nothing'"),
        ("latest:folder/gone", "no folder/gone in snapshot"),
        ("latest:folder/a.txt/deeper", "no folder/a.txt/deeper in snapshot"),
        ("ffffffffffff", "no snapshot 'ffffffffffff'"),
        ("@2001-01-01", "no snapshot is as old as"),
    ],
)
def test_what_is_not_there_is_said(
    two_snapshots: tuple[Snap, str, str], place: str, message: str
) -> None:
    result = two_snapshots[0]("ls", place)
    assert result.code == 1
    assert message in result.err
    assert result.out == ""


def test_a_moment_chooses_the_last_snapshot_not_after_it(initialized: Snap, folder: Path) -> None:
    initialized.ok("backup", "folder", "--time", "2026-07-01T02:00")
    (folder / "later").write_text("x")
    initialized.ok("backup", "folder", "--time", "2026-07-01T03:00")
    assert "folder/later" not in initialized.ok("ls", "@2026-07-01T02:59").out
    assert "folder/later" in initialized.ok("ls", "@2026-07-01T03:00").out
    assert "folder/later" in initialized.ok("ls", "@2026-07-01:folder").out
    assert "folder/later" not in initialized.ok("ls", "@2026-07-01T00:30Z").out


def test_a_failed_component_is_mentioned(initialized: Snap, folder: Path) -> None:
    assert initialized("backup", "folder", "gone").code == 3
    result = initialized.ok("ls", "latest")
    assert "snap: warning: component gone failed in this snapshot" in result.err
    explicit = initialized("ls", "latest:gone")
    assert explicit.code == 1
    assert "component 'gone' failed" in explicit.err
