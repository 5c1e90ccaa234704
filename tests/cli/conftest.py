import io
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from snap.cli.main import run

from .copied import configure

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Result:
    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.raw.splitlines()]

    @property
    def summary(self) -> Any:
        return self.lines[-1]


class Snap:
    """Calls the command line in this process, with streams of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Result:
        out, err = io.BytesIO(), io.BytesIO()
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "stdout", _stream(out))
            patch.setattr(sys, "stderr", _stream(err))
            code = run([os.fspath(a) for a in arguments])
            sys.stdout.flush()
            sys.stderr.flush()
            return Result(code, out.getvalue(), err.getvalue().decode())

    def ok(self, *arguments: str | Path, stdin: bytes = b"") -> Result:
        result = self(*arguments, stdin=stdin)
        assert result.code == 0, result.err
        return result


def _stream(raw: io.BytesIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An environment in which nothing is said, and an empty folder to work in."""
    for name in list(os.environ):
        if name.startswith(("SNAP_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def snap(clean: Path, monkeypatch: pytest.MonkeyPatch) -> Snap:
    """The command line, with a repository's place and password in the environment."""
    monkeypatch.setenv("SNAP_REPOSITORY", str(clean / "repo"))
    monkeypatch.setenv("SNAP_PASSWORD", PASSWORD)
    return Snap(monkeypatch)


@pytest.fixture
def initialized(snap: Snap) -> Snap:
    """The same, with an empty repository there."""
    snap.ok("init", "--kdf-seconds", "0", "-q")
    return snap


@pytest.fixture
def folder(clean: Path) -> Path:
    """A small tree to back up."""
    root = clean / "folder"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"alpha\n")
    (root / "sub" / "b.bin").write_bytes(bytes(range(256)) * 40)
    (root / "link").symlink_to("a.txt")
    return root


@pytest.fixture
def database(clean: Path) -> Path:
    """A small SQLite database to back up."""
    path = clean / "events.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table events (id integer primary key, what text)")
        connection.executemany(
            "insert into events (what) values (?)", [(f"event {i}",) for i in range(500)]
        )
    connection.close()
    path.chmod(0o644)
    return path


@pytest.fixture
def two_snapshots(initialized: Snap, folder: Path) -> tuple[Snap, str, str]:
    """Two snapshots of a folder, and their ids."""
    first = initialized.ok("backup", "folder", "--json", "--tag", "old").summary
    (folder / "a.txt").write_bytes(b"alpha changed\n")
    (folder / "new.txt").write_bytes(b"new\n")
    (folder / "sub" / "b.bin").unlink()
    second = initialized.ok("backup", "folder", "--json", "--service", "other").summary
    return initialized, first["snapshot_id"], second["snapshot_id"]


@pytest.fixture
def to_copy(initialized: Snap, folder: Path, clean: Path) -> Snap:
    """A repository with a snapshot, and two copies that are configured and not made yet."""
    configure(clean)
    initialized.ok("backup", "folder", "-q")
    return initialized


@pytest.fixture
def copied(to_copy: Snap) -> Snap:
    """A repository with a snapshot and two copies of it, one of them off-site."""
    to_copy.ok("replicate", "--init", "-q")
    return to_copy


def stored(root: Path, kind: str) -> list[Path]:
    """Return the stored objects of one kind."""
    return sorted(p for p in (root / "repo" / kind).rglob("*") if p.is_file())


def flip_bit(path: Path, position: int) -> None:
    """Flip a bit of the byte at ``position``."""
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def flip_last_byte(path: Path) -> None:
    flip_bit(path, -1)


def damage_in_ten_places(path: Path) -> None:
    """Flip a byte in every tenth part of a file."""
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 10, len(content), len(content) // 10):
        content[position] ^= 0xFF
    path.write_bytes(content)
