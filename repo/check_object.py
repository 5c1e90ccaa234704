"""Check objects: which packs were read whole, when, and with what result (spec/FORMAT.md §12.2).

There may be hundreds of thousands of packs, so what is known of them is no object each but a row of
41 bytes in joined bytes: the pack's id, the time (big endian), 1 where it was found damaged. Rows
ascend by id, and sorted rows of one pack end with the one that counts.
"""

import heapq
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import codec
from .codec import DecodeError
from .ids import ID_BYTES, ObjectId

_TIME_BYTES = 8
ROW_BYTES = ID_BYTES + _TIME_BYTES + 1
_ROW = struct.Struct(f">{ID_BYTES}sQB")


@dataclass(frozen=True, slots=True)
class CheckObject:
    """One check object.

    Attributes:
        time_ns: When the check ended.
        errors: How many problems it found.
        replaces: The check objects that it stands for.
        rows: What it knows of packs: strictly ascending, one row a pack.
    """

    time_ns: int
    errors: int
    replaces: frozenset[ObjectId]
    rows: bytes


def row_of(id_: ObjectId, read_ns: int, *, is_damaged: bool) -> bytes:
    """Return the row of a pack that was read at a time."""
    return _ROW.pack(id_, max(0, read_ns), is_damaged)


def each_row(rows: bytes | bytearray) -> Iterator[bytes]:
    """Yield one row after the other."""
    for at in range(0, len(rows), ROW_BYTES):
        yield bytes(rows[at : at + ROW_BYTES])


def time_of(row: bytes) -> int:
    """Return when the pack of a row was read."""
    return int.from_bytes(row[ID_BYTES : ID_BYTES + _TIME_BYTES], "big")


def merge_rows(older: Iterable[bytes], own: bytes = b"") -> Iterator[bytes]:
    """Yield for each pack the latest of its rows; what is in ``own`` goes before all others.

    So a pack that was found damaged just now is damaged, whatever other clocks said.
    """
    ranked = [*((0, rows) for rows in older), (1, own)]
    last: tuple[bytes, int, bytes] | None = None
    for item in heapq.merge(*(_with_rank(rank, rows) for rank, rows in ranked)):
        if last is not None and item[0] != last[0]:
            yield last[2]
        last = item
    if last is not None:
        yield last[2]


def _with_rank(rank: int, rows: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    for row in each_row(rows):
        yield row[:ID_BYTES], rank, row


def rows_of(rows: Iterable[bytes], ids: Iterable[ObjectId]) -> Iterator[bytes | None]:
    """Yield for each id its row, None where it has none; both ascend."""
    left = iter(rows)
    row = next(left, None)
    for id_ in ids:
        while row is not None and row[:ID_BYTES] < id_:
            row = next(left, None)
        yield row if row is not None and row[:ID_BYTES] == id_ else None


def encode_check(found: CheckObject) -> dict[str, Any]:
    """Return the body of a check object."""
    count = len(found.rows) // ROW_BYTES
    ids, read = bytearray(ID_BYTES * count), bytearray(_TIME_BYTES * count)
    for at in range(ID_BYTES):
        ids[at::ID_BYTES] = found.rows[at::ROW_BYTES]
    for at in range(_TIME_BYTES):
        read[_TIME_BYTES - 1 - at :: _TIME_BYTES] = found.rows[ID_BYTES + at :: ROW_BYTES]
    return {
        "time": found.time_ns,
        "errors": found.errors,
        "replaces": b"".join(sorted(found.replaces)),
        "packs": bytes(ids),
        "read": bytes(read),
        "damaged": bytes(found.rows[ROW_BYTES - 1 :: ROW_BYTES]),
    }


def decode_check(body: Mapping[str, Any]) -> CheckObject:
    """Return what a check object says.

    Raises:
        DecodeError: columns are missing or do not fit each other, or ids do not ascend.
    """
    errors = codec.field(body, "errors", int)
    if errors < 0:
        raise DecodeError("a check found fewer than no errors")
    replaces = frozenset(_ascending(codec.field(body, "replaces", bytes)))
    ids = codec.field(body, "packs", bytes)
    count = sum(1 for _ in _ascending(ids))
    read, damaged = _column(body, "read", 8 * count), _column(body, "damaged", count)
    if damaged.translate(None, b"\0\1"):
        raise DecodeError("a pack is neither whole nor damaged")
    rows = bytearray(ROW_BYTES * count)
    for at in range(ID_BYTES):
        rows[at::ROW_BYTES] = ids[at::ID_BYTES]
    for at in range(_TIME_BYTES):
        rows[ID_BYTES + at :: ROW_BYTES] = read[_TIME_BYTES - 1 - at :: _TIME_BYTES]
    rows[ROW_BYTES - 1 :: ROW_BYTES] = damaged
    return CheckObject(codec.field(body, "time", int), errors, replaces, bytes(rows))


def _ascending(joined: bytes) -> Iterator[ObjectId]:
    if len(joined) % ID_BYTES:
        raise DecodeError("a column of ids is cut short")
    last = b""
    for at in range(0, len(joined), ID_BYTES):
        id_ = joined[at : at + ID_BYTES]
        if id_ <= last:
            raise DecodeError("ids do not ascend")
        last = id_
        yield ObjectId(id_)


def _column(body: Mapping[str, Any], key: str, length: int) -> bytes:
    column = codec.field(body, key, bytes)
    if len(column) != length:
        raise DecodeError(f"the column {key!r} has {len(column)} bytes instead of {length}")
    return column
