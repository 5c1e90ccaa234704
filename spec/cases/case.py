"""One case of spec/vectors, and what cases of several structures share: secrets, encodings."""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgpack
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from snap.repo.crypto import DataPrivateKey

SECRET = bytes(range(32))
OTHER_SECRET = bytes(range(1, 33))
REPOSITORY = bytes(range(0x40, 0x50))
OTHER_REPOSITORY = bytes(range(0x50, 0x60))
PRIVATE = DataPrivateKey(bytes(range(64)) + bytes(range(0x60, 0x80)))
SALT = bytes(range(0x80, 0xA0))
NONCE = bytes(range(12))
BLOB_COLUMNS = ("kind", "compression", "key", "nonce", "offset", "stored", "raw")
EMPTY_INDEX = {
    "packs": dict.fromkeys(("id", "kind", "size", "keys", "blobs"), b""),
    "blobs": dict.fromkeys(("id", *BLOB_COLUMNS), b""),
}
OK, BAD, REFUSED, PASSWORD, NEW = (
    "success",
    "integrity failure",
    "refused",
    "wrong password",
    "too new",
)


class Case(NamedTuple):
    """One file; `inputs` and `result` go into its header."""

    name: str
    expect: str
    comment: str
    body: bytes
    inputs: dict[str, str]
    result: Any = None


def pack(value: Any) -> bytes:
    """Return a value as msgpack."""
    return cast(bytes, msgpack.packb(value, use_bin_type=True))


def flipped(data: bytes, position: int) -> bytes:
    """Return data with one bit changed."""
    position %= len(data)
    return data[:position] + bytes((data[position] ^ 1,)) + data[position + 1 :]


def nested(depth: int) -> Any:
    """Return lists in lists; a map around them makes one level more."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def encrypt(key: bytes, nonce: bytes, plain: bytes, aad: bytes) -> bytes:
    """Return AES-GCM of plain."""
    return AESGCM(key).encrypt(nonce, plain, aad)


def broken_msgpack(good: dict[str, Any], result: Any, inputs: dict[str, str]) -> Iterator[Case]:
    """Yield what every structure in msgpack must refuse, and what it must take."""
    plain = pack(good)
    first = pack(next(iter(good)))
    pair = plain[1 : len(plain) - len(pack(dict(list(good.items())[1:]))) + 1]
    more = {**good, "of a later minor version": {"x": nested(30)}}
    yield Case(
        "unknown-key", OK, "a reader ignores keys it does not know", pack(more), inputs, result
    )
    deep = [("33", 32), ("1000", 999), ("20000", 19999)]
    for name, depth in deep:
        body = bytes((plain[0] + 1,)) + plain[1:] + pack("deep") + b"\x91" * (depth - 1) + b"\x90"
        yield Case(f"nested-{name}", REFUSED, f"nested {name} levels deep", body, inputs)
    twice = bytes((plain[0] + 1,)) + plain[1:] + pair
    yield Case("key-twice", REFUSED, f"the key {msgpack.unpackb(first)} twice", twice, inputs)
    yield Case("trailing", REFUSED, "a byte after the map", plain + b"\xc0", inputs)
    yield Case("truncated", REFUSED, "the last byte is missing", plain[:-1], inputs)
    yield Case("empty", REFUSED, "no bytes at all", b"", inputs)
    yield Case("not-a-map", REFUSED, "a list instead of a map", pack([good]), inputs)
    lies = b"\xdf\xff\xff\xff\xff" + plain[1:]
    yield Case("huge-map", REFUSED, "a map that claims 2^32-1 keys", lies, inputs)
    number = bytes((plain[0] + 1,)) + plain[1:] + b"\x07\x07"
    yield Case("key-not-text", REFUSED, "a map key that is a number", number, inputs)
    text = bytes((plain[0] + 1,)) + plain[1:] + b"\xa1x\xa1\xff"
    yield Case("not-utf-8", REFUSED, "a str that is not UTF-8", text, inputs)
