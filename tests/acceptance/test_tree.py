"""Trees of all that a file system can hold."""

import os
import random
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from .command import Snap, picture

MIB = 1 << 20


def make_tree(root: Path, files: int, large_bytes: int) -> None:
    chance = random.Random(files)
    base = os.fsencode(root)
    os.makedirs(base)
    folders = [base]
    for n in range(max(5, files // 40)):
        parent = folders[chance.randrange(len(folders))]
        name = (
            chance.choice([b"d%d", b"with space %d", b"\xff\xfe%d", "größe%d".encode(), b"-%d"]) % n
        )
        if parent.count(b"/") < 60:
            os.mkdir(os.path.join(parent, name))
            folders.append(os.path.join(parent, name))
    deep = base
    for n in range(50):
        deep = os.path.join(deep, b"deep%d" % n)
        os.mkdir(deep)
    folders.append(deep)
    for n in range(files):
        name = (
            chance.choice([b"f%d", b"new\nline%d", b"tab\t%d", b"'\"%d", b"\x80%d", b"*?[%d"]) % n
        )
        path = os.path.join(chance.choice(folders), name)
        with open(path, "wb") as file:
            file.write(chance.randbytes(chance.choice([0, 1, 100, 3000, 20_000])))
        os.chmod(path, chance.choice([0o644, 0o600, 0o755, 0o000, 0o4711, 0o2755, 0o1777]))
        if n % 20 == 0:
            os.link(path, path + b".link")
        if n % 30 == 0:
            os.symlink(chance.choice([b"/etc/passwd", b"../nowhere", name]), path + b".sym")
        if n % 50 == 0:
            os.setxattr(path, b"user.note", b"value\0%d" % n)
            os.chown(path, 1000 + n % 7, 2000 + n % 5)
        os.utime(path, ns=(0, chance.randrange(-(10**18), 2 * 10**18)))
    with open(os.path.join(base, b"sparse"), "wb") as file:
        file.truncate(large_bytes)
        for n in range(8):
            file.seek(n * large_bytes // 8 + 4096 * n)
            file.write(chance.randbytes(MIB))
    with open(os.path.join(base, b"large"), "wb") as file:
        for _ in range(large_bytes // 2 // MIB):
            file.write(chance.randbytes(MIB))
    os.mkfifo(os.path.join(base, b"pipe"), 0o640)
    os.mkdir(os.path.join(base, b"empty"), 0o500)
    for folder in folders[1::3]:
        os.utime(folder, ns=(0, chance.randrange(10**18)))


def round_trip(tmp_path: Path, files: int, large_bytes: int) -> None:
    snap = Snap(tmp_path / "repository", tmp_path / "cache").init()
    tree, out = tmp_path / "tree", tmp_path / "out"
    make_tree(tree, files, large_bytes)
    before = picture(tree, with_holes=True)
    assert len(before) > files
    snap.ok("backup", "-q", str(tree))
    assert picture(tree, with_holes=True) == before, "a backup changes nothing"
    snap.ok("restore", "-q", "latest", "--target", str(out))
    after = picture(out / "tree", with_holes=True)
    assert after.keys() == before.keys()
    for name, what in before.items():
        assert after[name] == what, name


def test_a_tree_comes_back_equal_in_every_respect(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root, to set owners")
    round_trip(tmp_path, 1500, 40 * MIB)


@pytest.mark.slow
def test_a_tree_of_20000_files_and_3_gb_comes_back_equal(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root, to set owners")
    scratch = tmp_path
    if shutil.disk_usage("/dev/shm").free > 12 << 30:
        scratch = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        round_trip(scratch, 20_000, 3 << 30)
    finally:
        if scratch != tmp_path:
            shutil.rmtree(scratch)


def test_sockets_are_kept_in_the_snapshot_and_told_at_the_restore(
    snap: Snap, tmp_path: Path
) -> None:
    tree = tmp_path / "t"
    tree.mkdir()
    (tree / "f").write_bytes(b"x")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "s"))
    snap.ok("backup", str(tree))
    done = snap.run("restore", "latest", "--target", str(tmp_path / "out"))
    assert done.returncode == 0
    assert b"sockets are made by the programs" in done.stderr
    assert [p.name for p in (tmp_path / "out/t").iterdir()] == ["f"]


def test_an_existing_tree_is_refused_or_merged(snap: Snap, tmp_path: Path) -> None:
    tree = tmp_path / "t"
    (tree / "d").mkdir(parents=True)
    (tree / "d/f").write_bytes(b"backed up")
    snap.ok("backup", str(tree))
    out = tmp_path / "out"
    (out / "t/d").mkdir(parents=True)
    (out / "t/d/f").write_bytes(b"mine")
    (out / "t/d/other").write_bytes(b"kept")
    refused = snap.run("restore", "latest", "--target", str(out))
    assert refused.returncode == 1
    assert b"--overwrite" in refused.stderr
    assert (out / "t/d/f").read_bytes() == b"mine"
    snap.ok("restore", "latest", "--target", str(out), "--overwrite")
    assert (out / "t/d/f").read_bytes() == b"backed up"
    assert (out / "t/d/other").read_bytes() == b"kept"
