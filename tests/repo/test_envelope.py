import pytest

from snap.repo.codec import DecodeError
from snap.repo.crypto import DataPrivateKey, Keys
from snap.repo.envelope import open_object, seal_object
from snap.repo.ids import Kind

PRIVATE = DataPrivateKey.generate()
KEYS = Keys(b"r" * 16, b"s" * 32, PRIVATE.public(), PRIVATE)
BODY = {"text": "x" * 1000, "number": 5}


def test_a_sealed_object_opens_as_what_it_was_sealed_as() -> None:
    stored = seal_object(KEYS, Kind.INDEX, BODY)
    assert len(stored) < 500
    assert open_object(KEYS, Kind.INDEX, stored) == BODY


def test_small_bodies_are_stored_as_they_are() -> None:
    assert open_object(KEYS, Kind.LEASE, seal_object(KEYS, Kind.LEASE, {"a": 1})) == {"a": 1}


def test_nothing_opens_as_another_kind_or_in_another_repository() -> None:
    stored = seal_object(KEYS, Kind.INDEX, BODY)
    other = Keys(b"o" * 16, b"s" * 32, PRIVATE.public(), None)
    with pytest.raises(DecodeError):
        open_object(other, Kind.INDEX, stored)
    relabelled = stored[:9] + bytes([Kind.SNAPSHOT]) + stored[10:]
    for wrong in (stored, relabelled):
        with pytest.raises(DecodeError):
            open_object(KEYS, Kind.SNAPSHOT, wrong)


def test_a_lease_does_not_open_under_another_id() -> None:
    stored = seal_object(KEYS, Kind.LEASE, BODY, b"1" * 32)
    assert open_object(KEYS, Kind.LEASE, stored, b"1" * 32) == BODY
    with pytest.raises(DecodeError):
        open_object(KEYS, Kind.LEASE, stored, b"2" * 32)


def test_every_flipped_bit_and_every_truncation_is_noticed() -> None:
    stored = seal_object(KEYS, Kind.SNAPSHOT, {"a": 1})
    for at in range(len(stored)):
        damaged = bytearray(stored)
        damaged[at] ^= 0x10
        with pytest.raises(DecodeError):
            open_object(KEYS, Kind.SNAPSHOT, bytes(damaged))
        with pytest.raises(DecodeError):
            open_object(KEYS, Kind.SNAPSHOT, stored[:at])
