import random

import pytest

from snap.repo.codec import DecodeError
from snap.repo.crypto import DataPrivateKey, Keys
from snap.repo.digests import STREAM_UNIT, Chunks
from snap.repo.ids import BlobId, Kind
from snap.repo.pack import (
    DATA_PACK,
    META_PACK,
    PackBuilder,
    PackSummary,
    PendingBlob,
    check_entries,
    open_blob,
    open_pack_key,
    parse_header,
    read_directory,
)

PRIVATE = DataPrivateKey.generate()
KEYS = Keys(b"r" * 16, b"s" * 32, PRIVATE.public(), PRIVATE)
WRITER = Keys(b"r" * 16, b"s" * 32, PRIVATE.public(), None)


COMPANION = Chunks(STREAM_UNIT, (3, 2)).companion(KEYS, b"abcde").encode()


def build_one(kind: Kind, id_: BlobId, plain: bytes) -> tuple[bytes, PackSummary]:
    builder = PackBuilder(KEYS, META_PACK)
    blob = PendingBlob(id_, kind, 0, plain, len(plain))
    nonce = builder.reserve(blob)
    builder.add(blob, nonce, builder.encrypt(blob, nonce))
    builder.closed = True
    pack, summary, _ = builder.finish(random.Random(1).shuffle, bytearray)
    return bytes(pack), summary


def build(kind: int, plains: list[bytes]) -> tuple[bytes, PackSummary]:
    blob_kind = Kind.DATA if kind == DATA_PACK else Kind.TREE
    builder = PackBuilder(KEYS, kind)
    for plain in plains:
        blob = PendingBlob(KEYS.blob_id(blob_kind, plain), blob_kind, 0, plain, len(plain))
        nonce = builder.reserve(blob)
        builder.add(blob, nonce, builder.encrypt(blob, nonce))
    builder.closed = True
    assert builder.is_complete()
    pack, summary, _ = builder.finish(random.Random(1).shuffle, bytearray)
    builder.check_tags(pack, summary.entries)
    return bytes(pack), summary


def reader(pack: bytes):  # type: ignore[no-untyped-def]
    return lambda offset, length: pack[offset : offset + length]


PLAINS = [bytes([n]) * (n + 1) for n in range(20)]


@pytest.mark.parametrize("kind", [DATA_PACK, META_PACK])
def test_every_blob_of_a_pack_opens_from_its_directory(kind: int) -> None:
    pack, summary = build(kind, PLAINS)
    header, entries = read_directory(KEYS, len(pack), reader(pack))
    assert entries == summary.entries
    assert summary.header_bytes == len(header.raw) == entries[0].offset
    key = open_pack_key(KEYS, header, 0)
    opened = [open_blob(KEYS, key, e, pack[e.offset : e.offset + e.stored_length]) for e in entries]
    assert sorted(opened) == sorted(PLAINS)
    assert opened != PLAINS, "the blobs lie in shuffled order"


def test_a_writer_reads_the_directory_of_a_data_pack_and_no_blob() -> None:
    pack, summary = build(DATA_PACK, PLAINS)
    header, entries = read_directory(WRITER, len(pack), reader(pack))
    assert entries == summary.entries
    with pytest.raises(ValueError, match="full key"):
        open_pack_key(WRITER, header, 0)


def test_a_blob_does_not_open_as_another() -> None:
    pack, _ = build(DATA_PACK, PLAINS)
    header, entries = read_directory(KEYS, len(pack), reader(pack))
    key = open_pack_key(KEYS, header, 0)
    first, second = entries[:2]
    stored = pack[first.offset : first.offset + first.stored_length]
    for wrong in (
        first._replace(id=second.id),
        first._replace(kind=Kind.TREE),
        first._replace(nonce=second.nonce),
        first._replace(compression=1),
        first._replace(compression=9),
        first._replace(raw_length=first.raw_length + 1),
        first._replace(raw_length=1 << 30),
    ):
        with pytest.raises(DecodeError):
            open_blob(KEYS, key, wrong, stored)
    with pytest.raises(DecodeError, match="no key"):
        open_pack_key(KEYS, header, 1)


def test_a_companion_opens_under_the_id_derived_from_its_data_blob_and_no_other() -> None:
    blob, other = KEYS.blob_id(Kind.DATA, b"abcde"), KEYS.blob_id(Kind.DATA, b"other")
    pack, summary = build_one(Kind.DIGESTS, KEYS.digests_id(blob, 0), COMPANION)
    header, [entry] = read_directory(WRITER, len(pack), reader(pack))
    assert (entry,) == summary.entries
    key = open_pack_key(WRITER, header, 0)
    stored = pack[entry.offset : entry.offset + entry.stored_length]
    assert open_blob(WRITER, key, entry, stored) == COMPANION
    for wrong in (
        entry._replace(id=KEYS.digests_id(blob, 4096)),
        entry._replace(id=KEYS.digests_id(other, 0)),
        entry._replace(id=KEYS.blob_id(Kind.DIGESTS, COMPANION)),
        entry._replace(id=blob),
        entry._replace(kind=Kind.EXTENTS),
        entry._replace(raw_length=entry.raw_length - 1),
        entry._replace(raw_length=entry.raw_length + 1),
    ):
        with pytest.raises(DecodeError):
            open_blob(WRITER, key, wrong, stored)


@pytest.mark.parametrize("kind", [Kind.TREE, Kind.EXTENTS])
def test_only_companions_have_ids_that_are_not_their_hash(kind: Kind) -> None:
    pack, _ = build_one(kind, KEYS.digests_id(BlobId(bytes(32)), 0), COMPANION)
    header, [entry] = read_directory(KEYS, len(pack), reader(pack))
    key = open_pack_key(KEYS, header, 0)
    with pytest.raises(DecodeError, match="id says"):
        open_blob(KEYS, key, entry, pack[entry.offset : entry.offset + entry.stored_length])


def test_truncated_and_flipped_packs_do_not_open() -> None:
    pack, _ = build(META_PACK, PLAINS)
    for length in (0, 5, 12, 40, len(pack) // 2, len(pack) - 1):
        with pytest.raises(DecodeError):
            read_directory(KEYS, length, reader(pack[:length]))
    for at in [0, 8, 9, 10, 20, len(pack) - 1, len(pack) - 9, len(pack) - 12, len(pack) - 60]:
        damaged = bytearray(pack)
        damaged[at] ^= 1
        with pytest.raises(DecodeError):
            read_directory(KEYS, len(pack), reader(bytes(damaged)))


def test_entries_that_overlap_leave_gaps_or_lie_are_refused() -> None:
    pack, summary = build(META_PACK, PLAINS[:3])
    header = parse_header(pack[: summary.header_bytes])
    end = summary.entries[-1].offset + summary.entries[-1].stored_length
    check_entries(summary.entries, header, end)
    first, second, third = summary.entries
    for wrong in (
        (first, third),
        (first, second),
        (first, second._replace(offset=second.offset - 1), third),
        (first, second, third._replace(kind=Kind.DATA)),
        (first, second, third._replace(kind=99)),
        (first, second, third._replace(key=1)),
        (first, second, third._replace(raw_length=(64 << 20) + 1)),
    ):
        with pytest.raises(DecodeError):
            check_entries(wrong, header, end)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SNAPPACK",
        b"SNAPPACK\x02\x01\x01\x00",
        b"SNAPPACK\x01\x03\x01\x00",
        b"SNAPPACK\x01\x02\x00\x00",
    ],
)
def test_headers_of_other_versions_kinds_or_without_keys_are_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_header(raw)
