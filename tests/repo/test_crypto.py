import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.repo.codec import DecodeError
from snap.repo.crypto import (
    DATA_PRIVATE_BYTES,
    DATA_PUBLIC_BYTES,
    DIGEST_BYTES,
    SEALED_KEY_BYTES,
    DataPrivateKey,
    DataPublicKey,
    Keys,
    associated_data,
    derive,
    keyed_hash,
    seal,
    unseal,
)
from snap.repo.ids import BlobId, Kind

REPOSITORY = bytes(range(16))


@pytest.fixture(scope="module")
def private() -> DataPrivateKey:
    return DataPrivateKey.generate()


def test_keys_have_the_lengths_of_the_specification(private: DataPrivateKey) -> None:
    assert len(private.raw) == DATA_PRIVATE_BYTES == 96
    assert len(private.public().raw) == DATA_PUBLIC_BYTES == 1216


def test_a_sealed_pack_key_opens_only_with_the_private_key_of_its_repository(
    private: DataPrivateKey,
) -> None:
    sealed = private.public().seal_pack_key(b"k" * 32, REPOSITORY)
    assert len(sealed) == SEALED_KEY_BYTES
    assert private.open_pack_key(sealed, REPOSITORY) == b"k" * 32
    with pytest.raises(DecodeError):
        private.open_pack_key(sealed, bytes(16))
    with pytest.raises(DecodeError):
        DataPrivateKey.generate().open_pack_key(sealed, REPOSITORY)
    # Changed, not set: what is sealed may be any byte.
    changed = sealed[:100] + bytes([sealed[100] ^ 1]) + sealed[101:]
    for damaged in (sealed[:-1], changed, b""):
        with pytest.raises(DecodeError):
            private.open_pack_key(damaged, REPOSITORY)


@given(st.binary(max_size=100), st.integers(0, 2**32 - 1))
def test_what_is_sealed_opens_with_the_same_data_only(plain: bytes, counter: int) -> None:
    key, aad = os.urandom(32), associated_data(REPOSITORY, 1)
    stored = seal(key, aad, plain, counter)
    assert unseal(key, aad, stored, counter) == plain
    for wrong in (
        (key, associated_data(REPOSITORY, 2), stored, counter),
        (key, associated_data(bytes(16), 1), stored, counter),
        (key, associated_data(REPOSITORY, 1, b"i" * 32), stored, counter),
        (bytes(32), aad, stored, counter),
        (key, aad, stored, counter + 1),
        (key, aad, stored[:-1], counter),
    ):
        with pytest.raises(DecodeError):
            unseal(*wrong)


def test_associated_data_has_54_bytes_in_the_order_of_the_specification() -> None:
    aad = associated_data(REPOSITORY, 17, b"i" * 32)
    assert aad == b"SNAP\x01\x11" + REPOSITORY + b"i" * 32
    assert len(aad) == 54


def test_blob_ids_depend_on_the_secret_and_the_kind(private: DataPrivateKey) -> None:
    a = Keys(REPOSITORY, b"a" * 32, private.public(), private)
    b = Keys(REPOSITORY, b"b" * 32, private.public(), private)
    ids = {a.blob_id(1, b"x"), a.blob_id(2, b"x"), b.blob_id(1, b"x"), a.blob_id(1, b"y")}
    assert len(ids) == 4


@given(st.binary(max_size=5000))
def test_chunk_digests_are_the_first_half_of_a_keyed_hash_of_their_own(chunk: bytes) -> None:
    keys = Keys(REPOSITORY, b"a" * 32, DataPublicKey(b""), None)
    digest = keys.chunk_digest(chunk)
    assert digest == keyed_hash(derive("chunk digest", b"a" * 32), chunk)[:16]
    assert len(digest) == DIGEST_BYTES == 16
    assert keys.chunk_digest(bytearray(chunk)) == keys.chunk_digest(memoryview(chunk)) == digest
    other = Keys(REPOSITORY, b"b" * 32, DataPublicKey(b""), None)
    assert other.chunk_digest(chunk) != digest
    assert keys.chunk_digest(chunk + b"\0") != digest
    several: list[bytes | memoryview] = [chunk, b"", memoryview(chunk)[1:], chunk + b"\0"]
    assert keys.chunk_digests(several) == b"".join(keys.chunk_digest(one) for one in several)


def test_the_id_of_a_companion_depends_on_the_secret_the_data_blob_and_the_unit() -> None:
    a, b = (Keys(REPOSITORY, secret * 32, DataPublicKey(b""), None) for secret in (b"a", b"b"))
    x, y = a.blob_id(Kind.DATA, b"x"), a.blob_id(Kind.DATA, b"y")
    ids = {a.digests_id(x, 0), a.digests_id(x, 4096), a.digests_id(y, 0), b.digests_id(x, 0)}
    assert len(ids) == 4
    assert x not in ids
    message = b"\4" + x + b"\0\x10\0\0"
    assert a.digests_id(x, 4096) == keyed_hash(derive("blob id", b"a" * 32), message)


def test_a_unit_that_is_no_u32_has_no_companion() -> None:
    keys = Keys(REPOSITORY, b"a" * 32, DataPublicKey(b""), None)
    for unit in (-1, 1 << 32):
        with pytest.raises(OverflowError):
            keys.digests_id(BlobId(bytes(32)), unit)


def test_the_chunker_seed_is_one_that_the_chunker_takes(private: DataPrivateKey) -> None:
    for n in range(64):
        seed = Keys(REPOSITORY, bytes([n]) * 32, private.public(), None).chunker_seed
        assert 1 <= seed < 2**63
