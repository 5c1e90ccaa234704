"""Ids and kinds: what things are called (spec/FORMAT.md §1, §2)."""

from enum import IntEnum
from typing import NewType

import blake3

BlobId = NewType("BlobId", bytes)
"""32 bytes: keyed hash of a blob's kind and plaintext."""

ObjectId = NewType("ObjectId", bytes)
"""32 bytes: BLAKE3 of an object's stored bytes (random for leases)."""

ID_BYTES = 32
NO_ID = bytes(ID_BYTES)
FORMAT_VERSION = 1


class Kind(IntEnum):
    """What a sealed thing is; authenticated with it (spec/FORMAT.md §1)."""

    DATA = 1
    TREE = 2
    EXTENTS = 3
    DIGESTS = 4
    DIRECTORY = 16
    INDEX = 17
    SNAPSHOT = 18
    LEASE = 19
    DOOMED = 20
    CHECK = 21
    AUDIT = 22
    KEY_SLOT = 32


METADATA_BLOBS = frozenset({Kind.TREE, Kind.EXTENTS, Kind.DIGESTS})


def object_id(stored: bytes | bytearray | memoryview) -> ObjectId:
    """Return the id of an object from its stored bytes."""
    # Larger inputs gain from blake3's own threads only beyond what a pack is; keep it single.
    return ObjectId(blake3.blake3(stored).digest())


def split_ids(joined: bytes) -> list[BlobId]:
    """Split ids that were stored one after the other.

    Raises:
        ValueError: the length is no multiple of 32.
    """
    if len(joined) % ID_BYTES:
        raise ValueError("a list of ids has a length that is no multiple of 32")
    return [BlobId(joined[i : i + ID_BYTES]) for i in range(0, len(joined), ID_BYTES)]


def pack_name(kind: int, pack_id: bytes) -> str:
    """Return the object name of a pack; ``kind`` 1 for data, 2 for metadata."""
    digits = pack_id.hex()
    folder = "data" if kind == Kind.DATA else "meta"
    return f"{folder}/{digits[:2]}/{digits}"


def id_of_name(name: str) -> ObjectId | None:
    """Return the id at the end of an object's name, None where there is none."""
    digits = name.rpartition("/")[2]
    if len(digits) != 2 * ID_BYTES or digits != digits.lower():
        return None
    try:
        return ObjectId(bytes.fromhex(digits))
    except ValueError:
        return None
