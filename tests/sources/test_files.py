import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.repo.source import Entry, NodeType
from snap.sources.files import FilesSource

from .contract import read_all, read_entry

NOBODY = 65534


def entries_of(path: Path, *excludes: str) -> dict[bytes, Entry]:
    entries, _, _ = read_all(FilesSource(path, excludes=excludes))
    return {b"/".join(entry.path): entry for entry in entries}


def test_attributes_links_and_special_files_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x")
    os.chmod(file, 0o4751)
    os.utime(file, ns=(1, -1_234_567_891))
    os.link(file, tmp_path / "g")
    os.symlink("../nowhere", tmp_path / "l")
    os.mkfifo(tmp_path / "p", 0o640)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
    found = entries_of(tmp_path)
    f, g = found[b"f"].attributes, found[b"g"].attributes
    assert f is not None
    assert (f.mode, f.mtime_ns, f.links, f.user) == (0o4751, -1_234_567_891, 2, "root")
    assert g == f
    assert (found[b"l"].type, found[b"l"].target) == (NodeType.SYMLINK, b"../nowhere")
    assert (found[b"p"].type, found[b"s"].type) == (NodeType.FIFO, NodeType.SOCKET)


def test_the_attributes_of_the_folder_itself_are_reported(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    tree.chmod(0o701)
    os.utime(tree, ns=(0, 55))
    _, _, report = read_all(FilesSource(tree))
    assert report.root is not None
    assert (report.root.mode, report.root.mtime_ns) == (0o701, 55)


def test_extended_attributes_are_kept(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    try:
        os.setxattr(tmp_path / "f", "user.b", b"2\0")
        os.setxattr(tmp_path / "f", "user.a", b"1")
    except OSError as error:
        pytest.skip(f"this file system has no extended attributes: {error}")
    attributes = entries_of(tmp_path)[b"f"].attributes
    assert attributes is not None
    assert attributes.xattrs == ((b"user.a", b"1"), (b"user.b", b"2\0"))


def test_odd_names_and_deep_folders_come_sorted_as_bytes(tmp_path: Path) -> None:
    names = [b"a\xff", b"a\n", b"-", b"a b", "ä".encode()]
    for name in names:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_bytes(name)
    deep = tmp_path.joinpath(*["d"] * 60)
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"deep")
    _, contents, _ = read_all(FilesSource(tmp_path))
    assert {n: contents[n] for n in names} == {n: n for n in names}
    assert contents[b"d/" * 60 + b"f"] == b"deep"


def test_holes_are_told_and_the_content_is_equal(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"middle" * 1000)
        file.truncate(5 << 20)
    if path.stat().st_blocks * 512 >= 5 << 20:
        pytest.skip("this file system keeps no holes")
    (entry,) = entries_of(tmp_path).values()
    assert entry.open is not None
    with entry.open() as reader:
        assert reader.hole() == 1 << 20
        assert reader.hole() == 0
        data = reader.read(10 << 20)
        assert data.startswith(b"middle")
        assert len(data) < 100_000
        assert reader.hole() == (4 << 20) - len(data)
        assert reader.read(10) == b""
        assert not reader.is_changed()
    assert read_entry(entry) == path.read_bytes()
    path.write_bytes(b"")
    os.truncate(path, 3 << 20)
    (entry,) = entries_of(tmp_path).values()
    assert read_entry(entry) == bytes(3 << 20)


@pytest.mark.parametrize(
    ("pattern", "gone"),
    [
        ("*.log", {"a.log", "d/b.log"}),
        ("d", {"d", "d/b.log", "d/e", "d/e/f"}),
        ("d/", {"d", "d/b.log", "d/e", "d/e/f"}),
        ("d/e", {"d/e", "d/e/f"}),
        ("/a.log", {"a.log"}),
        ("d/*.log", {"d/b.log"}),
        ("e/f", set()),
        ("[ab].log", {"a.log", "d/b.log"}),
    ],
)
def test_excludes_match_names_or_whole_paths(tmp_path: Path, pattern: str, gone: set[str]) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    for name in ("a.log", "d/b.log", "d/e/f"):
        (tmp_path / name).write_bytes(b"x")
    everything = {name.decode() for name in entries_of(tmp_path)}
    kept = {name.decode() for name in entries_of(tmp_path, pattern)}
    assert everything - kept == gone


def test_a_single_file_is_one_entry(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    source = FilesSource(tmp_path / "f")
    _, contents, _ = read_all(source)
    assert (source.name, contents) == ("f", {b"f": b"x"})


def look_at(tmp_path: Path, size: int) -> tuple[Path, Entry]:
    path = tmp_path / "f"
    path.write_bytes(b"x" * size)
    with FilesSource(tmp_path).open() as view:
        (entry,) = view.entries()
    return path, entry


def test_a_file_that_grows_is_read_as_long_as_it_was_and_noted(tmp_path: Path) -> None:
    path, entry = look_at(tmp_path, 1000)
    assert entry.open is not None
    with entry.open() as reader:
        first = reader.read(400)
        with path.open("ab") as file:
            file.write(b"more")
        assert len(first + reader.read(10_000)) == 1000
        assert reader.read(1) == b""
        assert reader.is_changed()


def test_a_file_that_shrinks_is_read_to_its_end_and_noted(tmp_path: Path) -> None:
    path, entry = look_at(tmp_path, 1000)
    assert entry.open is not None
    with entry.open() as reader:
        assert len(reader.read(400)) == 400
        os.truncate(path, 500)
        assert len(reader.read(1000)) == 100
        assert reader.read(1) == b""
        assert reader.is_changed()


def test_what_vanishes_or_is_replaced_is_an_error_and_never_followed(tmp_path: Path) -> None:
    path, entry = look_at(tmp_path, 10)
    assert entry.open is not None
    path.unlink()
    with pytest.raises(FileNotFoundError):
        entry.open()
    os.mkfifo(path)
    with pytest.raises(OSError, match="replaced"):
        entry.open()
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match=r"[Ss]ymbolic|[Ll]oop|links"):
        entry.open()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_what_may_not_be_read_is_named_and_never_left_out(open_path: Path) -> None:
    tree = open_path / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed/inside").write_bytes(b"x")
    (tree / "open").write_bytes(b"x")
    (tree / "secret").write_bytes(b"x")
    for name, mode in (("closed", 0o700), ("secret", 0o600)):
        (tree / name).chmod(mode)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from snap.sources.files import FilesSource\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "with FilesSource(Path(sys.argv[1])).open() as view:\n"
        "    for entry in view.entries():\n"
        "        problem = entry.problem\n"
        "        if entry.open is not None:\n"
        "            try:\n"
        "                entry.open().__exit__(None, None, None)\n"
        "            except OSError as error:\n"
        "                problem = error.strerror\n"
        "        print(b'/'.join(entry.path).decode(), '|', problem)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tree)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "closed | Permission denied",
        "open | ",
        "secret | Permission denied",
    ], done.stderr


def test_a_root_that_is_gone_is_a_source_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none") as caught, FilesSource(tmp_path / "none").open():
        pass
    assert "mounted" in caught.value.hint
