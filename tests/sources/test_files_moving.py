"""A tree that changes under the walk, and a root that is a link."""

import os
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.repo.source import Entry, NodeType
from snap.sources.files import FilesSource

from .contract import read_all, read_entry


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_root_that_is_a_link_is_followed_and_keeps_its_name(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/f").write_bytes(b"content")
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(place)
    entries, contents, _ = read_all(FilesSource(tmp_path / "link"))
    assert contents == {b"link" if place == "file" else b"f": b"content"}
    assert [entry.type for entry in entries] == [NodeType.FILE]


def test_a_root_that_is_a_dangling_link_or_a_loop_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("dangling", "loop"):
        with pytest.raises(SourceError, match=name), FilesSource(tmp_path / name).open():
            pass


def test_a_link_below_the_root_is_never_entered(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/l").symlink_to(tmp_path / "outside")
    entries, contents, _ = read_all(FilesSource(tmp_path / "tree"))
    assert [entry.path for entry in entries] == [(b"l",)]
    assert contents == {}


@pytest.mark.parametrize("depth", [1, 2])
def test_a_folder_replaced_by_a_link_does_not_lead_outside(tmp_path: Path, depth: int) -> None:
    inner = "/".join(["d"] * depth)
    for top in ("tree", "outside"):
        (tmp_path / top / inner).mkdir(parents=True)
        (tmp_path / top / inner / "secret").write_bytes(top.encode())
    seen: list[Entry] = []
    with FilesSource(tmp_path / "tree").open() as view:
        for entry in view.entries():
            seen.append(entry)
            if len(entry.path) == depth:
                (tmp_path / "tree/d").rename(tmp_path / "moved")
                (tmp_path / "tree/d").symlink_to(tmp_path / "outside/d")
    assert [len(entry.path) for entry in seen] == [*range(1, depth + 1), depth + 1]
    assert "replaced" in seen[-1].problem
    assert seen[-1].open is None


def test_a_file_that_goes_between_listing_and_looking_is_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    seen = {}
    with FilesSource(tmp_path).open() as view:
        for entry in view.entries():
            seen[entry.path] = entry.problem
            (tmp_path / "b").unlink(missing_ok=True)
        report = view.finish()
    assert seen == {(b"a",): "", (b"b",): "No such file or directory", (b"c",): ""}
    assert report.statistics == {"entries": {"file": 3}}


def test_a_file_rewritten_in_place_while_it_is_read_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 1000)
    os.utime(path, ns=(1, 1))
    with FilesSource(path).open() as view:
        (entry,) = view.entries()
    assert entry.open is not None
    with entry.open() as reader:
        assert reader.read(500) == b"x" * 500
        with path.open("r+b") as file:
            file.write(b"y" * 1000)
        assert reader.read(5000) == b"y" * 500
        assert reader.is_changed()


def test_a_file_read_to_its_end_untouched_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 1000)
    with FilesSource(tmp_path / "f").open() as view:
        (entry,) = view.entries()
    assert entry.open is not None
    with entry.open() as reader:
        assert reader.read(5000) == b"x" * 1000
        assert reader.read(5000) == b""
        assert not reader.is_changed()


def test_a_sparse_file_that_is_cut_short_while_read_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.write(b"start")
        file.truncate(8 << 20)
    with FilesSource(path).open() as view:
        (entry,) = view.entries()
    assert entry.open is not None
    with entry.open() as reader:
        assert reader.read(5) == b"start"
        os.truncate(path, 100)
        while reader.hole() or reader.read(1 << 20):
            pass
        assert reader.is_changed()


def test_a_file_of_proc_that_has_no_size_is_read_to_its_end() -> None:
    with FilesSource(Path("/proc/self/status")).open() as view:
        (entry,) = view.entries()
        assert entry.size_bytes == 0
        assert read_entry(entry).startswith(b"Name:")


def test_a_folder_with_many_levels_is_walked(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    for folder in [*reversed(deep.parents), deep]:
        folder.mkdir(exist_ok=True)
    (deep / "f").write_bytes(b"bottom")
    entries, contents, _ = read_all(FilesSource(tmp_path))
    assert len(entries) == 301
    assert contents == {b"d/" * 300 + b"f": b"bottom"}
