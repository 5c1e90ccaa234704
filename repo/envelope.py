"""Sealed objects: index, snapshots, leases and the like (spec/FORMAT.md §4.2)."""

import os
from collections.abc import Mapping
from typing import Any

from . import codec
from .codec import DecodeError
from .crypto import SALT_BYTES, Keys, seal, unseal
from .ids import FORMAT_VERSION, NO_ID, Kind

_MAGIC = b"SNAPOBJ\0"
_HEADER_BYTES = 8 + 4 + SALT_BYTES


def seal_object(keys: Keys, kind: Kind, body: Mapping[str, Any], id_: bytes = NO_ID) -> bytes:
    """Return the stored bytes of a sealed object.

    ``id_`` is the lease's id for leases, zeros for everything else.
    """
    plain = codec.encode(body)
    packed = codec.compress(plain)
    payload = b"\1" + packed if len(packed) < len(plain) else b"\0" + plain
    salt = os.urandom(SALT_BYTES)
    header = _MAGIC + bytes((FORMAT_VERSION, kind, 0, 0)) + salt
    return header + seal(keys.object_key(kind, salt), keys.aad(kind, id_), payload)


def open_object(keys: Keys, kind: Kind, stored: bytes, id_: bytes = NO_ID) -> dict[str, Any]:
    """Return the body of a sealed object.

    Raises:
        DecodeError: damaged, another kind, another repository's, or not a map.
    """
    if len(stored) < _HEADER_BYTES or stored[:8] != _MAGIC:
        raise DecodeError("not a sealed object")
    if stored[8:12] != bytes((FORMAT_VERSION, kind, 0, 0)):
        raise DecodeError(f"not a sealed object of kind {kind.name.lower()}, version 1")
    salt = stored[12:_HEADER_BYTES]
    ciphertext = memoryview(stored)[_HEADER_BYTES:]
    payload = unseal(keys.object_key(kind, salt), keys.aad(kind, id_), ciphertext)
    match payload[:1]:
        case b"\0":
            body = payload[1:]
            if len(body) > codec.BODY_LIMIT_BYTES:
                raise DecodeError("a body is too large")
        case b"\1":
            body = codec.decompress(memoryview(payload)[1:], codec.BODY_LIMIT_BYTES)
        case _:
            raise DecodeError("an unknown compression")
    return codec.decode(body)
