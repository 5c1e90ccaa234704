"""Files as lists of extents, slices of blobs (spec/FORMAT.md §9.3 to §9.7)."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from snap.errors import SnapError

from . import codec
from .codec import DecodeError
from .crypto import DIGEST_BYTES
from .ids import BlobId, split_ids
from .records import Records, are_widths

LAYOUT_BLOBS = "blobs"
LAYOUT_PAGES = "pages"
LAYOUT_RECORDS = "records"
LAYOUT_STREAM = "stream"
_KNOWN_LAYOUTS = frozenset({LAYOUT_BLOBS, LAYOUT_PAGES, LAYOUT_RECORDS, LAYOUT_STREAM})
INLINE_EXTENTS = 16
LIST_LIMIT = 1024
LIST_REGIONS = 16
"""So many regions are described by one extents blob in the layout of pages."""
MIN_PAGE_BYTES = 512
MAX_PAGE_BYTES = 65_536
MAX_REGION_BYTES = 16 << 20
_LIST_END_BELOW = 4
_HOLE_INDEX = 0xFFFFFFFF
_CONTENT_KINDS = (("layout", str), ("size", int))


class UnknownLayout(SnapError):
    """A file is stored in a layout that this version cannot read."""

    exit_code = 13


class Extent(NamedTuple):
    """``length`` bytes of ``blob`` from ``offset``; a hole where ``blob`` is None."""

    blob: BlobId | None
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Paging:
    """How a file is cut at fixed places; sizes in bytes."""

    page_bytes: int
    region_bytes: int


class ExtentTable(NamedTuple):
    """A run of extents; in the layout of pages with the digests of its regions, joined."""

    extents: tuple[Extent, ...]
    regions: bytes = b""


class Content(NamedTuple):
    """What a file holds: a table of extents, or the extents blobs that together list them.

    ``paging`` is set in the layout of pages only; ``regions`` belong to ``extents``.
    ``chunk_bytes`` is what chunks of a stream were to have on average, 0 where it is not known.
    ``columns`` and their ``widths`` are set in the layout of records, which has no extents itself.
    """

    layout: str
    size_bytes: int
    extents: tuple[Extent, ...] | None
    lists: tuple[tuple[BlobId, int], ...] = ()
    paging: Paging | None = None
    regions: bytes = b""
    chunk_bytes: int = 0
    widths: tuple[int, ...] = ()
    columns: tuple["Content", ...] = ()

    @property
    def is_known(self) -> bool:
        """Return whether this version knows the layout; of others, nothing but the size is here."""
        return self.layout in _KNOWN_LAYOUTS

    @property
    def parts(self) -> tuple["Content", ...]:
        """Return what has the extents: the columns of records, else the content itself."""
        return self.columns or (self,)

    def encode(self) -> dict[str, Any]:
        """Return the map of spec/FORMAT.md §9.3."""
        fields: dict[str, Any] = {"layout": self.layout, "size": self.size_bytes}
        if self.columns:
            columns = [column.encode() for column in self.columns]
            return fields | {"widths": list(self.widths), "columns": columns}
        if self.paging is not None:
            fields |= {"page": self.paging.page_bytes, "region": self.paging.region_bytes}
        if self.chunk_bytes:
            fields["chunk"] = self.chunk_bytes
        if self.extents is not None:
            fields["extents"] = self._encode_table(self.extents)
        else:
            lengths = [length for _, length in self.lists]
            fields["lists"] = {
                "id": b"".join(id_ for id_, _ in self.lists),
                "length": struct.pack(f"<{len(lengths)}Q", *lengths),
            }
        return fields

    def _encode_table(self, extents: tuple[Extent, ...]) -> dict[str, Any]:
        regions = self.regions if self.paging is not None else None
        return encode_extents(extents, regions)


def decode_content(fields: Mapping[str, Any]) -> Content:
    """Return what a file node's ``content`` says.

    An unknown layout is not an error here, so that trees can be listed; see `require_layout`.

    Raises:
        DecodeError: it is not as the format says.
    """
    layout, size = codec.fields(fields, _CONTENT_KINDS)
    if size < 0:
        raise DecodeError("a file of negative size")
    if layout not in _KNOWN_LAYOUTS:
        return Content(layout, size, ())
    if layout == LAYOUT_RECORDS:
        return _decode_records(fields, size)
    paging = _decode_paging(fields) if layout == LAYOUT_PAGES else None
    has_chunk = layout == LAYOUT_STREAM and "chunk" in fields
    chunk = codec.field(fields, "chunk", int) if has_chunk else 0
    if not 0 <= chunk <= MAX_REGION_BYTES:
        raise DecodeError("chunks of an impossible size")
    if ("extents" in fields) == ("lists" in fields):
        raise DecodeError("a file must have either extents or lists of them")
    if "extents" in fields:
        table = decode_table(codec.field(fields, "extents", dict), size, paging)
        return Content(
            layout, size, table.extents, paging=paging, regions=table.regions, chunk_bytes=chunk
        )
    lists = codec.field(fields, "lists", dict)
    ids = _ids(lists, "id")
    lengths = codec.int_column(lists, "length", "Q", len(ids))
    if sum(lengths) != size:
        raise DecodeError("a file's lists of extents do not add up to its size")
    return Content(
        layout, size, None, tuple(zip(ids, lengths, strict=True)), paging, chunk_bytes=chunk
    )


def _decode_records(fields: Mapping[str, Any], size: int) -> Content:
    if "extents" in fields or "lists" in fields:
        raise DecodeError("a file of records must have columns and nothing else")
    widths = codec.field(fields, "widths", list)
    if not are_widths(widths):
        raise DecodeError("records with columns of impossible widths")
    columns = []
    for column in codec.field(fields, "columns", list):
        # No other layout: neither records in records nor what a later version may think of.
        if not isinstance(column, dict) or column.get("layout") != LAYOUT_PAGES:
            raise DecodeError("a column of records that is not cut into pages")
        columns.append(decode_content(column))
    records = Records(tuple(widths), size)
    if [column.size_bytes for column in columns] != records.column_bytes():
        raise DecodeError("the columns of a file do not fit its records")
    return Content(LAYOUT_RECORDS, size, None, widths=records.widths, columns=tuple(columns))


def _decode_paging(fields: Mapping[str, Any]) -> Paging:
    page, region = codec.field(fields, "page", int), codec.field(fields, "region", int)
    if not MIN_PAGE_BYTES <= page <= MAX_PAGE_BYTES or page & (page - 1):
        raise DecodeError("pages of an impossible size")
    if not page <= region <= MAX_REGION_BYTES or region % page:
        raise DecodeError("regions of an impossible size")
    return Paging(page, region)


def decode_table(table: Mapping[str, Any], length: int, paging: Paging | None) -> ExtentTable:
    """Return a table that describes ``length`` bytes of a file.

    Raises:
        DecodeError: it does not add up, or has not one digest for each region.
    """
    extents = decode_extents(table)
    if sum([e.length for e in extents]) != length:
        raise DecodeError("extents do not add up to what they describe")
    if paging is None:
        return ExtentTable(extents)
    regions = codec.field(table, "regions", bytes)
    if len(regions) != -(-length // paging.region_bytes) * DIGEST_BYTES:
        raise DecodeError("a table has not one digest for each region")
    return ExtentTable(extents, regions)


def require_layout(content: Content, where: str) -> None:
    """Stop where a file is stored in a layout that this version does not know.

    Raises:
        UnknownLayout: it is.
    """
    if not content.is_known:
        raise UnknownLayout(
            f"{where}: stored in the layout {content.layout!r}, which this version cannot read",
            "use a newer version of snap",
        )


def encode_extents(extents: Iterable[Extent], regions: bytes | None = None) -> dict[str, Any]:
    """Return an extent table (spec/FORMAT.md §9.4); ``regions`` in the layout of pages only."""
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
    table = {
        "blobs": b"".join(numbers),
        "index": struct.pack(f"<{count}I", *index),
        "offset": struct.pack(f"<{count}I", *offsets),
        "length": struct.pack(f"<{count}Q", *lengths),
    }
    return table if regions is None else table | {"regions": regions}


def decode_extents(table: Mapping[str, Any]) -> tuple[Extent, ...]:
    """Return the extents of a table.

    Raises:
        DecodeError: columns of unequal length, a blob number that is none, a length of zero.
    """
    blobs = _ids(table, "blobs")
    if len(blobs) > 1 and len(set(blobs)) != len(blobs):
        raise DecodeError("an extent table names a blob twice")
    raw_index = codec.field(table, "index", bytes)
    count = len(raw_index) // 4
    index = codec.int_column(table, "index", "I", count)
    offsets = codec.int_column(table, "offset", "I", count)
    lengths = codec.int_column(table, "length", "Q", count)
    if lengths and (min(lengths) == 0 or max(lengths) >= 1 << 63):
        raise DecodeError("an extent has an impossible length")
    if index == (0,) and blobs:
        # As most small files have it.
        return (Extent(blobs[0], offsets[0], lengths[0]),)
    known = len(blobs)
    extents = []
    for number, offset, length in zip(index, offsets, lengths, strict=True):
        if number < known:
            extents.append(Extent(blobs[number], offset, length))
        elif number != _HOLE_INDEX:
            raise DecodeError("an extent names a blob that its table does not have")
        elif offset:
            raise DecodeError("a hole with an offset")
        else:
            extents.append(Extent(None, 0, length))
    return tuple(extents)


def is_list_end(extent: Extent, following: Extent | None, count: int) -> bool:
    """Return whether a writer ends an extents blob after its ``count``-th extent, this one.

    By the blob's id, so that a change early in a file leaves the later lists as they are.
    """
    is_last_of_blob = following is None or following.blob != extent.blob
    by_content = extent.blob is not None and extent.blob[0] < _LIST_END_BELOW
    return (by_content and is_last_of_blob) or count >= LIST_LIMIT


def _ids(table: Mapping[str, Any], key: str) -> list[BlobId]:
    try:
        return split_ids(codec.field(table, key, bytes))
    except ValueError as error:
        raise DecodeError(str(error)) from error
