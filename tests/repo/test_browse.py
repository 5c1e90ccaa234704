import pytest

from snap.errors import IntegrityError
from snap.repo.browse import (
    PathNotFound,
    find_node,
    read_directory,
    require_tree,
    resolve_path,
    walk,
    walk_directory,
)
from snap.repo.ids import Kind
from snap.repo.repository import Repository
from snap.repo.source import Attributes, NodeType
from snap.repo.tree import Node, encode_tree
from snap.repo.writer import BlobWriter, WriterOptions

from .conftest import back_up
from .dictsource import DictSource

FILES = {b"a/b/c": b"1", b"a/d": b"2", b"e": b"3"}


def test_a_walk_is_depth_first_and_sorted(repository: Repository) -> None:
    snapshot = back_up(repository, DictSource(FILES), DictSource({b"x": b"1"}, name="other"))
    places = [(c, b"/".join(p)) for c, p, _ in walk(repository, snapshot)]
    data = [b"a", b"a/b", b"a/b/c", b"a/d", b"e"]
    assert places == [("data", p) for p in data] + [("other", b"x")]
    below = [b"/".join(p) for _, p, _ in walk(repository, snapshot, "data", (b"a",))]
    assert below == data[:4]


def test_a_text_names_component_and_path(repository: Repository) -> None:
    snapshot = back_up(repository, DictSource(FILES))
    assert resolve_path(snapshot, "data") == ("data", ())
    assert resolve_path(snapshot, "/data//a/b/") == ("data", (b"a", b"b"))
    with pytest.raises(PathNotFound) as caught:
        resolve_path(snapshot, "dat/a")
    assert "data" in caught.value.hint


def test_entries_are_found_by_path_and_missing_ones_are_clear_errors(
    repository: Repository,
) -> None:
    snapshot = back_up(repository, DictSource(FILES))
    assert find_node(repository, snapshot, "data", (b"a", b"b")).type is NodeType.DIR
    for path in ((b"x",), (b"e", b"below a file"), (b"a", b"b", b"x"), ()):
        with pytest.raises(PathNotFound):
            find_node(repository, snapshot, "data", path)
    with pytest.raises(PathNotFound):
        require_tree(snapshot, "nothing")


def test_a_huge_directory_is_in_several_blobs_and_one_change_rewrites_one(
    repository: Repository,
) -> None:
    files = {b"f%06d" % n: b"" for n in range(6000)}
    first = back_up(repository, DictSource(files)).components[0].subtree
    second = back_up(repository, DictSource(files | {b"f003000x": b""})).components[0].subtree
    assert first is not None
    assert second is not None
    assert len(first) > 2
    assert len(set(second) - set(first)) <= 2
    names = [node.name for node in read_directory(repository, second)]
    assert names == sorted({*files, b"f003000x"})


def test_tree_blobs_in_the_wrong_order_are_refused(repository: Repository) -> None:
    writer = BlobWriter(repository, WriterOptions())
    trees = [
        writer.submit(Kind.TREE, encode_tree([Node(name, NodeType.FIFO, Attributes(mode=0))]))
        for name in (b"b", b"a")
    ]
    ids = [tree.result().id for tree in trees]
    writer.finish()
    writer.close()
    with pytest.raises(IntegrityError, match="order"):
        list(walk_directory(repository, ids))
