import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.repo.codec import DecodeError
from snap.repo.crypto import DataPublicKey, Keys
from snap.repo.digests import STREAM_UNIT, Chunks, Digests, decode_digests

chunks = st.lists(
    st.tuples(st.integers(1, 2**32 - 1), st.binary(min_size=16, max_size=16)), min_size=1
)
A, B = b"a" * 16, b"b" * 16
KEYS = Keys(b"r" * 16, b"s" * 32, DataPublicKey(b""), None)


def made_of(given_chunks: list[tuple[int, bytes]]) -> Digests:
    return Digests(tuple(c[0] for c in given_chunks), b"".join(c[1] for c in given_chunks))


@given(chunks)
def test_digests_come_back_from_their_blob(given_chunks: list[tuple[int, bytes]]) -> None:
    companion = decode_digests(made_of(given_chunks).encode())
    assert companion == made_of(given_chunks)
    assert len(companion) == len(given_chunks)
    assert [companion.digest(n) for n in range(len(companion))] == [c[1] for c in given_chunks]


@given(chunks)
def test_offsets_say_where_each_chunk_begins_and_where_the_blob_ends(
    given_chunks: list[tuple[int, bytes]],
) -> None:
    companion = made_of(given_chunks)
    assert companion.offsets[0] == 0
    assert companion.offsets[-1] == sum(companion.lengths)
    steps = zip(companion.offsets, companion.offsets[1:], strict=False)
    assert tuple(end - start for start, end in steps) == companion.lengths


def test_the_plaintext_is_the_map_of_the_specification_in_its_order() -> None:
    plain = Digests((5, 70_000), A + B).encode()
    assert list(msgpack.unpackb(plain).items()) == [
        ("digests", A + B),
        ("lengths", bytes.fromhex("05000000 70110100")),
    ]


GOOD = {"digests": A + B, "lengths": struct.pack("<2I", 5, 6)}


@pytest.mark.parametrize(
    "change",
    [
        {"digests": b"", "lengths": b""},
        {"digests": b""},
        {"digests": A},
        {"digests": A + B + A},
        {"digests": (A + B)[:-1]},
        {"digests": "a" * 32},
        {"digests": None},
        {"lengths": b""},
        {"lengths": GOOD["lengths"][:4]},
        {"lengths": GOOD["lengths"][:-1]},
        {"lengths": GOOD["lengths"] * 2},
        {"lengths": struct.pack("<2I", 0, 6)},
        {"lengths": struct.pack("<2I", 5, 0)},
        {"lengths": "\1" * 8},
        {"lengths": [5, 6]},
        {"lengths": None},
    ],
)
def test_companions_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    assert decode_digests(msgpack.packb(GOOD)) == Digests((5, 6), A + B)
    with pytest.raises(DecodeError):
        decode_digests(msgpack.packb({**GOOD, **change}))


@pytest.mark.parametrize("key", ["digests", "lengths"])
def test_a_companion_without_one_of_its_columns_is_refused(key: str) -> None:
    with pytest.raises(DecodeError, match=key):
        decode_digests(msgpack.packb({k: v for k, v in GOOD.items() if k != key}))


def test_columns_of_a_later_revision_are_ignored() -> None:
    assert decode_digests(msgpack.packb({**GOOD, "later": [1]})) == Digests((5, 6), A + B)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_companion_are_a_clear_error(plain: bytes) -> None:
    try:
        companion = decode_digests(plain)
    except DecodeError:
        return
    assert len(companion.joined) == 16 * len(companion)
    assert all(companion.lengths)


@given(st.data())
def test_a_companion_cut_short_is_refused(data: st.DataObject) -> None:
    plain = msgpack.packb(GOOD)
    with pytest.raises(DecodeError):
        decode_digests(plain[: data.draw(st.integers(0, len(plain) - 1))])


@given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=8))
def test_the_companion_of_a_streams_blob_has_the_digest_of_each_chunk(parts: list[bytes]) -> None:
    companion = Chunks(STREAM_UNIT, [len(p) for p in parts]).companion(KEYS, b"".join(parts))
    assert companion.lengths == tuple(len(p) for p in parts)
    assert companion.joined == b"".join(KEYS.chunk_digest(p) for p in parts)


@given(st.binary(min_size=1, max_size=5000), st.sampled_from([512, 1024, 4096]))
def test_the_companion_of_pages_has_the_digest_of_each_and_a_last_one_may_be_short(
    plain: bytes, page: int
) -> None:
    parts = [plain[at : at + page] for at in range(0, len(plain), page)]
    for given_plain in (plain, bytearray(plain), memoryview(plain)):
        companion = Chunks(page).companion(KEYS, given_plain)
        assert companion.lengths == tuple(len(p) for p in parts)
        assert companion.joined == b"".join(KEYS.chunk_digest(p) for p in parts)
    assert decode_digests(companion.encode()) == companion
