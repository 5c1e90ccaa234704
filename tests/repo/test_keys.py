import pytest

from snap.errors import UsageError
from snap.repo import keys as slots
from snap.repo.codec import DecodeError
from snap.repo.crypto import DataPrivateKey, Keys
from snap.repo.keys import (
    MINIMUM_COST,
    Capability,
    FullKeyRequired,
    KdfCost,
    SlotRequest,
    calibrate,
    format_recovery_key,
    parse_recovery_key,
)

REPOSITORY = b"r" * 16
FULL = SlotRequest(Capability.FULL, "label", 1)
WRITER = SlotRequest(Capability.WRITER, "label", 1)


@pytest.fixture(scope="module")
def keys() -> Keys:
    private = DataPrivateKey.generate()
    return Keys(REPOSITORY, b"s" * 32, private.public(), private)


def open_stored(stored: bytes, credential: str, repository: bytes = REPOSITORY) -> Keys | None:
    return slots.open_slot(slots.parse_slot(stored), credential, repository)


def test_a_slot_opens_with_its_passphrase_only(keys: Keys) -> None:
    stored = slots.seal_with_passphrase(keys, FULL, "pässphrase", MINIMUM_COST)
    opened = open_stored(stored, "pässphrase")
    assert opened is not None
    assert opened.metadata_secret == keys.metadata_secret
    assert opened.private == keys.private
    assert open_stored(stored, "passphrase") is None
    slot = slots.parse_slot(stored).slot
    assert (slot.kind, slot.capability, slot.label) == ("passphrase", Capability.FULL, "label")


def test_a_writer_slot_holds_no_private_key(keys: Keys) -> None:
    stored = slots.seal_with_passphrase(keys, WRITER, "w", MINIMUM_COST)
    opened = open_stored(stored, "w")
    assert opened is not None
    assert opened.private is None
    with pytest.raises(FullKeyRequired):
        slots.seal_with_passphrase(opened, FULL, "more", MINIMUM_COST)
    with pytest.raises(FullKeyRequired):
        slots.seal_with_recovery_key(opened, FULL)


def test_a_recovery_key_opens_its_slot_however_it_is_typed(keys: Keys) -> None:
    stored, text = slots.seal_with_recovery_key(keys, FULL)
    for typed in (text, text.lower(), text.replace("-", " "), text.replace("-", "")):
        opened = open_stored(stored, typed)
        assert opened is not None
        assert opened.private == keys.private
    assert open_stored(stored, text[:-1] + ("B" if text[-1] == "A" else "A")) is None
    assert open_stored(stored, "a passphrase") is None


def test_a_slot_of_another_repository_does_not_open(keys: Keys) -> None:
    stored, text = slots.seal_with_recovery_key(keys, FULL)
    with pytest.raises(DecodeError):
        open_stored(stored, text, b"o" * 16)


def test_a_changed_header_does_not_open(keys: Keys) -> None:
    stored, text = slots.seal_with_recovery_key(keys, WRITER)
    forged = stored.replace(b"writer", b"full\xa0\xa0")
    with pytest.raises(DecodeError):
        open_stored(forged, text)
    with pytest.raises(DecodeError):
        open_stored(stored.replace(b"label", b"lapel"), text)


def test_every_truncation_of_a_slot_is_refused(keys: Keys) -> None:
    stored, text = slots.seal_with_recovery_key(keys, FULL)
    for length in range(0, len(stored), 7):
        with pytest.raises(DecodeError):
            open_stored(stored[:length], text)


@pytest.mark.parametrize(
    "cost",
    [
        KdfCost(MINIMUM_COST.memory_kib - 1, 2, 1),
        KdfCost(MINIMUM_COST.memory_kib, 1, 1),
        KdfCost(MINIMUM_COST.memory_kib, 2, 0),
        KdfCost(2**40, 2, 1),
    ],
)
def test_costs_outside_the_limits_are_refused(keys: Keys, cost: KdfCost) -> None:
    assert not cost.is_acceptable()
    with pytest.raises(UsageError):
        slots.seal_with_passphrase(keys, FULL, "p", cost)


def test_empty_passphrases_and_recovery_keys_as_passphrases_are_refused(keys: Keys) -> None:
    for bad in ("", format_recovery_key(b"k" * 32)):
        with pytest.raises(UsageError):
            slots.seal_with_passphrase(keys, FULL, bad, MINIMUM_COST)


def test_calibration_never_goes_below_the_minimum() -> None:
    assert calibrate(0) == MINIMUM_COST
    cost = calibrate(0.000001)
    assert cost.is_acceptable()
    assert cost.memory_kib >= MINIMUM_COST.memory_kib


def test_recovery_key_text_is_14_groups_and_notices_a_typing_error() -> None:
    text = format_recovery_key(bytes(range(32)))
    assert [len(group) for group in text.split("-")] == [4] * 14
    assert parse_recovery_key(text) == bytes(range(32))
    wrong = ("B" if text[0] != "B" else "C") + text[1:]
    assert parse_recovery_key(wrong) is None
    assert parse_recovery_key("short") is None
    assert parse_recovery_key("1" * 56) is None
