"""The disaster of spec/RUNBOOKS.md that is about the repository: its commands, as printed."""

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

RUNBOOKS = Path(__file__).parents[2] / "spec/RUNBOOKS.md"
MAIN = """
repository = "/mnt/backup/knowledge"
password_file = "password"
service = "knowledge"

[sources.events]
kind = "sqlite"
path = "events.db"

"""


def blocks(language: str) -> list[str]:
    [section] = re.findall(r"^## 6\. .*\Z", RUNBOOKS.read_text(), re.M | re.S)
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)


class Service:
    """Events that are backed up, and a copy of the repository in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "mnt/knowledge"
        self.events = folder / "events.db"
        [table] = blocks("toml")
        table = re.sub('sftp://[^"]*', str(folder / "office"), table)
        (folder / "password").write_text("runbooks")
        (folder / "snap.toml").write_text(self._here(MAIN + table))
        with closing(sqlite3.connect(self.events)) as db, db:
            db.execute("create table events(id integer primary key, what blob)")
            rows = ((random.Random(n).randbytes(400),) for n in range(5000))
            db.executemany("insert into events(what) values(?)", rows)
        self.run("snap init --kdf-seconds 0\nsnap backup\nsnap replicate --init")

    def _here(self, text: str) -> str:
        return text.replace("/mnt/backup/knowledge", str(self.repository))

    def run(self, script: str) -> str:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNAP_", "XDG_"))}
        done = subprocess.run(
            ["bash", "-e", "-u", "-o", "pipefail"],
            input=self._here(script),
            env=kept
            | {
                "HOME": str(self.folder),
                "SNAP_CONFIG": str(self.folder / "snap.toml"),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def restored(self) -> list[object]:
        self.run("snap restore latest --target out --overwrite")
        return rows_of(self.folder / "out/events/events.db")


def rows_of(path: Path) -> list[object]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("select * from events order by id").fetchall()


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def test_objects_of_the_repository_are_damaged_and_missing(service: Service) -> None:
    before = rows_of(service.events)
    packs = sorted(p for p in service.repository.glob("*/*/*") if p.is_file())
    packs[0].write_bytes(packs[0].read_bytes()[:-1] + b"?")
    for path in (*packs[1:], *(service.repository / "index").iterdir()):
        path.unlink()
    told = service.run(blocks("sh")[0])
    assert "everything is whole" in told
    assert "no problems found" in told
    shutil.rmtree(service.folder / "office")
    assert service.restored() == before


def test_the_disk_of_the_repository_is_gone(service: Service) -> None:
    before = rows_of(service.events)
    shutil.rmtree(service.repository)
    # What is wanted back now comes from the copy.
    assert service.restored() == before
    told = service.run(blocks("sh")[1])
    assert "RULE BROKEN" in told
    shutil.rmtree(service.folder / "office")
    assert service.restored() == before
