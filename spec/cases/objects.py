"""Cases of sealed objects, blobs and packs."""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import zstandard
from blake3 import blake3

from spec.cases import companions
from spec.cases.case import (
    BAD,
    BLOB_COLUMNS,
    EMPTY_INDEX,
    OK,
    OTHER_REPOSITORY,
    OTHER_SECRET,
    PRIVATE,
    REFUSED,
    REPOSITORY,
    SALT,
    SECRET,
    Case,
    encrypt,
    flipped,
    pack,
)
from spec.reader import associated_data, derive, keyed


def sealed(
    body: Any, kind: int = 17, id_: bytes = bytes(32), *, start: bytes = b"", payload: bytes = b""
) -> bytes:
    """Return a sealed object; `payload` instead of the body as it is, `start` as its magic."""
    key = keyed(derive("object", SECRET), bytes((kind,)) + SALT)
    plain = payload or b"\0" + pack(body)
    aad = associated_data(REPOSITORY, kind, id_)
    head = start or b"SNAPOBJ\0\1" + bytes((kind, 0, 0))
    return head + SALT + encrypt(key, bytes(12), plain, aad)


def sealed_objects() -> Iterator[Case]:
    """§4.2."""
    lease = {"operation": "backup", "hostname": "h", "pid": 7, "started": 1, "renewals": 0}
    inputs = {
        "metadata_secret": SECRET.hex(),
        "repository_id": REPOSITORY.hex(),
        "kind": "17",
        "id": bytes(32).hex(),
    }
    index = EMPTY_INDEX
    good = sealed(index)
    result = {
        "packs": dict.fromkeys(index["packs"], ""),
        "blobs": dict.fromkeys(index["blobs"], ""),
    }
    yield Case("index", OK, "an index object of nothing", good, inputs, result)
    frame = b"\1" + zstandard.compress(pack(index))
    yield Case("compressed", OK, "one zstd frame", sealed(index, payload=frame), inputs, result)
    as_snapshot = {**inputs, "kind": "18"}
    yield Case("snapshot", OK, "kind 18", sealed({"time": 1}, 18), as_snapshot, {"time": 1})
    id_ = blake3(b"lease").digest()
    leased = {**inputs, "kind": "19", "id": id_.hex()}
    yield Case("lease", OK, "a lease has its id in the aad", sealed(lease, 19, id_), leased, lease)
    yield Case("lease-as-another", BAD, "the lease under another id", sealed(lease, 19), leased)
    yield Case("wrong-kind", REFUSED, "an index object as a snapshot", good, as_snapshot)
    forged = sealed(index, start=b"SNAPOBJ\0\1\x12\0\0")
    yield Case(
        "kind-forged", BAD, "an index object whose header says snapshot", forged, as_snapshot
    )
    moved = {**inputs, "repository_id": OTHER_REPOSITORY.hex()}
    yield Case("other-repository", BAD, "moved from another repository", good, moved)
    other = {**inputs, "metadata_secret": OTHER_SECRET.hex()}
    yield Case("other-secret", BAD, "another metadata secret", good, other)
    yield Case("salt-flipped", BAD, "a bit of the salt", flipped(good, 20), inputs)
    yield Case("body-flipped", BAD, "a bit of the ciphertext", flipped(good, 50), inputs)
    yield Case("tag-flipped", BAD, "a bit of the tag", flipped(good, -1), inputs)
    yield Case("truncated", BAD, "the last byte is missing", good[:-1], inputs)
    yield Case("cut-in-header", REFUSED, "30 bytes", good[:30], inputs)
    yield Case("empty", REFUSED, "no bytes at all", b"", inputs)
    for name, start in (
        ("version-2", b"SNAPOBJ\0\2\x11\0\0"),
        ("reserved", b"SNAPOBJ\0\1\x11\0\1"),
        ("magic", b"SNAPOBJX\1\x11\0\0"),
    ):
        yield Case(name, REFUSED, "a header that cannot be", sealed(index, start=start), inputs)
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 20))
    for name, payload, comment in (
        ("compression-2", b"\2" + pack(index), "an unknown compression"),
        ("frame-cut", frame[:-1], "a zstd frame without its end"),
        ("frame-garbage", b"\1garbage", "no zstd frame"),
        ("frame-trailing", frame + b"\0", "a byte after the zstd frame"),
        ("frame-no-size", b"\1" + unsized_frame(pack(index)), "a frame without its content size"),
        ("frame-claims", b"\1" + claiming_frame(1 << 31), "a frame that claims 2 GiB"),
        ("frame-of-zeros", b"\1" + bomb, "1 MiB of zeros: not a map"),
        ("list", b"\0\x90", "a list instead of a map"),
        ("trailing", b"\0" + pack(index) + b"\0", "a byte after the map"),
        ("only-compression", b"\0", "no body"),
    ):
        yield Case(name, REFUSED, comment, sealed(None, payload=payload), inputs)


def unsized_frame(plain: bytes) -> bytes:
    """Return a zstd frame without its content size."""
    return zstandard.ZstdCompressor(write_content_size=False).compress(plain)


def claiming_frame(size: int) -> bytes:
    """Return a zstd frame with an 8-byte content size and one empty block."""
    return b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + b"\x01\0\0"


def blob_id_of(kind: int, plain: bytes) -> bytes:
    """Return a blob's id."""
    return keyed(derive("blob id", SECRET), bytes((kind,)) + plain)


def blob_ids() -> Iterator[Case]:
    """§6.1."""
    for name, kind, plain in (("data", 1, b"abc"), ("tree", 2, b"abc"), ("empty", 1, b"")):
        inputs = {"metadata_secret": SECRET.hex(), "kind": str(kind)}
        yield Case(name, OK, "the kind is part of it", plain, inputs, blob_id_of(kind, plain).hex())


def blobs() -> Iterator[Case]:
    """§6.2."""
    plain, key = b"content " * 20, SALT
    id_ = blob_id_of(1, plain)
    aad = associated_data(REPOSITORY, 1, id_)
    nonce = struct.pack("<IQ", 5, 0)
    inputs = {
        "metadata_secret": SECRET.hex(),
        "repository_id": REPOSITORY.hex(),
        "pack_key": key.hex(),
        "id": id_.hex(),
        "kind": "1",
        "compression": "0",
        "nonce": "5",
        "raw_length": str(len(plain)),
    }
    good = encrypt(key, nonce, plain, aad)
    frame = zstandard.compress(plain)
    packed = encrypt(key, nonce, frame, aad)
    zstd = {**inputs, "compression": "1"}
    yield Case("raw", OK, "as it is", good, inputs, plain.hex())
    yield Case("zstd", OK, "one zstd frame", packed, zstd, plain.hex())
    yield Case("flipped", BAD, "a bit of the ciphertext", flipped(good, 3), inputs)
    yield Case("truncated", BAD, "the last byte is missing", good[:-1], inputs)
    yield Case("too-short", BAD, "shorter than a tag", good[:15], inputs)
    for name, key_, value in (
        ("other-nonce", "nonce", "6"),
        ("other-kind", "kind", "2"),
        ("other-id", "id", blob_id_of(1, b"other").hex()),
        ("other-repository", "repository_id", OTHER_REPOSITORY.hex()),
        ("other-key", "pack_key", SECRET.hex()),
        ("other-secret", "metadata_secret", OTHER_SECRET.hex()),
        ("raw-length-short", "raw_length", "159"),
        ("raw-length-long", "raw_length", "161"),
    ):
        yield Case(name, BAD, f"opened with {name}", good, {**inputs, key_: value})
    compression = {**inputs, "compression": "2"}
    yield Case("compression-2", REFUSED, "an unknown compression", good, compression)
    large = {**inputs, "raw_length": str((64 << 20) + 1)}
    yield Case("raw-length-limit", REFUSED, "over 64 MiB", good, large)
    yield Case("zstd-not-a-frame", BAD, "raw said to be zstd", good, zstd)
    yield Case(
        "zstd-raw-length-short", BAD, "more than raw_length", packed, {**zstd, "raw_length": "159"}
    )
    for name, body in (("trailing", frame + b"\0"), ("claims", claiming_frame(1 << 40))):
        stored = encrypt(key, nonce, body, aad)
        yield Case(f"zstd-{name}", REFUSED, "a frame that cannot be", stored, zstd)
    lie = encrypt(key, nonce, b"another content", aad)
    short = {**inputs, "raw_length": "15"}
    yield Case("content-of-another", BAD, "authentic, but not what its id says", lie, short)
    yield from companions.blobs()


class Blob(NamedTuple):
    """A blob to be packed, and what its directory record should say otherwise."""

    kind: int
    plain: bytes
    changes: dict[str, Any] = {}  # noqa: RUF012 - never changed


RECORD_FIELDS = ("id", *BLOB_COLUMNS)


def make_pack(
    kind: int,
    contents: list[Blob],
    *,
    head: bytes = b"",
    tail: bytes = b"",
    sealed_for: bytes = REPOSITORY,
) -> bytes:
    """Return a pack of raw blobs; `head` and `tail` instead of its own first 12, last 12 bytes."""
    key = SALT if kind == 1 else keyed(derive("meta pack", SECRET), SALT)
    table = PRIVATE.public().seal_pack_key(key, sealed_for) if kind == 1 else SALT
    header = (head or b"SNAPPACK\1" + bytes((kind, 1, 0))) + table
    pack_bytes, records = header, b""
    for number, blob in enumerate(contents):
        id_ = blob.changes.get("id") or blob_id_of(blob.kind, blob.plain)
        aad = associated_data(REPOSITORY, blob.kind, id_)
        stored = encrypt(key, struct.pack("<IQ", number, 0), blob.plain, aad)
        values = (id_, blob.kind, 0, 0, number, len(pack_bytes), len(stored), len(blob.plain))
        record = {**dict(zip(RECORD_FIELDS, values, strict=True)), **blob.changes}
        records += struct.pack("<32sBBHIIII", *record.values())
        pack_bytes += stored
    records = records[:-1] if tail == b"odd" else records
    aad = associated_data(REPOSITORY, 16, blake3(header).digest())
    directory = SALT + encrypt(
        keyed(derive("pack directory", SECRET), SALT), bytes(12), records, aad
    )
    end = struct.pack("<I", len(directory)) + b"SNAPDIR\0"
    return pack_bytes + directory + (tail if len(tail) == 12 else end)


def two_keys_pack() -> bytes:
    """Return a metadata pack whose only blob was sealed with the second of its keys."""
    salts = SALT[::-1] + SALT
    header = b"SNAPPACK\1\2\2\0" + salts
    id_ = blob_id_of(2, b"moved")
    key = keyed(derive("meta pack", SECRET), SALT)
    nonce = struct.pack("<IQ", 70_000, 0)
    stored = encrypt(key, nonce, b"moved", associated_data(REPOSITORY, 2, id_))
    record = struct.pack("<32sBBHIIII", id_, 2, 0, 1, 70_000, len(header), len(stored), 5)
    directory_key = keyed(derive("pack directory", SECRET), SALT)
    aad = associated_data(REPOSITORY, 16, blake3(header).digest())
    directory = SALT + encrypt(directory_key, bytes(12), record, aad)
    return header + stored + directory + struct.pack("<I", len(directory)) + b"SNAPDIR\0"


def two_keys_result() -> list[list[Any]]:
    """Return what `two_keys_pack` decodes to."""
    id_ = blob_id_of(2, b"moved").hex()
    return [[id_, 2, 0, 1, 70_000, 12 + 64, 21, 5, b"moved".hex()]]


PACK_INPUTS = {
    "metadata_secret": SECRET.hex(),
    "repository_id": REPOSITORY.hex(),
    "data_private": PRIVATE.raw.hex(),
}


def pack_case(name: str, expect: str, comment: str, body: bytes, result: Any = None) -> Case:
    """Return the case of a pack under its own name."""
    inputs = {**PACK_INPUTS, "id": blake3(body).hexdigest()}
    return Case(name, expect, comment, body, inputs, result)


def packs() -> Iterator[Case]:
    """§7."""
    data, trees = [Blob(1, b"first"), Blob(1, b"")], [Blob(2, b"tree"), Blob(3, b"extents")]
    yield from whole_packs(data, trees)
    yield from damaged_packs(data, trees)
    yield from impossible_packs(trees)


def whole_packs(data: list[Blob], trees: list[Blob]) -> Iterator[Case]:
    """Yield packs that open, of either kind, of nothing, and of a companion."""
    for name, kind, contents in (("data", 1, data), ("meta", 2, trees), ("nothing", 2, [])):
        offset, result = 12 + (1168 if kind == 1 else 32), []
        for number, blob in enumerate(contents):
            stored, plain = len(blob.plain) + 16, blob.plain
            numbers = [blob.kind, 0, 0, number, offset, stored, len(plain)]
            result.append([blob_id_of(blob.kind, plain).hex(), *numbers, plain.hex()])
            offset += stored
        yield pack_case(name, OK, "every blob opens", make_pack(kind, contents), result)
    companion = companions.digests_id_of(blob_id_of(1, b"first"), 0)
    plain = pack(companions.digests_body())
    body = make_pack(2, [Blob(4, plain, {"id": companion})])
    record = [companion.hex(), 4, 0, 0, 0, 12 + 32, len(plain) + 16, len(plain), plain.hex()]
    yield pack_case("companion", OK, "a digests blob under its derived id", body, [record])


def damaged_packs(data: list[Blob], trees: list[Blob]) -> Iterator[Case]:
    """Yield packs that were renamed, moved or changed, and in their midst one of two keys."""
    good = make_pack(2, trees)
    named = {**PACK_INPUTS, "id": blake3(good).hexdigest()}
    yield Case("renamed", BAD, "not what its name says", good, {**named, "id": SALT.hex()})
    moved = {**named, "repository_id": OTHER_REPOSITORY.hex()}
    yield Case("other-repository", BAD, "moved from another repository", good, moved)
    other = {**named, "metadata_secret": OTHER_SECRET.hex()}
    yield Case("other-secret", BAD, "another metadata secret", good, other)
    body = make_pack(1, data, sealed_for=OTHER_REPOSITORY)
    yield pack_case("sealed-key-moved", BAD, "a pack key sealed for another repository", body)
    yield pack_case("two-keys", OK, "as prune makes them", two_keys_pack(), two_keys_result())
    sealed_key = flipped(make_pack(1, data), 100)
    yield pack_case("sealed-key-flipped", BAD, "the header is bound to the directory", sealed_key)
    yield pack_case("salt-flipped", BAD, "the header is bound to the directory", flipped(good, 20))
    yield pack_case("blob-flipped", BAD, "a bit of a blob", flipped(good, 50))
    yield pack_case("directory-flipped", BAD, "a bit of the directory", flipped(good, -20))


def impossible_packs(trees: list[Blob]) -> Iterator[Case]:
    """Yield packs whose form is wrong; whoever made them had the keys."""
    good = make_pack(2, trees)
    for name, body in (
        ("empty", b""),
        ("magic", flipped(good, 0)),
        ("version-2", make_pack(2, trees, head=b"SNAPPACK\2\2\1\0")),
        ("kind-3", make_pack(2, trees, head=b"SNAPPACK\1\3\1\0")),
        ("no-keys", make_pack(2, trees, head=b"SNAPPACK\1\2\0\0")),
        ("keys-beyond-the-end", make_pack(2, trees, head=b"SNAPPACK\1\2\xff\xff")),
        ("truncated", good[:-1]),
        ("half", good[: len(good) // 2]),
        ("header-only", good[:44]),
        ("footer-magic", flipped(good, -1)),
        ("directory-too-short", make_pack(2, [], tail=struct.pack("<I", 47) + b"SNAPDIR\0")),
        ("directory-too-long", make_pack(2, [], tail=b"\xff\xff\xff\xffSNAPDIR\0")),
        ("odd-records", make_pack(2, trees, tail=b"odd")),
        ("gap", make_pack(2, [trees[0], Blob(2, b"x", {"offset": 65})])),
        ("overlap", make_pack(2, [trees[0], Blob(2, b"x", {"offset": 63})])),
        ("before-the-header", make_pack(2, [Blob(2, b"x", {"offset": 0})])),
        ("too-long", make_pack(2, [Blob(2, b"x", {"stored": 18})])),
        ("too-short", make_pack(2, [Blob(2, b"x", {"stored": 16})])),
        ("beyond-the-end", make_pack(2, [Blob(2, b"x", {"stored": 0xFFFFFFFF})])),
        ("key-outside", make_pack(2, [Blob(2, b"x", {"key": 1})])),
        ("raw-length", make_pack(2, [Blob(2, b"x", {"raw": (64 << 20) + 1})])),
        ("data-in-meta", make_pack(2, [Blob(1, b"x")])),
        ("tree-in-data", make_pack(1, [Blob(2, b"x")])),
        ("companion-in-data", make_pack(1, [Blob(4, b"x")])),
        ("blob-kind-5", make_pack(2, [Blob(5, b"x")])),
        ("compression-7", make_pack(2, [Blob(2, b"x", {"compression": 7})])),
    ):
        yield pack_case(name, REFUSED, f"a pack that cannot be: {name}", body)
