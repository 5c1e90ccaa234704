from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.repo import codec
from snap.repo.codec import DecodeError
from snap.repo.extents import Content
from snap.repo.ids import BlobId
from snap.repo.source import Attributes, NodeType
from snap.repo.tree import (
    NODES_LIMIT,
    Node,
    check_order,
    decode_tree,
    encode_tree,
    is_plain_name,
    is_tree_end,
)

TREE = BlobId(b"t" * 32)
names = st.binary(min_size=1, max_size=20).filter(is_plain_name)


def build_attributes(**fields: Any) -> Attributes:
    # Of the class itself hypothesis would make up the fields that have a default.
    return Attributes(**fields)


attributes = st.builds(
    build_attributes,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    user=st.text(max_size=5),
    mtime_ns=st.integers(-(2**62), 2**62),
    xattrs=st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=5)), max_size=2).map(tuple),
)


def build_node(*fields: Any, **more: Any) -> Node:
    return Node(*fields, **more)


nodes = (
    st.builds(build_node, names, st.just(NodeType.DIR), attributes, subtree=st.just((TREE, TREE)))
    | st.builds(
        build_node, names, st.just(NodeType.SYMLINK), attributes, target=st.binary(max_size=9)
    )
    | st.builds(build_node, names, st.just(NodeType.FIFO), attributes)
    | st.builds(
        build_node,
        names,
        st.just(NodeType.FILE),
        attributes,
        content=st.just(Content("blobs", 0, ())),
        changed=st.booleans(),
    )
)


@given(st.lists(nodes, max_size=8, unique_by=lambda n: n.name))
def test_nodes_come_back_from_a_tree_blob(given_nodes: list[Node]) -> None:
    ordered = sorted(given_nodes, key=lambda n: n.name)
    assert decode_tree(encode_tree(ordered)) == ordered


def test_hard_link_fields_come_back() -> None:
    linked = Attributes(mode=0o600, inode=77, device=3, links=2, ctime_ns=-5)
    node = Node(b"f", NodeType.FILE, linked, content=Content("blobs", 0, ()))
    device = Node(b"g", NodeType.CHARDEV, Attributes(mode=0, rdev=1234))
    assert decode_tree(encode_tree([node, device])) == [node, device]


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0", b"x" * 4097])
def test_hostile_names_are_refused(name: bytes) -> None:
    assert not is_plain_name(name)
    with pytest.raises(DecodeError, match="no entry can have"):
        decode_tree(encode_tree([Node(name, NodeType.FIFO, Attributes(mode=0))]))


def test_names_twice_or_out_of_order_are_refused() -> None:
    def fifo(name: bytes) -> Node:
        return Node(name, NodeType.FIFO, Attributes(mode=0))

    for wrong in ([fifo(b"a"), fifo(b"a")], [fifo(b"b"), fifo(b"a")]):
        with pytest.raises(DecodeError, match="order"):
            decode_tree(encode_tree(wrong))
    with pytest.raises(DecodeError, match="order"):
        check_order([fifo(b"a")], after=b"a")


def fields(**changes: Any) -> bytes:
    good = {
        "name": b"n", "type": "dir", "mode": 0o755, "uid": 0, "gid": 0, "user": "", "group": "",
        "mtime": 0, "subtree": bytes(TREE),
    }  # fmt: skip
    merged = {key: value for key, value in (good | changes).items() if value is not None}
    return codec.encode({"nodes": [merged]})


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "hologram"},
        {"mode": 0o10000},
        {"mode": -1},
        {"uid": -1},
        {"mtime": "now"},
        {"subtree": b""},
        {"subtree": b"x"},
        {"subtree": None},
        {"name": "text"},
        {"xattrs": [["a", b"b"]]},
        {"xattrs": [[b"a"]]},
        {"type": "file", "content": None},
        {"type": "symlink"},
    ],
)
def test_nodes_with_impossible_fields_are_refused(changes: dict[str, Any]) -> None:
    assert decode_tree(fields())[0].name == b"n"
    with pytest.raises(DecodeError):
        decode_tree(fields(**changes))


def test_what_is_no_list_of_nodes_is_refused() -> None:
    bodies: list[dict[str, Any]] = [{"nodes": [1]}, {"nodes": {}}, {}]
    for body in bodies:
        with pytest.raises(DecodeError):
            decode_tree(codec.encode(body))


def test_tree_blobs_end_by_name_about_every_thousandth_and_at_the_limit() -> None:
    ends = sum(is_tree_end(b"name%d" % n, 1) for n in range(100_000))
    assert 60 < ends < 140
    assert is_tree_end(b"a", NODES_LIMIT)
    assert not is_tree_end(b"a", NODES_LIMIT - 1)
