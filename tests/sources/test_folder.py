import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snap.errors import TargetError
from snap.repo.source import Attributes, NodeType
from snap.repo.target import Piece, TargetEntry
from snap.sources.folder import FolderTarget
from tests.tmpfs import small_disk

PLAIN = Attributes(mode=0o640, uid=os.getuid(), gid=os.getgid(), mtime_ns=1_500_000_000_000_000_001)


def entry(
    path: bytes,
    type_: NodeType = NodeType.FILE,
    size: int = 0,
    *,
    attributes: Attributes = PLAIN,
    target: bytes = b"",
    link_to: tuple[bytes, ...] | None = None,
) -> TargetEntry:
    return TargetEntry(tuple(path.split(b"/")), type_, attributes, size, target, link_to)


def put(target: FolderTarget, path: bytes, data: bytes) -> None:
    file = entry(path, size=len(data))
    target.check_file(file)
    target.write_file(file, data)


def below(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*")}


def test_everything_is_invisible_before_finish_and_in_place_after(tmp_path: Path) -> None:
    root = tmp_path / "new" / "target"
    target = FolderTarget(root)
    folder = Attributes(mode=0o555, uid=os.getuid(), gid=os.getgid(), mtime_ns=7)
    target.make(entry(b"d", NodeType.DIR, attributes=folder))
    put(target, b"d/f", b"content")
    target.make(entry(b"l", NodeType.SYMLINK, target=b"/nowhere"))
    target.make(entry(b"p", NodeType.FIFO))
    target.make(entry(b"d/g", link_to=(b"d", b"f")))
    assert all(name.startswith(".snap-restore-") for name in below(root))
    assert target.finish() == []
    assert below(root) == {"d", "d/f", "d/g", "l", "p"}
    assert (root / "d/f").read_bytes() == b"content"
    found = (root / "d/f").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o640, PLAIN.mtime_ns)
    assert (root / "d/g").stat().st_ino == found.st_ino
    assert ((root / "d").stat().st_mode & 0o777, (root / "d").stat().st_mtime_ns) == (0o555, 7)
    assert os.readlink(root / "l") == "/nowhere"
    assert (root / "l").lstat().st_mtime_ns == PLAIN.mtime_ns
    assert stat.S_ISFIFO((root / "p").stat().st_mode)


def test_the_folder_itself_gets_its_attributes_last(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "t")
    put(target, b"f", b"x")
    target.set_root(Attributes(mode=0o710, uid=os.getuid(), gid=os.getgid(), mtime_ns=77))
    target.finish()
    found = (tmp_path / "t").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o710, 77)


def test_holes_stay_holes_and_zeros_stay_data(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "t")
    size = (4 << 20) + 5
    sparse = entry(b"sparse", size=size)
    target.check_file(sparse)
    target.write_pieces(sparse, [Piece(0, b"start")])
    target.complete_file(sparse)
    put(target, b"zeros", bytes(1 << 20))
    target.finish()
    assert (tmp_path / "t/sparse").read_bytes() == b"start" + bytes(size - 5)
    assert (tmp_path / "t/sparse").stat().st_blocks * 512 < 1 << 20
    assert (tmp_path / "t/zeros").stat().st_blocks * 512 >= 1 << 20


def test_what_exists_is_refused_at_once_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"mine")
    target = FolderTarget(tmp_path)
    with pytest.raises(TargetError, match="exists already") as caught:
        put(target, b"f", b"theirs")
    assert "--overwrite" in caught.value.hint
    target.abort()
    assert (tmp_path / "f").read_bytes() == b"mine"
    assert below(tmp_path) == {"f"}


def test_what_appears_meanwhile_is_refused_at_the_end(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path)
    put(target, b"a", b"1")
    put(target, b"f", b"theirs")
    (tmp_path / "f").write_bytes(b"mine")
    with pytest.raises(TargetError, match="exists already"):
        target.finish()
    target.abort()
    assert below(tmp_path) == {"f"}
    assert (tmp_path / "f").read_bytes() == b"mine"


@pytest.mark.parametrize("old", ["file", "folder", "link to folder", "dangling link"])
@pytest.mark.parametrize("new", ["file", "folder", "link"])
def test_overwriting_replaces_any_type_by_any_other(tmp_path: Path, old: str, new: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    root = tmp_path / "root"
    root.mkdir()
    (root / "other").write_bytes(b"kept")
    match old:
        case "file":
            (root / "x").write_bytes(b"old")
        case "folder":
            (root / "x").mkdir()
            (root / "x/inside").write_bytes(b"inside")
        case "link to folder":
            (root / "x").symlink_to(outside)
        case _:
            (root / "x").symlink_to("nowhere")
    target = FolderTarget(root, overwrite=True)
    match new:
        case "file":
            put(target, b"x", b"new")
        case "folder":
            target.make(entry(b"x", NodeType.DIR))
            put(target, b"x/precious", b"new")
        case _:
            target.make(entry(b"x", NodeType.SYMLINK, target=b"elsewhere"))
    target.finish()
    assert (outside / "precious").read_bytes() == b"precious"
    assert below(outside) == {"precious"}
    found = (root / "x").lstat().st_mode
    expected = {"file": stat.S_ISREG, "folder": stat.S_ISDIR, "link": stat.S_ISLNK}[new]
    assert expected(found)
    kept = {"x/inside"} if (old, new) == ("folder", "folder") else set()
    made = {"x/precious"} if new == "folder" else set()
    assert below(root) == {"other", "x"} | kept | made


@pytest.mark.parametrize("path", [(), (b"..",), (b"a", b"..", b"b"), (b"a/b",), (b"",), (b"\0",)])
def test_paths_that_lead_elsewhere_are_refused(tmp_path: Path, path: tuple[bytes, ...]) -> None:
    target = FolderTarget(tmp_path / "t")
    with pytest.raises(TargetError, match="elsewhere"):
        target.make(TargetEntry(path, NodeType.FIFO, PLAIN))
    with pytest.raises(TargetError, match="elsewhere"):
        target.check_file(TargetEntry(path, NodeType.FILE, PLAIN))
    target.abort()
    assert not (tmp_path / "t").exists()


def test_a_file_that_is_dropped_leaves_nothing_and_the_rest_goes_on(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "t")
    bad = entry(b"bad", size=8)
    target.check_file(bad)
    target.write_pieces(bad, [Piece(0, b"good")])
    target.drop_file(bad)
    never_written = entry(b"never written", size=8)
    target.check_file(never_written)
    target.drop_file(never_written)
    put(target, b"good", b"fine")
    target.finish()
    assert below(tmp_path / "t") == {"good"}


def test_pieces_come_in_any_order_from_several_threads_with_few_files_open(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "t")
    names = [b"f%d" % n for n in range(200)]
    files = [entry(name, size=3000) for name in names]
    for file in files:
        target.check_file(file)
    expected = {file.path[0]: os.urandom(3000) for file in files}

    def write(file: TargetEntry, number: int) -> None:
        data = expected[file.path[0]][number * 1000 : (number + 1) * 1000]
        target.write_pieces(file, [Piece(number * 1000, data)])

    with ThreadPoolExecutor(4) as pool:
        for number in (2, 0, 1):
            list(pool.map(write, files, [number] * len(files)))
    assert len(os.listdir("/proc/self/fd")) < 100
    for file in files:
        target.complete_file(file)
    target.finish()
    assert {p.name.encode(): p.read_bytes() for p in (tmp_path / "t").iterdir()} == expected


def test_an_empty_file_and_one_of_a_hole_only_are_made_by_completing_them(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "t")
    for file in (entry(b"empty"), entry(b"hole", size=1 << 20)):
        target.check_file(file)
        target.complete_file(file)
    target.finish()
    assert (tmp_path / "t/empty").read_bytes() == b""
    assert (tmp_path / "t/hole").read_bytes() == bytes(1 << 20)
    assert stat.S_IMODE((tmp_path / "t/empty").stat().st_mode) == 0o640


def test_the_group_that_a_folder_hands_down_is_not_taken_for_the_files_own(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root, to set groups")
    os.chown(tmp_path, 0, 4321)
    tmp_path.chmod(0o2755)
    target = FolderTarget(tmp_path)
    file = TargetEntry((b"f",), NodeType.FILE, Attributes(mode=0o600, uid=0, gid=0), 1)
    target.check_file(file)
    target.write_file(file, b"x")
    target.finish()
    assert (tmp_path / "f").stat().st_gid == 0


def test_abort_removes_all_that_was_made(tmp_path: Path) -> None:
    target = FolderTarget(tmp_path / "a" / "b")
    put(target, b"f", b"x")
    assert (tmp_path / "a/b").exists()
    target.abort()
    assert below(tmp_path) == set()
    target.abort()


@pytest.mark.parametrize("undo_works", [True, False])
def test_a_rename_that_fails_puts_back_what_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undo_works: bool
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"old")
    target = FolderTarget(tmp_path, overwrite=True)
    for path in (b"a", b"b", b"c"):
        put(target, path, b"new")
    real = os.rename

    def failing(source: bytes, final: bytes) -> None:
        undoing = b"/old/" in source
        if final.endswith(b"/c") and not (undoing and undo_works):
            raise OSError(5, "Input/output error")
        real(source, final)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing)
        with pytest.raises(TargetError) as caught:
            target.finish()
    target.abort()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"old"
    if undo_works:
        assert (tmp_path / "c").read_bytes() == b"old"
        assert below(tmp_path) == {"a", "b", "c"}
    else:
        kept = Path(caught.value.hint.rpartition(" in ")[2])
        assert [p.read_bytes() for p in kept.iterdir()] == [b"old"], "nothing was given up"


def test_a_disk_that_reads_back_something_else_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def lying(descriptor: int, data: memoryview, offset: int) -> int:
        return real(descriptor, bytes(len(data)), offset)

    (tmp_path / "f").write_bytes(b"old")
    target = FolderTarget(tmp_path, overwrite=True, read_back=True)
    put(target, b"good", b"fine")
    file = entry(b"f", size=4)
    target.check_file(file)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lying)
        target.write_pieces(file, [Piece(0, b"data")])
    target.complete_file(file)
    with pytest.raises(TargetError, match="f reads back differently"):
        target.finish()
    target.abort()
    assert below(tmp_path) == {"f"}
    assert (tmp_path / "f").read_bytes() == b"old"


def test_a_full_disk_is_a_clear_error_and_nothing_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        (disk / "mine").write_bytes(b"kept")
        target = FolderTarget(disk, overwrite=True)
        with pytest.raises(TargetError, match="No space") as caught:
            put(target, b"mine", os.urandom(2 << 20))
        assert "nothing was replaced" in caught.value.hint
        target.abort()
        assert below(disk) == {"mine"}
        assert (disk / "mine").read_bytes() == b"kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_who_is_not_root_is_told_of_owners_and_gets_no_setuid_file(open_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from snap.repo.source import Attributes, NodeType\n"
        "from snap.repo.target import Piece, TargetEntry\n"
        "from snap.sources.folder import FolderTarget\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "target = FolderTarget(Path(sys.argv[1]))\n"
        "attributes = Attributes(mode=0o4755, uid=0, gid=0)\n"
        "file = TargetEntry((b'f',), NodeType.FILE, attributes, 1)\n"
        "target.check_file(file)\n"
        "target.write_file(file, b'x')\n"
        "print(*target.finish(), sep='|')\n"
    )
    root = open_path / "t"
    root.mkdir()
    os.chown(root, 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=False
    )
    assert "owner of 1 entries" in done.stdout, done.stderr
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o755
