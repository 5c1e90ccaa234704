"""Trees: directories as lists of nodes (spec/FORMAT.md §9.1, §9.2)."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import blake3

from . import codec
from .codec import DecodeError
from .extents import Content, decode_content
from .ids import BlobId, split_ids
from .source import Attributes, NodeType

NODES_LIMIT = 4096
NAME_LIMIT_BYTES = 4096
MAX_DEPTH = 4096
_MODE_MASK = 0o7777
_TYPES = {str(type_): type_ for type_ in NodeType}
_NODE_KINDS = (("name", bytes), ("type", str))
_ATTRIBUTE_KINDS = (
    ("mode", int),
    ("uid", int),
    ("gid", int),
    ("user", str),
    ("group", str),
    ("mtime", int),
)


class Node(NamedTuple):
    """One entry of a directory. ``content`` is set for files, ``subtree`` for directories."""

    name: bytes
    type: NodeType
    attributes: Attributes
    target: bytes = b""
    content: Content | None = None
    subtree: tuple[BlobId, ...] = ()
    changed: bool = False

    @property
    def size_bytes(self) -> int:
        """Return a file's size, 0 for everything else."""
        return self.content.size_bytes if self.content is not None else 0


def is_plain_name(name: bytes) -> bool:
    """Return whether ``name`` can be one component of a path and nothing more."""
    return (
        0 < len(name) <= NAME_LIMIT_BYTES
        and name not in (b".", b"..")
        and b"/" not in name
        and b"\0" not in name
    )


def encode_tree(nodes: Iterable[Node]) -> bytes:
    """Return the plaintext of one tree blob; ``nodes`` ascend by name."""
    return codec.encode({"nodes": [_encode_node(node) for node in nodes]})


def is_tree_end(name: bytes, count: int) -> bool:
    """Return whether a writer ends a tree blob after its ``count``-th node, called ``name``."""
    digest = blake3.blake3(name).digest()
    return (digest[0] == 0 and digest[1] & 3 == 0) or count >= NODES_LIMIT


def _encode_node(node: Node) -> dict[str, Any]:
    a = node.attributes
    fields: dict[str, Any] = {
        "name": node.name,
        "type": str(node.type),
        **encode_attributes(a),
    }
    if node.type is NodeType.FILE:
        fields |= _encode_file_fields(node)
    elif node.type is NodeType.DIR:
        fields["subtree"] = b"".join(node.subtree)
    elif node.type is NodeType.SYMLINK:
        fields["target"] = node.target
    elif node.type in (NodeType.CHARDEV, NodeType.BLOCKDEV):
        fields["rdev"] = a.rdev
    if a.xattrs:
        fields["xattrs"] = encode_xattrs(a)
    return fields


def encode_attributes(a: Attributes) -> dict[str, Any]:
    """Return the fields that every node has (spec/FORMAT.md §9.2)."""
    return {
        "mode": a.mode,
        "uid": a.uid,
        "gid": a.gid,
        "user": a.user,
        "group": a.group,
        "mtime": a.mtime_ns,
    }


def encode_xattrs(a: Attributes) -> list[list[bytes]]:
    """Return extended attributes as names and values."""
    return [[name, value] for name, value in a.xattrs]


def _encode_file_fields(node: Node) -> dict[str, Any]:
    a = node.attributes
    fields: dict[str, Any] = {}
    if a.ctime_ns is not None:
        fields["ctime"] = a.ctime_ns
    if a.inode is not None:
        fields["inode"] = a.inode
    if a.links > 1:
        fields |= {"device": a.device, "links": a.links}
    if node.content is not None:
        fields["content"] = node.content.encode()
    if node.changed:
        fields["changed"] = True
    return fields


def decode_tree(plain: bytes) -> list[Node]:
    """Return the nodes of one tree blob.

    Raises:
        DecodeError: a name that is not plain, names out of order, a field missing or of the
            wrong type.
    """
    nodes = []
    for fields in codec.field(codec.decode(plain), "nodes", list):
        if not isinstance(fields, dict):
            raise DecodeError("a node is not a map")
        nodes.append(_decode_node(fields))
    check_order(nodes)
    return nodes


def check_order(nodes: Iterable[Node], after: bytes = b"") -> bytes:
    """Check that names ascend from ``after``; return the last.

    Raises:
        DecodeError: they do not, so a name may be there twice.
    """
    for node in nodes:
        if node.name <= after:
            raise DecodeError("the names of a directory are out of order or there twice")
        after = node.name
    return after


def _decode_node(fields: Mapping[str, Any]) -> Node:
    name, type_name = codec.fields(fields, _NODE_KINDS)
    if not is_plain_name(name):
        raise DecodeError(f"a node with the name {name[:80]!r}, which no entry can have")
    type_ = _TYPES.get(type_name)
    if type_ is None:
        raise DecodeError("a node of unknown type")
    attributes = decode_attributes(fields)
    match type_:
        case NodeType.FILE:
            content = decode_content(codec.field(fields, "content", dict))
            changed = "changed" in fields and codec.field(fields, "changed", bool)
            return Node(name, type_, attributes, content=content, changed=changed)
        case NodeType.DIR:
            return Node(name, type_, attributes, subtree=decode_subtree(fields))
        case NodeType.SYMLINK:
            return Node(name, type_, attributes, target=codec.field(fields, "target", bytes))
        case _:
            return Node(name, type_, attributes)


def decode_subtree(fields: Mapping[str, Any]) -> tuple[BlobId, ...]:
    """Return the tree blobs of a directory, at least one.

    Raises:
        DecodeError: there are none, or they are not ids.
    """
    try:
        ids = tuple(split_ids(codec.field(fields, "subtree", bytes)))
    except ValueError as error:
        raise DecodeError(str(error)) from error
    if not ids:
        raise DecodeError("a directory without a tree blob")
    return ids


def decode_attributes(fields: Mapping[str, Any]) -> Attributes:
    """Return the attributes among a node's fields.

    Raises:
        DecodeError: one is missing or impossible.
    """
    mode, uid, gid, user, group, mtime_ns = codec.fields(fields, _ATTRIBUTE_KINDS)
    if mode & ~_MODE_MASK:
        raise DecodeError("a mode with bits that are no permissions")
    if uid < 0 or gid < 0:
        raise DecodeError("an owner or group is negative")
    return Attributes(
        mode,
        uid,
        gid,
        user,
        group,
        mtime_ns,
        codec.field(fields, "ctime", int) if "ctime" in fields else None,
        codec.field(fields, "inode", int) if "inode" in fields else None,
        codec.field(fields, "device", int) if "device" in fields else 0,
        codec.field(fields, "links", int) if "links" in fields else 1,
        codec.field(fields, "rdev", int) if "rdev" in fields else 0,
        _decode_xattrs(fields) if "xattrs" in fields else (),
    )


def _decode_xattrs(fields: Mapping[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    pairs = codec.field(fields, "xattrs", list)
    for pair in pairs:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(p, bytes) for p in pair)
        ):
            raise DecodeError("an extended attribute is not a name and a value")
    return tuple((name, value) for name, value in pairs)
