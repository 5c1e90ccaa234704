import pytest

from snap.repo.codec import DecodeError
from snap.repo.ids import BlobId, ObjectId
from snap.repo.index import decode_index, encode_index
from snap.repo.pack import PackEntry, PackSummary


def pack(number: int, blobs: int) -> PackSummary:
    entries = tuple(
        PackEntry(BlobId(bytes([number, n]) * 16), 1, n % 2, 0, n, 100 * n, 90, 200)
        for n in range(blobs)
    )
    return PackSummary(ObjectId(bytes([number]) * 32), 1, 5_000_000_000, 3, entries)


PACKS = [pack(1, 3), pack(2, 0), pack(3, 5)]


def test_packs_and_their_entries_come_back_from_columns() -> None:
    assert decode_index(encode_index(PACKS)) == PACKS
    assert decode_index(encode_index([])) == []


@pytest.mark.parametrize("table", ["packs", "blobs"])
def test_a_column_that_is_too_short_too_long_or_missing_is_refused(table: str) -> None:
    for column in encode_index(PACKS)[table]:
        for change in (lambda c: c[:-1], lambda c: c + c[:1], lambda c: "text", lambda c: None):
            body = encode_index(PACKS)
            body[table][column] = change(body[table][column])
            with pytest.raises(DecodeError):
                decode_index(body)


def test_counts_that_do_not_add_up_and_unknown_pack_kinds_are_refused() -> None:
    body = encode_index(PACKS)
    body["packs"]["blobs"] = (4).to_bytes(4, "little") + body["packs"]["blobs"][4:]
    with pytest.raises(DecodeError, match="instead of"):
        decode_index(body)
    body = encode_index(PACKS)
    body["packs"]["kind"] = b"\x01\x01\x07"
    with pytest.raises(DecodeError, match="unknown kind"):
        decode_index(body)
