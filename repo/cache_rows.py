"""What proves that a row of the cache was read from the repository: a keyed hash in each.

The key comes from the metadata secret, so only who can open index objects and trees can make one.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import blake3

from .cache_file import CacheDamaged
from .ids import ID_BYTES
from .index import ENTRY_BYTES, PackColumns

MAC_BYTES = 16
_INDEX = struct.Struct("<5s32sQQQ")
_PACK = struct.Struct("<5s32s32sQQQQQ")
_LIMIT = struct.Struct("<5sQ")
_SUM = struct.Struct("<5sqQQ")
_METADATA = struct.Struct("<5s32sQ")

SCHEMA = """
create table indexes(
    row integer primary key, id blob not null unique, packs integer not null,
    blobs integer not null, mac blob not null);
create table packs(
    first integer primary key, id blob not null, kind integer not null, size integer not null,
    keys integer not null, count integer not null, index_row integer not null,
    mac blob not null, entries blob not null);
create index packs_by_id on packs(id);
create index packs_by_index on packs(index_row);
create table limits(row integer primary key, value integer not null, mac blob not null);
create table metadata(
    id blob not null, kind integer not null, mac blob not null, plain blob not null,
    primary key(id, kind)) without rowid;
"""


class RowMac:
    """Makes and checks the keyed hashes of rows; ``key`` is 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def index(self, index_id: bytes, row: int, packs: int, blobs: int) -> bytes:
        """Return the hash of an index object's row."""
        head = _INDEX.pack(b"index", _id(index_id), row, packs, blobs)
        return blake3.blake3(head, key=self._key).digest(MAC_BYTES)

    def pack(self, index_id: bytes, first: int, pack: PackColumns) -> bytes:
        """Return the hash of a pack's row, which says that this index object describes it so."""
        if len(pack.entries) != pack.count * ENTRY_BYTES:
            raise ValueError("entries of another number of blobs")
        head = _PACK.pack(
            b"pack",
            _id(index_id),
            _id(pack.id),
            first,
            pack.kind,
            pack.size_bytes,
            pack.key_count,
            pack.count,
        )
        hasher = blake3.blake3(head, key=self._key)
        return hasher.update(pack.entries).digest(MAC_BYTES)

    def limit(self, number: int) -> bytes:
        """Return the hash of the row that says which numbers are free."""
        head = _LIMIT.pack(b"limit", number)
        return blake3.blake3(head, key=self._key).digest(MAC_BYTES)

    def sum(self, part: int, count: int, total: int) -> bytes:
        """Return the hash of the row that says how many keys are in one part, and their sum."""
        head = _SUM.pack(b"sum", part, count, total)
        return blake3.blake3(head, key=self._key).digest(MAC_BYTES)

    def metadata(self, id_: bytes, kind: int, plain: bytes) -> bytes:
        """Return the hash of a metadata blob's row."""
        head = _METADATA.pack(b"blob", _id(id_), kind)
        return blake3.blake3(head, key=self._key).update(plain).digest(MAC_BYTES)

    def verified_pack(self, row: Sequence[Any]) -> PackColumns:
        """Return the pack of a row: first, id, kind, size, keys, count, mac, index id, entries.

        Raises:
            CacheDamaged: the row is not as it was written.
        """
        first, id_, kind, size, keys, count, mac, index_id, entries = row
        pack = PackColumns(id_, kind, size, keys, count, entries)
        require(mac, lambda: self.pack(index_id, first, pack))
        return pack


def require(mac: object, expected: Callable[[], bytes]) -> None:
    """Stop where a row does not carry its hash, or its columns are not of their types.

    Raises:
        CacheDamaged: so it is.
    """
    try:
        good = mac == expected()
    except (TypeError, ValueError, struct.error) as error:
        raise CacheDamaged(str(error)) from error
    if not good:
        raise CacheDamaged("a row that was not written by snap")


def _id(value: bytes) -> bytes:
    # struct would fill up or cut an id of another length.
    if len(value) != ID_BYTES:
        raise ValueError("an id of another length")
    return value
