"""Cases of digests blobs, the companions of data blobs (spec/FORMAT.md §7.6)."""

import struct
from collections.abc import Iterator
from typing import Any

from blake3 import blake3

from spec.cases.case import (
    BAD,
    OK,
    REFUSED,
    REPOSITORY,
    SALT,
    SECRET,
    Case,
    broken_msgpack,
    encrypt,
    flipped,
    pack,
)
from spec.reader import associated_data, derive, keyed

DATA_BLOB = blake3(b"a data blob").digest()
OTHER_BLOB = blake3(b"another data blob").digest()
CHUNKS = [b"first", b"second chunk", bytes(4096)]


def chunk_digest_of(chunk: bytes) -> bytes:
    """Return a chunk's digest."""
    return keyed(derive("chunk digest", SECRET), chunk)[:16]


def digests_id_of(blob: bytes, unit: int) -> bytes:
    """Return the id of a data blob's companion."""
    message = b"\4" + blob + struct.pack("<I", unit)
    return keyed(derive("blob id", SECRET), message)


def digests_body(**changes: Any) -> dict[str, Any]:
    """Return the map of the companion of a blob of `CHUNKS`."""
    lengths = struct.pack(f"<{len(CHUNKS)}I", *map(len, CHUNKS))
    joined = b"".join(map(chunk_digest_of, CHUNKS))
    return {"digests": joined, "lengths": lengths, **changes}


def chunk_digests() -> Iterator[Case]:
    """§7.6."""
    inputs = {"metadata_secret": SECRET.hex()}
    for name, chunk in (("text", b"abc"), ("empty", b""), ("page-of-zeros", bytes(512))):
        yield Case(name, OK, "the first 16 bytes", chunk, inputs, chunk_digest_of(chunk).hex())


def digests_ids() -> Iterator[Case]:
    """§7.6."""
    for unit in (0, 512, 4096, 65_536):
        inputs = {"metadata_secret": SECRET.hex(), "id": DATA_BLOB.hex(), "unit": str(unit)}
        result = digests_id_of(DATA_BLOB, unit).hex()
        yield Case(f"unit-{unit}", OK, "the unit is part of it", b"", inputs, result)


def digests() -> Iterator[Case]:
    """§7.6."""
    good = digests_body()
    result = [[len(chunk), chunk_digest_of(chunk).hex()] for chunk in CHUNKS]
    yield Case("three-chunks", OK, "of unequal lengths", pack(good), {}, result)
    one = {"digests": good["digests"][:16], "lengths": good["lengths"][:4]}
    yield Case("one-chunk", OK, "the blob is one chunk", pack(one), {}, result[:1])
    backwards = {key: good[key] for key in ("lengths", "digests")}
    yield Case("keys-backwards", OK, "keys in another order", pack(backwards), {}, result)
    yield from broken_msgpack(good, result, {})
    for name, bad in (
        ("no-chunks", {"digests": b"", "lengths": b""}),
        ("no-digests", digests_body(digests=b"")),
        ("no-lengths", digests_body(lengths=b"")),
        ("length-zero", digests_body(lengths=struct.pack("<3I", 5, 0, 4096))),
        ("lengths-cut", digests_body(lengths=good["lengths"][:-1])),
        ("lengths-short", digests_body(lengths=good["lengths"][:-4])),
        ("lengths-long", digests_body(lengths=good["lengths"] + b"\1\0\0\0")),
        ("digests-cut", digests_body(digests=good["digests"][:-1])),
        ("digests-short", digests_body(digests=good["digests"][:-16])),
        ("digests-long", digests_body(digests=good["digests"] + bytes(16))),
        ("digests-of-32-bytes", digests_body(digests=good["digests"] * 2)),
        ("digests-missing", {"lengths": good["lengths"]}),
        ("lengths-missing", {"digests": good["digests"]}),
        ("digests-as-text", digests_body(digests=good["digests"].hex()[:48])),
        ("lengths-as-text", digests_body(lengths="x" * 12)),
        ("lengths-as-list", digests_body(lengths=[5, 12, 4096])),
        ("digests-nil", digests_body(digests=None)),
    ):
        yield Case(name, REFUSED, f"digests that cannot be: {name}", pack(bad), {})


def blobs() -> Iterator[Case]:
    """§6.1, §7.6: a companion in its stored form, proved by its aad alone."""
    plain = pack(digests_body())
    id_ = digests_id_of(DATA_BLOB, 4096)
    aad = associated_data(REPOSITORY, 4, id_)
    stored = encrypt(SALT, struct.pack("<IQ", 5, 0), plain, aad)
    inputs = {
        "metadata_secret": SECRET.hex(),
        "repository_id": REPOSITORY.hex(),
        "pack_key": SALT.hex(),
        "id": id_.hex(),
        "kind": "4",
        "compression": "0",
        "nonce": "5",
        "raw_length": str(len(plain)),
    }
    yield Case("companion", OK, "opens under its derived id", stored, inputs, plain.hex())
    hashed = keyed(derive("blob id", SECRET), b"\4" + plain)
    for name, value in (
        ("of-another-blob", digests_id_of(OTHER_BLOB, 4096)),
        ("of-another-unit", digests_id_of(DATA_BLOB, 0)),
        ("as-its-data-blob", DATA_BLOB),
        ("by-its-content", hashed),
    ):
        changed = {**inputs, "id": value.hex()}
        yield Case(f"companion-{name}", BAD, "opened under another id", stored, changed)
    as_extents = {**inputs, "kind": "3"}
    yield Case("companion-as-extents", BAD, "opened as of kind 3", stored, as_extents)
    other = {**inputs, "raw_length": str(len(plain) - 1)}
    yield Case("companion-raw-length", BAD, "longer than raw_length", stored, other)
    yield Case("companion-flipped", BAD, "a bit of the ciphertext", flipped(stored, 3), inputs)
    unproved = encrypt(SALT, struct.pack("<IQ", 5, 0), plain, associated_data(REPOSITORY, 3, id_))
    extents = {**inputs, "kind": "3"}
    yield Case("extents-by-derived-id", BAD, "only kind 4 has such ids", unproved, extents)
