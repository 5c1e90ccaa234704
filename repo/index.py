"""Index objects: which blob lies where in which pack, in columns (spec/FORMAT.md §8)."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import codec
from .codec import DecodeError
from .ids import ID_BYTES, BlobId, ObjectId
from .pack import DATA_PACK, META_PACK, PackEntry, PackSummary


def encode_index(packs: Sequence[PackSummary]) -> dict[str, Any]:
    """Return the body of an index object that describes ``packs``."""
    blobs = [entry for pack in packs for entry in pack.entries]
    return {
        "packs": {
            "id": b"".join(p.id for p in packs),
            "kind": bytes(p.kind for p in packs),
            "size": _column("Q", [p.size_bytes for p in packs]),
            "keys": _column("H", [p.key_count for p in packs]),
            "blobs": _column("I", [len(p.entries) for p in packs]),
        },
        "blobs": {
            "id": b"".join(e.id for e in blobs),
            "kind": bytes(e.kind for e in blobs),
            "compression": bytes(e.compression for e in blobs),
            "key": _column("H", [e.key for e in blobs]),
            "nonce": _column("I", [e.nonce for e in blobs]),
            "offset": _column("I", [e.offset for e in blobs]),
            "stored": _column("I", [e.stored_length for e in blobs]),
            "raw": _column("I", [e.raw_length for e in blobs]),
        },
    }


def decode_index(body: Mapping[str, Any]) -> list[PackSummary]:
    """Return the packs that an index object describes.

    Raises:
        DecodeError: columns are missing or do not fit each other.
    """
    packs = codec.field(body, "packs", dict)
    blobs = codec.field(body, "blobs", dict)
    pack_ids = _id_column(packs)
    kinds = _bytes_column(packs, "kind", len(pack_ids))
    sizes = codec.int_column(packs, "size", "Q", len(pack_ids))
    key_counts = codec.int_column(packs, "keys", "H", len(pack_ids))
    counts = codec.int_column(packs, "blobs", "I", len(pack_ids))
    if any(kind not in (DATA_PACK, META_PACK) for kind in kinds):
        raise DecodeError("the index names a pack of unknown kind")
    entries = _entries(blobs)
    if sum(counts) != len(blobs["kind"]):
        raise DecodeError("the index has more or fewer blobs than its packs say")
    return [
        PackSummary(
            ObjectId(pack_id),
            kind,
            size,
            key_count,
            tuple(next(entries) for _ in range(count)),
        )
        for pack_id, kind, size, key_count, count in zip(
            pack_ids, kinds, sizes, key_counts, counts, strict=True
        )
    ]


def _entries(blobs: Mapping[str, Any]) -> Iterator[PackEntry]:
    ids = _id_column(blobs)
    count = len(ids)
    columns = zip(
        ids,
        _bytes_column(blobs, "kind", count),
        _bytes_column(blobs, "compression", count),
        codec.int_column(blobs, "key", "H", count),
        codec.int_column(blobs, "nonce", "I", count),
        codec.int_column(blobs, "offset", "I", count),
        codec.int_column(blobs, "stored", "I", count),
        codec.int_column(blobs, "raw", "I", count),
        strict=True,
    )
    return (PackEntry(BlobId(id_), *numbers) for id_, *numbers in columns)


def _column(code: str, values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}{code}", *values)


def _id_column(table: Mapping[str, Any]) -> list[bytes]:
    joined = codec.field(table, "id", bytes)
    if len(joined) % ID_BYTES:
        raise DecodeError("a column of ids is cut short")
    return [joined[i : i + ID_BYTES] for i in range(0, len(joined), ID_BYTES)]


def _bytes_column(table: Mapping[str, Any], key: str, count: int) -> bytes:
    column = codec.field(table, key, bytes)
    if len(column) != count:
        raise DecodeError(f"the column {key!r} has {len(column)} entries instead of {count}")
    return column
