"""The second backup and those after it: what they store, what they read, what they survive."""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from .command import Snap, picture

ROWS = 12_000


def make_database(path: Path) -> None:
    chance = random.Random(1)
    with sqlite3.connect(path) as db:
        db.execute("create table events(id integer primary key, stream text, payload text)")
        db.execute("create index by_stream on events(stream)")
        rows = ((f"s{chance.randrange(900)}", chance.randbytes(150).hex()) for _ in range(ROWS))
        db.executemany("insert into events(stream, payload) values(?, ?)", rows)
    db.close()


def change_database(path: Path, seed: int, share: float = 0.01) -> None:
    chance = random.Random(seed)
    with sqlite3.connect(path) as db:
        for _ in range(int(ROWS * share)):
            new = chance.randbytes(150).hex()
            db.execute("update events set payload=? where id=?", (new, chance.randint(1, ROWS)))
    db.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a database, a log and an array, as a small service has them."""
    chance = random.Random(2)
    folder = tmp_path / "data"
    folder.mkdir()
    make_database(folder / "events.db")
    lines = (f"{n} {chance.getrandbits(80):x}\n" for n in range(60_000))
    (folder / "service.log").write_text("".join(lines))
    (folder / "vectors.bin").write_bytes(chance.randbytes(1_500_000))
    return folder


def live(data: Path, seed: int) -> None:
    chance = random.Random(seed)
    change_database(data / "events.db", seed)
    with (data / "service.log").open("a") as log:
        log.writelines(f"more {chance.getrandbits(80):x}\n" for _ in range(500))
    with (data / "vectors.bin").open("r+b") as vectors:
        for _ in range(5):
            vectors.seek(chance.randrange(1_400_000))
            vectors.write(chance.randbytes(1500))


def restored(snap: Snap, tmp_path: Path, name: str = "data") -> object:
    out = tmp_path / "out"
    snap.ok("restore", "latest", "--target", str(out))
    try:
        return picture(out / name, with_holes=False)
    finally:
        shutil.rmtree(out)


def test_a_fresh_machine_stores_as_little_as_one_with_a_cache(
    snap: Snap, tmp_path: Path, data: Path
) -> None:
    snap.ok("backup", str(data))
    live(data, 5)
    other = Snap(tmp_path / "copy", tmp_path / "no cache yet")
    shutil.copytree(snap.repository, other.repository)
    warm, cold = (s.json("backup", "--full", str(data)) for s in (snap, other))
    assert warm["bytes_new"] == cold["bytes_new"] < warm["bytes_processed"] / 4
    assert abs(warm["bytes_stored"] - cold["bytes_stored"]) < 500
    assert restored(other, tmp_path) == picture(data)


@pytest.mark.parametrize("source", ["files", "sqlite"])
@pytest.mark.parametrize("change", ["vacuumed", "truncated", "extended", "replaced", "paged anew"])
def test_a_database_comes_back_whatever_became_of_it(
    snap: Snap, tmp_path: Path, change: str, source: str
) -> None:
    path = tmp_path / "data" / "events.db"
    path.parent.mkdir()
    make_database(path)
    place = str(path.parent) if source == "files" else f"sqlite:{path}"
    snap.ok("backup", place)
    if change == "replaced":
        path.unlink()
        shutil.copy(shutil.which("true") or "/bin/true", path)
        if source == "sqlite":
            path.unlink()
            make_database(path)
            change_database(path, 3, share=0.9)
    elif change == "truncated" and source == "files":
        os.truncate(path, path.stat().st_size // 3 + 5)
    else:
        with sqlite3.connect(path) as db:
            if change == "extended":
                db.execute("insert into events select id + 100000, stream, payload from events")
            else:
                db.execute("delete from events where id % 3 = 0")
            db.commit()
            if change == "paged anew":
                db.execute("pragma page_size=1024")
            if change != "extended":
                db.execute("vacuum")
        db.close()
    # What became smaller by more than half is meant.
    snap.ok("backup", "--accept-changes", place)
    if source == "files":
        assert restored(snap, tmp_path) == picture(path.parent)
        return
    out = tmp_path / "out"
    snap.ok("restore", "latest", "--target", str(out))
    with sqlite3.connect(path) as a, sqlite3.connect(out / "events.db" / "events.db") as b:
        assert list(a.iterdump()) == list(b.iterdump())
    a.close()
    b.close()


def opened_files(snap: Snap, tmp_path: Path, *arguments: str) -> set[str]:
    """Run snap and return the files of the source that it opened."""
    log = tmp_path / "opened"
    hook = tmp_path / "site"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"log = open({str(log)!r}, 'a')\n"
        "def hook(event, args):\n"
        "    if event == 'open' and isinstance(args[0], bytes):\n"
        "        print(os.fsdecode(args[0]), file=log, flush=True)\n"
        "sys.addaudithook(hook)\n"
    )
    log.write_text("")
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{hook}{os.pathsep}{before}"
    try:
        snap.ok(*arguments)
    finally:
        os.environ["PYTHONPATH"] = before
    return {Path(line).name for line in log.read_text().splitlines()}


def age(data: Path) -> None:
    """Wait until what was just written is old enough to be trusted by its times."""
    newest = max(path.stat().st_ctime_ns for path in data.rglob("*"))
    probe = data.parent / "probe"
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > newest + 50_000_000:
            return


def test_unchanged_files_are_not_read_unless_all_are_asked_for(
    snap: Snap, tmp_path: Path, data: Path
) -> None:
    age(data)
    names = {path.name for path in data.iterdir()}
    assert opened_files(snap, tmp_path, "backup", str(data)) >= names
    assert not opened_files(snap, tmp_path, "backup", str(data)) & names
    (data / "service.log").write_text("another one\n")
    assert opened_files(snap, tmp_path, "backup", str(data)) & names == {"service.log"}
    assert opened_files(snap, tmp_path, "backup", "--full", str(data)) >= names
    assert restored(snap, tmp_path) == picture(data)


Damage = Callable[[Path], None]


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: os.truncate(path, path.stat().st_size - 1)],
    ids=["deleted", "cut short"],
)
@pytest.mark.parametrize("flag", ["--full", "-q"], ids=["read", "not read"])
@pytest.mark.parametrize("kind", ["data", "meta"])
def test_what_the_store_lost_is_stored_again(
    snap: Snap, tmp_path: Path, data: Path, kind: str, flag: str, damage: Damage
) -> None:
    age(data)
    snap.ok("backup", str(data))
    for path in [p for p in (snap.repository / kind).rglob("*") if p.is_file()]:
        damage(path)
    again = snap.run("backup", flag, str(data))
    assert again.returncode == 0, again.stderr
    assert restored(snap, tmp_path) == picture(data)


def test_a_writer_key_and_an_empty_cache_store_as_little(
    snap: Snap, tmp_path: Path, data: Path
) -> None:
    secret = tmp_path / "writer"
    secret.write_text("writer only\n")
    snap.ok("key", "add", "--capability", "writer", "--new-password-file", str(secret))
    host = Snap(snap.repository, tmp_path / "host", password="writer only")
    host.ok("backup", str(data))
    live(data, 6)
    shutil.rmtree(tmp_path / "host")
    again = host.json("backup", "--full", str(data))
    assert 0 < again["bytes_new"] < again["bytes_processed"] / 4
    assert host.run("restore", "latest", "--target", str(tmp_path / "no")).returncode == 1
    assert restored(snap, tmp_path) == picture(data)
