"""Every object damaged in every way: named by check, and never a wrong byte restored."""

import contextlib
import io
import json
import random
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from snap.cli.main import run as run_snap
from tests.scale import rounds

from .command import PASSWORD, digest
from .places import Place

CHANCE = random.Random(77)


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@dataclass
class World:
    """A filled repository, the truth about it, and snap in this process."""

    place: Place
    cache: Path
    truth: dict[str, dict[str, str]]
    monkeypatch: pytest.MonkeyPatch
    recovery: str = ""

    def snap(self, *arguments: str, cached: bool = True) -> Outcome:
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        extra = () if cached else ("--no-cache",)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_snap([*arguments, *extra])
            out.flush()
        said = err.getvalue()
        assert "Traceback" not in said, said
        return Outcome(code, out.buffer.getvalue().decode(), said)

    def objects(self) -> list[str]:
        # What checks remember is put anew by each of them: tests/cli/test_verification.py.
        return [
            name
            for name in self.place.names()
            if name != "README" and not name.startswith("checks/")
        ]

    def restore_and_compare(self, id_: str, target: Path, *, cached: bool) -> Outcome:
        """Restore; every file that is there afterwards must be what was backed up."""
        done = self.snap("restore", id_, "--target", str(target), cached=cached)
        found = (
            {p.relative_to(target).as_posix(): digest(p) for p in target.rglob("*") if p.is_file()}
            if target.exists()
            else {}
        )
        expected = self.truth[id_]
        for name, hash_ in found.items():
            assert expected[name] == hash_, name
        if done.code == 0:
            assert found == expected
        shutil.rmtree(target, ignore_errors=True)
        return done


@pytest.fixture
def world(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for variable, value in place.variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("SNAP_REPOSITORY", place.url)
    monkeypatch.setenv("SNAP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SNAP_PASSWORD", PASSWORD)
    world = World(place, tmp_path / "cache", {}, monkeypatch)
    made = world.snap("init", "--kdf-seconds", "0", "--json")
    assert made.code == 0
    world.recovery = json.loads(made.out.splitlines()[-1])["recovery_key"]
    tree, database = tmp_path / "tree", tmp_path / "events.db"
    (tree / "sub").mkdir(parents=True)
    for version in range(2):
        (tree / "large").write_bytes(CHANCE.randbytes(700_000))
        (tree / "sub" / f"new{version}").write_text(f"version {version}")
        (tree / "same").write_text("the same")
        with sqlite3.connect(database) as db:
            db.execute("create table if not exists t(a)")
            db.executemany("insert into t values(?)", [(CHANCE.random(),) for _ in range(2000)])
        db.close()
        done = world.snap("backup", f"sqlite:{database}", str(tree), "-q", "--json")
        assert done.code == 0, done.err
        id_ = json.loads(done.out.splitlines()[-1])["snapshot_id"]
        target = tmp_path / f"truth{version}"
        assert world.snap("restore", id_, "--target", str(target)).code == 0
        world.truth[id_] = {
            p.relative_to(target).as_posix(): digest(p) for p in target.rglob("*") if p.is_file()
        }
    return world


def damages(world: World, own: str) -> Iterator[tuple[str, bytes | None]]:
    """Yield what may become of an object: its new bytes, None for gone."""
    data = world.place.read(own)
    yield "deleted", None
    yield "emptied", b""
    yield "truncated", data[: len(data) // 2]
    yield "cut by one", data[:-1]
    yield "longer", data + b"\0"
    for at in {0, 8, 9, len(data) // 2, len(data) - 1, CHANCE.randrange(len(data))}:
        flipped = bytearray(data)
        flipped[at] ^= 1 << CHANCE.randrange(8)
        yield f"bit flipped at {at}", bytes(flipped)
    for other in CHANCE.sample([o for o in world.objects() if o != own], 3):
        yield f"swapped with {other}", world.place.read(other)


def chosen(world: World, own: str) -> Sequence[tuple[str, bytes | None]]:
    """Return all of them; over the network, where each try takes a second, some in CI."""
    found = list(damages(world, own))
    if world.place.kind == "local":
        return found
    gone, *others = found
    return [gone, *CHANCE.sample(others, rounds(len(others), otherwise=1))]


OPENING_CODES = {1, 4, 10, 12, 13}


def check_one(world: World, tmp_path: Path, name: str) -> None:
    good = world.place.read(name)
    # The recovery key costs no Argon2, which would be half of the time.
    password = PASSWORD if name.startswith("keys/") else world.recovery
    world.monkeypatch.setenv("SNAP_PASSWORD", password)
    for label, bad in chosen(world, name):
        if bad == good:
            continue
        if bad is None:
            world.place.remove(name)
        else:
            world.place.write(name, bad)
        cached = CHANCE.random() < 0.5
        checked = world.snap("check", "--read-data", cached=cached)
        where = f"{name}: {label}: {checked}"
        if name == "config":
            assert checked.code in OPENING_CODES - {0}, where
            assert "config" in checked.err or "no repository" in checked.err, where
        elif name.startswith("keys/"):
            # The key in use may be the one that is damaged, or gone.
            assert checked.code in ({0, 12} if bad is None else {4, 12}), where
            assert checked.code == 0 or name in checked.out + checked.err or bad is None, where
        elif name.startswith("snapshots/") and bad is None:
            # A snapshot that is not listed is not promised by anything.
            assert checked.code == 0, where
        else:
            assert checked.code == 4, where
            named = name in checked.out + checked.err
            assert named or (name.startswith("index/") and bad is None), where
        for id_ in world.truth:
            world.restore_and_compare(id_, tmp_path / "out", cached=cached)
        world.place.write(name, good)


def test_a_sample_of_objects_damaged_in_turn(world: World, tmp_path: Path) -> None:
    by_folder: dict[str, str] = {}
    for name in world.objects():
        by_folder.setdefault(name.split("/")[0], name)
    assert set(by_folder) == {"config", "keys", "data", "meta", "index", "snapshots"}
    for name in by_folder.values():
        check_one(world, tmp_path, name)
    assert world.snap("check", "--read-data").code == 0


@pytest.mark.slow
def test_every_object_damaged_in_turn(world: World, tmp_path: Path) -> None:
    found = world.objects()
    if world.place.kind != "local":
        found = CHANCE.sample(found, rounds(len(found), otherwise=1))
    for name in found:
        check_one(world, tmp_path, name)
    assert world.snap("check", "--read-data").code == 0


def test_what_does_not_need_a_lost_pack_is_restored(world: World, tmp_path: Path) -> None:
    first, second = world.truth
    packs = world.place.names("data/")
    needed_by_both, only_one, restored = 0, 0, 0
    for pack in packs:
        aside = world.place.read(pack)
        world.place.remove(pack)
        codes = [
            world.restore_and_compare(id_, tmp_path / "out", cached=False).code
            for id_ in (first, second)
        ]
        restored += codes.count(0)
        only_one += sorted(codes) == [0, 4]
        needed_by_both += codes == [4, 4]
        world.place.write(pack, aside)
    assert restored >= 1
    assert only_one + needed_by_both == len(packs)
