"""Files as lists of extents, slices of blobs (spec/FORMAT.md §9.3 to §9.6)."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from snap.errors import SnapError

from . import codec
from .codec import DecodeError
from .ids import BlobId, split_ids

LAYOUT_BLOBS = "blobs"
_KNOWN_LAYOUTS = frozenset({LAYOUT_BLOBS})
INLINE_EXTENTS = 16
LIST_LIMIT = 1024
_LIST_END_BELOW = 4
_HOLE_INDEX = 0xFFFFFFFF


class UnknownLayout(SnapError):
    """A file is stored in a layout that this version cannot read."""

    exit_code = 13


@dataclass(frozen=True, slots=True)
class Extent:
    """``length`` bytes of ``blob`` from ``offset``; a hole where ``blob`` is None."""

    blob: BlobId | None
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: a table of extents, or the extents blobs that together list them."""

    layout: str
    size_bytes: int
    extents: tuple[Extent, ...] | None
    lists: tuple[tuple[BlobId, int], ...] = ()

    def encode(self) -> dict[str, Any]:
        """Return the map of spec/FORMAT.md §9.3."""
        fields: dict[str, Any] = {"layout": self.layout, "size": self.size_bytes}
        if self.extents is not None:
            fields["extents"] = encode_extents(self.extents)
        else:
            lengths = [length for _, length in self.lists]
            fields["lists"] = {
                "id": b"".join(id_ for id_, _ in self.lists),
                "length": struct.pack(f"<{len(lengths)}Q", *lengths),
            }
        return fields


def decode_content(fields: Mapping[str, Any]) -> Content:
    """Return what a file node's ``content`` says.

    An unknown layout is not an error here, so that trees can be listed; see `require_layout`.

    Raises:
        DecodeError: it is not as the format says.
    """
    layout = codec.field(fields, "layout", str)
    size = codec.field(fields, "size", int)
    if size < 0:
        raise DecodeError("a file of negative size")
    if layout not in _KNOWN_LAYOUTS:
        return Content(layout, size, ())
    if ("extents" in fields) == ("lists" in fields):
        raise DecodeError("a file must have either extents or lists of them")
    if "extents" in fields:
        extents = decode_extents(codec.field(fields, "extents", dict))
        if sum(e.length for e in extents) != size:
            raise DecodeError("a file's extents do not add up to its size")
        return Content(layout, size, extents)
    lists = codec.field(fields, "lists", dict)
    ids = _ids(lists, "id")
    lengths = codec.int_column(lists, "length", "Q", len(ids))
    if sum(lengths) != size:
        raise DecodeError("a file's lists of extents do not add up to its size")
    return Content(layout, size, None, tuple(zip(ids, lengths, strict=True)))


def require_layout(content: Content, where: str) -> None:
    """Stop where a file is stored in a layout that this version does not know.

    Raises:
        UnknownLayout: it is.
    """
    if content.layout not in _KNOWN_LAYOUTS:
        raise UnknownLayout(
            f"{where}: stored in the layout {content.layout!r}, which this version cannot read",
            "use a newer version of snap",
        )


def encode_extents(extents: Iterable[Extent]) -> dict[str, Any]:
    """Return an extent table (spec/FORMAT.md §9.4)."""
    numbers: dict[BlobId, int] = {}
    index, offsets, lengths = [], [], []
    for extent in extents:
        if extent.blob is None:
            index.append(_HOLE_INDEX)
        else:
            index.append(numbers.setdefault(extent.blob, len(numbers)))
        offsets.append(extent.offset)
        lengths.append(extent.length)
    count = len(index)
    return {
        "blobs": b"".join(numbers),
        "index": struct.pack(f"<{count}I", *index),
        "offset": struct.pack(f"<{count}I", *offsets),
        "length": struct.pack(f"<{count}Q", *lengths),
    }


def decode_extents(table: Mapping[str, Any]) -> tuple[Extent, ...]:
    """Return the extents of a table.

    Raises:
        DecodeError: columns of unequal length, a blob number that is none, a length of zero.
    """
    blobs = _ids(table, "blobs")
    if len(set(blobs)) != len(blobs):
        raise DecodeError("an extent table names a blob twice")
    raw_index = codec.field(table, "index", bytes)
    count = len(raw_index) // 4
    index = codec.int_column(table, "index", "I", count)
    offsets = codec.int_column(table, "offset", "I", count)
    lengths = codec.int_column(table, "length", "Q", count)
    return tuple(
        _extent(blobs, number, offset, length)
        for number, offset, length in zip(index, offsets, lengths, strict=True)
    )


def _extent(blobs: list[BlobId], number: int, offset: int, length: int) -> Extent:
    if length == 0 or length >= 1 << 63:
        raise DecodeError("an extent has an impossible length")
    if number == _HOLE_INDEX:
        if offset:
            raise DecodeError("a hole with an offset")
        return Extent(None, 0, length)
    if number >= len(blobs):
        raise DecodeError("an extent names a blob that its table does not have")
    return Extent(blobs[number], offset, length)


def is_list_end(extent: Extent, count: int) -> bool:
    """Return whether a writer ends an extents blob after its ``count``-th extent, this one.

    By the blob's id, so that a change early in a file leaves the later lists as they are.
    """
    by_content = extent.blob is not None and extent.blob[0] < _LIST_END_BELOW
    return by_content or count >= LIST_LIMIT


def _ids(table: Mapping[str, Any], key: str) -> list[BlobId]:
    try:
        return split_ids(codec.field(table, key, bytes))
    except ValueError as error:
        raise DecodeError(str(error)) from error
