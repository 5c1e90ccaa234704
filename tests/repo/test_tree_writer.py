from collections.abc import Sequence

import pytest

from snap.errors import SourceError
from snap.repo.file_writer import Tally
from snap.repo.ids import BlobId, Kind
from snap.repo.repository import Repository
from snap.repo.source import Attributes, NodeType
from snap.repo.tree import Node, encode_tree
from snap.repo.tree_writer import TreeWriter
from snap.repo.writer import BlobWriter, WriterOptions

A = Attributes(mode=0)


def add(trees: TreeWriter, *path: bytes) -> None:
    trees.add_node(path, lambda: Node(path[-1], NodeType.FIFO, A))


@pytest.fixture
def trees(repository: Repository) -> TreeWriter:
    return TreeWriter(BlobWriter(repository, WriterOptions(dry_run=True)), Tally())


def test_names_twice_out_of_order_or_hostile_are_refused(trees: TreeWriter) -> None:
    add(trees, b"b")
    for name in (b"b", b"a"):
        with pytest.raises(SourceError, match="order"):
            add(trees, name)
    for name in (b"..", b"x/y", b""):
        with pytest.raises(SourceError, match="cannot be stored"):
            add(trees, name)


def test_a_folder_that_was_left_is_not_entered_again(trees: TreeWriter) -> None:
    trees.add_directory((b"d",), A)
    add(trees, b"d", b"x")
    add(trees, b"e")
    with pytest.raises(SourceError, match="before its folder"):
        add(trees, b"d", b"y")


def test_nesting_beyond_the_limit_is_refused(trees: TreeWriter) -> None:
    path: tuple[bytes, ...] = ()
    with pytest.raises(SourceError, match="nested deeper"):
        for _ in range(5000):
            path = (*path, b"d")
            trees.add_directory(path, A)


def test_nodes_that_are_stored_already_are_not_stored_again(repository: Repository) -> None:
    known = BlobId(b"k" * 32)
    asked = []

    def find(path: tuple[bytes, ...], nodes: Sequence[Node]) -> BlobId | None:
        asked.append((path, [node.name for node in nodes]))
        return known if path else None

    tally = Tally()
    with_known = TreeWriter(BlobWriter(repository, WriterOptions(dry_run=True)), tally, find)
    with_known.add_directory((b"d",), A)
    add(with_known, b"d", b"x")
    with_known.add_node((b"e",), lambda: Node(b"e", NodeType.FIFO, A))
    [root] = with_known.finish()
    assert asked == [((b"d",), [b"x"]), ((), [b"d", b"e"])]
    directory = Node(b"d", NodeType.DIR, A, subtree=(known,))
    plain = encode_tree([directory, Node(b"e", NodeType.FIFO, A)])
    assert root == repository.keys.blob_id(Kind.TREE, plain)
    assert tally.bytes_new == len(plain)


def test_an_empty_root_is_one_tree_blob(trees: TreeWriter) -> None:
    assert len(trees.finish()) == 1
