from dataclasses import replace

import pytest

from snap.repo.clock import SECOND_NS
from snap.repo.extents import Content
from snap.repo.ids import BlobId
from snap.repo.previous import (
    PreviousTree,
    is_stored_alike,
    is_unchanged,
    previous_component,
)
from snap.repo.repository import Repository
from snap.repo.snapshot import Component, Snapshot
from snap.repo.source import Attributes, NodeType
from snap.repo.tree import Node

from .conftest import back_up
from .dictsource import DictSource

LOOKED_NS = 1_000 * SECOND_NS
NOW = Attributes(mode=0o644, inode=7, mtime_ns=900 * SECOND_NS + 1, ctime_ns=950 * SECOND_NS + 1)
NODE = Node(b"f", NodeType.FILE, NOW, content=Content("stream", 10, ()))


def test_nodes_are_found_in_order_and_missing_ones_are_passed_over(repository: Repository) -> None:
    files = {b"a/b": b"1", b"a/c/d": b"2", b"a/e": b"3", b"f": b"4"}
    component = back_up(repository, DictSource(files)).components[0]
    tree = PreviousTree(repository, component.subtree or ())
    asked = [b"a", b"a/aa", b"a/b", b"a/c", b"a/c/d", b"a/c/x", b"a/e", b"b", b"b/c", b"f", b"g"]
    found = [path for path in asked if tree.find(tuple(path.split(b"/"))) is not None]
    assert found == [b"a", b"a/b", b"a/c", b"a/c/d", b"a/e", b"f"]


def test_a_folder_that_was_read_and_is_the_same_is_known_by_its_blob(
    repository: Repository,
) -> None:
    files = {b"a/b": b"1", b"a/c": b"2", b"d": b"3"}
    component = back_up(repository, DictSource(files)).components[0]
    tree = PreviousTree(repository, component.subtree or ())
    found = [tree.find(path) for path in ((b"a",), (b"a", b"b"), (b"a", b"c"), (b"d",))]
    a, b, c, d = (node for node in found if node is not None)
    assert tree.blob_of((b"a",), [b, c]) == a.subtree[0]
    assert tree.blob_of((), [a, d]) == (component.subtree or ())[0]
    other = c._replace(attributes=c.attributes._replace(mode=0o600))
    for path, nodes in (((b"a",), [b]), ((b"a",), [b, other]), ((b"x",), [b, c]), ((), [])):
        assert tree.blob_of(path, nodes) is None


@pytest.mark.parametrize(
    "now",
    [
        NOW._replace(mode=0o600),
        NOW._replace(user="other"),
        NOW._replace(xattrs=((b"user.a", b"1"),)),
        NOW._replace(links=2),
    ],
)
def test_attributes_that_differ_are_stored_anew(now: Attributes) -> None:
    assert not is_stored_alike(NODE, now)


def test_of_the_disk_only_hard_links_tell() -> None:
    linked = NODE._replace(attributes=NOW._replace(links=2, device=1))
    assert is_stored_alike(NODE, NOW._replace(device=9))
    assert is_stored_alike(linked, NOW._replace(links=2, device=1))
    assert not is_stored_alike(linked, NOW._replace(links=2, device=9))


def test_a_lost_tree_has_no_nodes(repository: Repository) -> None:
    tree = PreviousTree(repository, (BlobId(b"x" * 32),))
    assert tree.find((b"a",)) is None
    assert tree.find((b"a", b"b")) is None


def test_the_last_component_with_a_tree_counts_of_the_same_service_and_name() -> None:
    tree = (BlobId(b"t" * 32),)
    good = Component("db", "sqlite", "/db", "success", subtree=tree)
    failed = Component("db", "sqlite", "/db", "failed")
    base = Snapshot(1, "shop", "h", "u", "p", "success", (good,))
    other = replace(base, service="bank", components=(replace(good, place="/other"),))
    newer = replace(base, components=(replace(good, place="/newer"),))
    dead = replace(base, components=(failed,))
    assert previous_component([base, newer, other, dead], "shop", "db") == newer.components[0]
    assert previous_component([base], "shop", "files") is None


def test_a_file_that_is_as_it_was_by_size_times_and_inode_is_unchanged() -> None:
    assert is_unchanged(NODE, 10, NOW, LOOKED_NS)


@pytest.mark.parametrize(
    "now",
    [
        NOW._replace(inode=8),
        NOW._replace(mtime_ns=NOW.mtime_ns + 1),
        NOW._replace(ctime_ns=(NOW.ctime_ns or 0) + 1),
        NOW._replace(inode=None),
        NOW._replace(ctime_ns=None),
    ],
)
def test_any_other_time_or_inode_is_a_change(now: Attributes) -> None:
    assert not is_unchanged(NODE, 10, now, LOOKED_NS)


def test_another_size_or_a_change_while_it_was_read_is_a_change() -> None:
    assert not is_unchanged(NODE, 11, NOW, LOOKED_NS)
    assert not is_unchanged(NODE._replace(changed=True), 10, NOW, LOOKED_NS)
    assert not is_unchanged(NODE._replace(content=None), 10, NOW, LOOKED_NS)


def test_what_was_touched_just_before_the_last_backup_is_read_again() -> None:
    just_before = (NOW.ctime_ns or 0) + 10_000_000
    assert not is_unchanged(NODE, 10, NOW, just_before)
    coarse = NOW._replace(mtime_ns=900 * SECOND_NS, ctime_ns=999 * SECOND_NS)
    node = NODE._replace(attributes=coarse)
    assert not is_unchanged(node, 10, coarse, LOOKED_NS)
    assert is_unchanged(node, 10, coarse, LOOKED_NS + 2 * SECOND_NS)
