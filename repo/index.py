"""Index objects: which blob lies where in which pack, in columns (spec/FORMAT.md §8).

An index object may describe a million blobs, so its columns are only sliced, pack by pack
(`PackColumns`); a blob becomes an object when it is looked for.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import codec
from .codec import DecodeError
from .ids import ID_BYTES, BlobId, ObjectId
from .pack import DATA_PACK, META_PACK, PackEntry, PackSummary

_COLUMNS = (
    ("id", ID_BYTES),
    ("kind", 1),
    ("compression", 1),
    ("key", 2),
    ("nonce", 4),
    ("offset", 4),
    ("stored", 4),
    ("raw", 4),
)
"""The columns of the blobs in their order, and the bytes that one blob takes in each."""
ENTRY_BYTES = sum(width for _, width in _COLUMNS)
_STARTS = {
    name: sum(width for _, width in _COLUMNS[:number]) for number, (name, _) in enumerate(_COLUMNS)
}
"""Where a column begins, in bytes for each blob of the pack."""
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class PackColumns:
    """A pack as an index object describes it, its entries still in columns.

    Attributes:
        entries: The columns of `_COLUMNS`, one after the other, each of ``count`` blobs.
    """

    id: ObjectId
    kind: int
    size_bytes: int
    key_count: int
    count: int
    entries: bytes

    @classmethod
    def of(cls, pack: PackSummary) -> "PackColumns":
        """Return the columns of a pack."""
        entries = pack.entries
        columns = (
            b"".join(e.id for e in entries),
            bytes(e.kind for e in entries),
            bytes(e.compression for e in entries),
            _column("H", [e.key for e in entries]),
            _column("I", [e.nonce for e in entries]),
            _column("I", [e.offset for e in entries]),
            _column("I", [e.stored_length for e in entries]),
            _column("I", [e.raw_length for e in entries]),
        )
        count = len(entries)
        return cls(pack.id, pack.kind, pack.size_bytes, pack.key_count, count, b"".join(columns))

    def column(self, name: str) -> bytes:
        """Return one column."""
        start = _STARTS[name] * self.count
        width = dict(_COLUMNS)[name]
        return self.entries[start : start + width * self.count]

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return one column of u32."""
        return struct.unpack(f"<{self.count}I", self.column(name))

    def id_at(self, position: int) -> BlobId:
        """Return the id of one blob."""
        return BlobId(self.entries[ID_BYTES * position : ID_BYTES * (position + 1)])

    def ids(self) -> list[BlobId]:
        """Return the ids of all blobs."""
        return [self.id_at(position) for position in range(self.count)]

    def entry(self, position: int) -> PackEntry:
        """Return one blob's entry."""
        entries, n = self.entries, self.count
        return PackEntry(
            self.id_at(position),
            entries[_STARTS["kind"] * n + position],
            entries[_STARTS["compression"] * n + position],
            _U16.unpack_from(entries, _STARTS["key"] * n + 2 * position)[0],
            _U32.unpack_from(entries, _STARTS["nonce"] * n + 4 * position)[0],
            _U32.unpack_from(entries, _STARTS["offset"] * n + 4 * position)[0],
            _U32.unpack_from(entries, _STARTS["stored"] * n + 4 * position)[0],
            _U32.unpack_from(entries, _STARTS["raw"] * n + 4 * position)[0],
        )

    def each_entry(self) -> Iterator[PackEntry]:
        """Yield the entries of all blobs, each made when it is asked for."""
        keys = struct.unpack(f"<{self.count}H", self.column("key"))
        numbers = map(self.numbers, ("nonce", "offset", "stored", "raw"))
        small = map(self.column, ("kind", "compression"))
        ids = map(self.id_at, range(self.count))
        return map(PackEntry._make, zip(ids, *small, keys, *numbers, strict=True))

    def amounts(self) -> list[tuple[int, tuple[int, int, int]]]:
        """Return kinds with how many blobs they are, and their stored and raw bytes."""
        kinds = self.column("kind")
        stored, raw = self.numbers("stored"), self.numbers("raw")
        if kinds and kinds.count(kinds[:1]) == self.count:
            # So it is in data packs, which are most.
            return [(kinds[0], (self.count, sum(stored), sum(raw)))]
        return [(kind, (1, s, r)) for kind, s, r in zip(kinds, stored, raw, strict=True)]

    def summary(self) -> PackSummary:
        """Return the pack with an object for each of its blobs."""
        entries = tuple(self.each_entry())
        return PackSummary(self.id, self.kind, self.size_bytes, self.key_count, entries)


def join_columns(packs: Sequence[PackColumns]) -> dict[str, Any]:
    """Return the body of an index object that describes ``packs``."""
    return {
        "packs": {
            "id": b"".join(p.id for p in packs),
            "kind": bytes(p.kind for p in packs),
            "size": _column("Q", [p.size_bytes for p in packs]),
            "keys": _column("H", [p.key_count for p in packs]),
            "blobs": _column("I", [p.count for p in packs]),
        },
        "blobs": {name: b"".join(p.column(name) for p in packs) for name, _ in _COLUMNS},
    }


def split_index(body: Mapping[str, Any]) -> list[PackColumns]:
    """Return the packs that an index object describes.

    Raises:
        DecodeError: columns are missing or do not fit each other.
    """
    packs = codec.field(body, "packs", dict)
    joined = codec.field(packs, "id", bytes)
    if len(joined) % ID_BYTES:
        raise DecodeError("a column of ids is cut short")
    pack_count = len(joined) // ID_BYTES
    kinds = _bytes_column(packs, "kind", pack_count)
    sizes = codec.int_column(packs, "size", "Q", pack_count)
    key_counts = codec.int_column(packs, "keys", "H", pack_count)
    counts = codec.int_column(packs, "blobs", "I", pack_count)
    if any(kind not in (DATA_PACK, META_PACK) for kind in kinds):
        raise DecodeError("the index names a pack of unknown kind")
    columns = _blob_columns(codec.field(body, "blobs", dict), sum(counts))
    result, first = [], 0
    for number, count in enumerate(counts):
        end = first + count
        entries = b"".join(column[width * first : width * end] for column, width in columns)
        pack_id = ObjectId(joined[ID_BYTES * number : ID_BYTES * (number + 1)])
        result.append(
            PackColumns(pack_id, kinds[number], sizes[number], key_counts[number], count, entries)
        )
        first = end
    return result


def _blob_columns(blobs: Mapping[str, Any], count: int) -> list[tuple[memoryview, int]]:
    columns = []
    for name, width in _COLUMNS:
        column = codec.field(blobs, name, bytes)
        if len(column) != width * count:
            raise DecodeError(
                f"the column {name!r} has {len(column)} bytes instead of {width * count}: "
                "the index has more or fewer blobs than its packs say"
            )
        columns.append((memoryview(column), width))
    return columns


def _column(code: str, values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}{code}", *values)


def _bytes_column(table: Mapping[str, Any], key: str, count: int) -> bytes:
    column = codec.field(table, key, bytes)
    if len(column) != count:
        raise DecodeError(f"the column {key!r} has {len(column)} entries instead of {count}")
    return column
