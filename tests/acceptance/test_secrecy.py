"""What the store and a stolen writer key do not learn."""

import base64
import sqlite3
from pathlib import Path

import pytest

from .command import Snap

MARKER = "Xylophone-Quartz-7391"


@pytest.fixture
def filled(snap: Snap, tmp_path: Path) -> Snap:
    tree = tmp_path / f"tree-{MARKER}"
    tree.mkdir()
    (tree / f"name-{MARKER}").write_text(f"content {MARKER}\n")
    (tree / "large").write_text(f"{MARKER} " * 200_000)
    (tree / "link").symlink_to(f"/to/{MARKER}")
    with sqlite3.connect(tmp_path / "events.db") as db:
        db.execute(f'create table "{MARKER}"(a)')
        db.execute(f'insert into "{MARKER}" values(?)', (MARKER,))
    db.close()
    snap.ok(
        "backup", str(tree), f"sqlite:{tmp_path}/events.db", "--service", MARKER, "--tag", MARKER
    )
    return snap


def forms(marker: str) -> list[bytes]:
    raw = marker.encode()
    encoded = [base64.b64encode(b"\0" * shift + raw)[4:-4] for shift in range(3)]
    hexadecimal = [raw.hex().encode(), raw.hex().upper().encode()]
    wide = [marker.encode("utf-16-le"), marker.encode("utf-16-be")]
    return [raw, marker.upper().encode(), *hexadecimal, *wide, *encoded]


def test_no_marker_of_the_source_is_anywhere_in_the_repository(filled: Snap) -> None:
    files = [p for p in filled.repository.rglob("*") if p.is_file()]
    assert len(files) > 6
    for path in files:
        stored = path.read_bytes()
        for form in forms(MARKER):
            assert form not in stored, path
            assert form not in str(path).encode()


def test_the_search_would_find_a_marker(tmp_path: Path) -> None:
    text = base64.b64encode(b"ab" + MARKER.encode() + b"cd")
    assert any(form in text for form in forms(MARKER))


def test_a_writer_key_stores_and_lists_and_reads_no_content(filled: Snap, tmp_path: Path) -> None:
    password = tmp_path / "writer-password"
    password.write_text("writer\n")
    filled.ok(
        "key", "add", "--capability", "writer", "--label", "w",
        "--new-password-file", str(password),
    )  # fmt: skip
    writer = Snap(filled.repository, tmp_path / "writer-cache", "writer")
    data = tmp_path / "more"
    data.mkdir()
    (data / "f").write_text("more")
    writer.ok("backup", str(data))
    for words in ("snapshots", "ls latest", "find *", "stats", "check"):
        writer.ok(*words.split())
    first, second = writer.ids()
    writer.ok("diff", first, second)
    writer.ok("check", "--read-data")
    out = tmp_path / "out"
    for call in (("restore", "latest", "--target", str(out)), ("dump", "latest:more/f")):
        done = writer.run(*call)
        assert done.returncode == 1
        assert b"writer key" in done.stderr
        assert b"more" not in done.stdout
    assert not out.exists()
    keys = sorted(p.name for p in (filled.repository / "keys").iterdir())
    for what in (("--capability", "full", "--new-password-file", str(password)), ("--recovery",)):
        refused = writer.run("key", "add", *what)
        assert refused.returncode == 1
        assert b"a writer key cannot make a full key" in refused.stderr
    assert sorted(p.name for p in (filled.repository / "keys").iterdir()) == keys
    filled.ok("restore", second, "--target", str(out))
    assert (out / "more" / "f").read_text() == "more"
