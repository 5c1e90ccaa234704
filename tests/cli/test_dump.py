import os
from pathlib import Path

import pytest

from .conftest import Snap, damage_in_ten_places, stored


def test_a_file_comes_byte_for_byte(two_snapshots: tuple[Snap, str, str]) -> None:
    snap, first, second = two_snapshots
    assert snap.ok("dump", f"{first}:folder/sub/b.bin").raw == bytes(range(256)) * 40
    assert snap.ok("dump", f"{first}:folder/a.txt").raw == b"alpha\n"
    assert snap.ok("dump", f"{second}:folder/a.txt").raw == b"alpha changed\n"


def test_a_component_of_a_single_file_needs_no_path(initialized: Snap, database: Path) -> None:
    initialized.ok("backup", "sqlite:events.db")
    content = initialized.ok("dump", "latest:events.db").raw
    assert content.startswith(b"SQLite format 3\0")
    assert content == initialized.ok("dump", "latest:events.db/events.db").raw


def test_holes_are_zeros(initialized: Snap, folder: Path) -> None:
    with open(folder / "sparse", "wb") as file:
        file.seek(5_000_000)
        file.write(b"end")
    initialized.ok("backup", "folder")
    assert initialized.ok("dump", "latest:folder/sparse").raw == bytes(5_000_000) + b"end"


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        ("latest", 2, "no file named"),
        ("latest:folder", 1, "is not a single file"),
        ("latest:folder/sub", 1, "is not a file"),
        ("latest:folder/link", 1, "is not a file"),
        ("latest:folder/../a.txt", 1, "no folder/../a.txt"),
    ],
)
def test_what_is_no_file_cannot_be_dumped(
    two_snapshots: tuple[Snap, str, str], place: str, code: int, message: str
) -> None:
    snap, first, _ = two_snapshots
    result = snap("dump", place.replace("latest", first))
    assert result.code == code
    assert message in result.err
    assert result.raw == b""


def test_a_damaged_file_gives_no_wrong_byte(initialized: Snap, folder: Path, clean: Path) -> None:
    content = os.urandom(300_000)
    (folder / "big").write_bytes(content)
    initialized.ok("backup", "folder")
    damage_in_ten_places(stored(clean, "data")[0])
    result = initialized("dump", "latest:folder/big")
    assert result.code == 4
    assert content.startswith(result.raw)
    assert "big" in result.err


def test_a_writer_key_is_told_that_it_cannot_read(
    initialized: Snap, folder: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialized.ok("backup", "folder")
    (clean / "new").write_text("writer's password")
    initialized.ok(
        "key", "add", "--capability", "writer", "--new-password-file", "new", "--kdf-seconds", "0"
    )
    monkeypatch.setenv("SNAP_PASSWORD", "writer's password")
    result = initialized("dump", "latest:folder/a.txt")
    assert result.code == 1
    assert result.raw == b""
    assert "a writer key cannot read a file" in result.err
    assert "use the passphrase of a full key" in result.err
