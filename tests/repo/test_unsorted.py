from functools import partial

import pytest

from snap.errors import SourceError
from snap.repo import unsorted
from snap.repo.browse import walk_directory
from snap.repo.file_writer import Tally
from snap.repo.ids import BlobId
from snap.repo.repository import Repository
from snap.repo.source import Attributes, Entry, NodeType
from snap.repo.tree import Node
from snap.repo.tree_writer import TreeWriter
from snap.repo.unsorted import PreviousNodes, UnsortedTrees
from snap.repo.writer import BlobWriter, WriterOptions

from .conftest import back_up
from .dictsource import FILE, BytesReader, DictSource

A = Attributes(mode=0o700)


@pytest.fixture
def trees(repository: Repository) -> UnsortedTrees:
    return UnsortedTrees(TreeWriter(BlobWriter(repository, WriterOptions(dry_run=True)), Tally()))


def add(trees: UnsortedTrees, *path: bytes) -> None:
    trees.add_node(path, lambda: Node(path[-1], NodeType.FIFO, A))


class Shuffled(DictSource):
    """Its files in the order of the dict, and no folder."""

    is_sorted = False

    def entries(self):  # type: ignore[no-untyped-def]
        for path, data in self.files.items():
            assert isinstance(data, bytes)
            yield Entry(
                tuple(path.split(b"/")),
                NodeType.FILE,
                FILE,
                len(data),
                open=partial(BytesReader, data),
            )


def test_a_view_in_any_order_is_stored_sorted_with_its_folders(repository: Repository) -> None:
    files = {b"z": b"1", b"a/b/c": b"2" * 9000, b"m": b"3", b"a/a": b"4"}
    component = back_up(repository, Shuffled(files, is_sorted=False)).components[0]
    found = [b"/".join(p) for p, _ in walk_directory(repository, component.subtree or ())]
    assert found == [b"a", b"a/a", b"a/b", b"a/b/c", b"m", b"z"]
    again = back_up(repository, Shuffled(dict(reversed(files.items())), is_sorted=False))
    assert again.components[0].subtree == component.subtree
    assert again.components[0].bytes_new == 0


def test_what_comes_twice_or_as_a_folder_too_is_refused(trees: UnsortedTrees) -> None:
    add(trees, b"a", b"b")
    with pytest.raises(SourceError, match="twice"):
        add(trees, b"a", b"b")
    with pytest.raises(SourceError, match="folder"):
        trees.add_directory((b"a", b"b"), A)
    trees.add_directory((b"d",), A)
    with pytest.raises(SourceError, match="folder"):
        add(trees, b"d")


def test_a_file_in_the_place_of_a_folder_that_is_needed_is_refused(trees: UnsortedTrees) -> None:
    add(trees, b"a")
    add(trees, b"a", b"b")
    with pytest.raises(SourceError):
        trees.finish()


def test_entries_and_the_folders_that_nobody_named_are_bounded(
    trees: UnsortedTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsorted, "ENTRIES_LIMIT", 5)
    for number in range(5):
        add(trees, b"%d" % number)
    with pytest.raises(SourceError, match="more than 5"):
        add(trees, b"5")


def test_a_deep_path_does_not_bring_more_folders_than_are_allowed(
    trees: UnsortedTrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsorted, "ENTRIES_LIMIT", 5)
    add(trees, *(b"abcdefgh"[at : at + 1] for at in range(8)))
    with pytest.raises(SourceError, match="more than 5"):
        trees.finish()


def test_nodes_are_found_in_any_order_and_a_lost_tree_has_none(repository: Repository) -> None:
    component = back_up(repository, DictSource({b"a/b": b"1", b"c": b"2"})).components[0]
    nodes = PreviousNodes(repository, component.subtree or ())
    found = [nodes.find(path) for path in ((b"c",), (b"a", b"b"), (b"a",))]
    assert [node and node.name for node in found] == [b"c", b"b", b"a"]
    assert nodes.find((b"x",)) is None
    assert nodes.blob_of((), []) is None
    assert PreviousNodes(repository, (BlobId(b"x" * 32),)).find((b"c",)) is None
