"""Copies of directories in every state; full-speed writers are in tests/acceptance."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from snap.errors import SourceError
from snap.repo.clock import system_clock
from snap.sources.chroma_copy import Outcome, Request, copy_store, run_child
from snap.sources.chroma_index import DATA, FILES
from snap.sources.chroma_proof import require_proven
from snap.sources.chroma_store import DATABASE
from tests.servers.sqlite_holder import held


def request(folder: Path, target: Path, **changes: Any) -> Request:
    target.mkdir(exist_ok=True)
    return Request(
        **{
            "folder": str(folder),
            "target": str(target),
            "lock_seconds": 5.0,
            "patience_seconds": 20.0,
            **changes,
        }
    )


def taken(folder: Path, target: Path, **changes: Any) -> Outcome:
    return copy_store(request(folder, target, **changes), system_clock)


def test_a_copy_is_proven_and_says_what_it_holds(chroma_folder: Path, tmp_path: Path) -> None:
    outcome = taken(chroma_folder, tmp_path / "copy")
    assert require_proven(tmp_path / "copy").counts
    for path in chroma_folder.glob("*/*"):
        copied = tmp_path / "copy" / path.relative_to(chroma_folder)
        assert copied.read_bytes() == path.read_bytes()
    facts = {c["name"]: c for c in outcome.statistics["collections"]}
    assert [facts[name]["count"] for name in ("filled-0", "filled-1")] == [1500, 1500]
    assert set(outcome.widths.values()) == {(132, 32, 8)}
    assert (outcome.version, outcome.problems, outcome.is_locked) == ("1.x", [], True)


def test_it_waits_for_who_holds_the_lock(chroma_folder: Path, tmp_path: Path) -> None:
    with held(chroma_folder / DATABASE, "begin immediate"):
        child = start(request(chroma_folder, tmp_path / "copy"))
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1.5)
    out, _ = child.communicate()
    assert json.loads(out)["error"] == ""


def start(wanted: Request) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "snap.sources.chroma_copy"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    child.stdin.write(json.dumps(asdict(wanted)))
    child.stdin.close()
    child.stdin = None
    return child


def test_writers_are_let_in_again(chroma_folder: Path, tmp_path: Path) -> None:
    taken(chroma_folder, tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(chroma_folder / DATABASE, timeout=0)) as db, db:
        db.execute("begin immediate")


def set_threshold(folder: Path, threshold: int) -> None:
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db, db:
        new = f'"sync_threshold":{threshold}'
        sql = "update collections set schema_str=replace(schema_str, ?, ?)"
        db.execute(sql, ('"sync_threshold":1000', new))


def test_files_that_are_due_to_be_written_by_someone_are_waited_for(
    chroma_folder: Path, tmp_path: Path
) -> None:
    set_threshold(chroma_folder, 500)
    # A program that has the files open may begin any moment.
    hold = "import sys; f = open(sys.argv[1]); print(flush=True); input()"
    data = str(next(chroma_folder.glob(f"*/{DATA}")))
    with subprocess.Popen(
        [sys.executable, "-c", hold, data], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(SourceError, match="no quiet moment in 2 seconds: the vectors of coll"):
            taken(chroma_folder, tmp_path / "copy", patience_seconds=2.0)
        holder.communicate(b"\n")


@pytest.mark.slow
def test_what_a_dead_program_left_due_is_taken_as_it_is_and_told(
    chroma_folder: Path, tmp_path: Path
) -> None:
    set_threshold(chroma_folder, 500)
    outcome = taken(chroma_folder, tmp_path / "copy", patience_seconds=60.0)
    assert outcome.problems == []
    assert len(outcome.warnings) == 2
    assert "500 operations wait to be written" in outcome.warnings[0]


def test_a_torn_directory_is_copied_exactly_with_its_problems(
    chroma_folder: Path, later_chroma: Path, tmp_path: Path
) -> None:
    index = next(chroma_folder.glob(f"*/{DATA}")).parent
    shutil.copy(later_chroma / index.name / DATA, index / DATA)
    outcome = taken(chroma_folder, tmp_path / "copy")
    [problem] = outcome.problems
    assert problem.startswith("collection filled-")
    for name in FILES:
        copied = tmp_path / "copy" / index.name / name
        assert copied.read_bytes() == (index / name).read_bytes()


def test_too_long_a_lock_is_given_up(chroma_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="for more than 0 seconds") as caught:
        taken(chroma_folder, tmp_path / "copy", lock_seconds=0.0)
    assert "--lock-seconds" in caught.value.hint


AS_SOMEBODY_ELSE = """
import os, sys
from snap.sources.chroma_copy import run_child
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.stdout.write(__import__("json").dumps(run_child(sys.stdin.read())))
"""


def copied_by_somebody_else(folder: Path, target: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", AS_SOMEBODY_ELSE],
        input=json.dumps(asdict(request(folder, target))),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_directory_that_may_only_be_read_is_copied_and_looked_at_again(
    made_chroma: Path, open_path: Path
) -> None:
    folder, target = open_path / "chroma", open_path / "copy"
    shutil.copytree(made_chroma, folder)
    target.mkdir()
    target.chmod(0o777)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    found = copied_by_somebody_else(folder, target)
    assert (found["error"], found["is_locked"], found["problems"]) == ("", False, [])
    assert require_proven(target).counts == require_proven(made_chroma).counts


DIE = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("pragma cache_size=1")
db.execute("begin")
for n in range(2000):
    db.execute("update embeddings set embedding_id = embedding_id || 'lost'")
    if os.path.getsize(sys.argv[1] + "-journal") > 8192:
        os.kill(os.getpid(), 9)
"""


def test_what_a_program_had_half_written_when_it_died_is_rolled_back(
    made_chroma: Path, open_path: Path
) -> None:
    folder = open_path / "chroma"
    shutil.copytree(made_chroma, folder)
    subprocess.run([sys.executable, "-c", DIE, str(folder / DATABASE)], check=False)
    assert (folder / f"{DATABASE}-journal").stat().st_size > 0
    if os.getuid() == 0:
        # Who may not write there cannot, and is told what to do.
        target = open_path / "other"
        target.mkdir()
        for path in [open_path, folder, target, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        target.chmod(0o777)
        found = copied_by_somebody_else(folder, target)
        assert "its program died while it wrote" in found["hint"]
    outcome = taken(folder, open_path / "copy")
    assert outcome.problems == []
    assert require_proven(open_path / "copy").counts == require_proven(made_chroma).counts


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("what", [".", DATABASE, f"*/{DATA}"])
def test_what_may_not_be_read_is_named(made_chroma: Path, open_path: Path, what: str) -> None:
    folder, target = open_path / "chroma", open_path / "copy"
    shutil.copytree(made_chroma, folder)
    target.mkdir()
    for path in [open_path, folder, target, *folder.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    closed = folder if what == "." else next(folder.glob(what))
    closed.chmod(0)
    found = copied_by_somebody_else(folder, target)
    assert str(closed) in found["error"]
    assert "permissions" in found["hint"]


def test_a_wal_database_is_copied_with_its_log(chroma_folder: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(chroma_folder / DATABASE)) as db:
        db.execute("pragma journal_mode=wal")
        with db:
            db.execute("insert into acquire_write(lock_status) values(7)")
        assert (chroma_folder / f"{DATABASE}-wal").stat().st_size > 0
        outcome = taken(chroma_folder, tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy" / DATABASE)) as db:
        sql = "select count(*) from acquire_write where lock_status=7"
        assert db.execute(sql).fetchone() == (1,)
    assert outcome.problems == []


@pytest.mark.parametrize("what", ["gone", "other", "broken"])
def test_what_is_no_chroma_directory_is_an_error_with_a_hint(
    chroma_folder: Path, tmp_path: Path, what: str
) -> None:
    database = chroma_folder / DATABASE
    if what == "gone":
        database.unlink()
    elif what == "broken":
        database.write_bytes(b"nothing" * 1000)
    else:
        database.unlink()
        with contextlib.closing(sqlite3.connect(database)) as db, db:
            db.execute("create table t(a)")
    (tmp_path / "copy").mkdir()
    found = run_child(json.dumps(asdict(request(chroma_folder, tmp_path / "copy"))))
    assert str(chroma_folder) in found["error"]
    assert found["hint"]


def test_a_link_among_the_files_is_refused(chroma_folder: Path, tmp_path: Path) -> None:
    data = next(chroma_folder.glob(f"*/{DATA}"))
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="is not a file"):
        taken(chroma_folder, tmp_path / "copy")
