from typing import Any

import pytest

from snap.repo.codec import DecodeError
from snap.repo.ids import BlobId, ObjectId
from snap.repo.index import PackColumns, join_columns, split_index
from snap.repo.pack import PackEntry, PackSummary


def pack(number: int, blobs: int) -> PackSummary:
    entries = tuple(
        PackEntry(BlobId(bytes([number, n]) * 16), 1, n % 2, 0, n, 100 * n, 90, 200)
        for n in range(blobs)
    )
    return PackSummary(ObjectId(bytes([number]) * 32), 1, 5_000_000_000, 3, entries)


def encoded(packs: list[PackSummary]) -> dict[str, Any]:
    return join_columns([PackColumns.of(pack) for pack in packs])


def decoded(body: dict[str, Any]) -> list[PackSummary]:
    return [pack.summary() for pack in split_index(body)]


PACKS = [pack(1, 3), pack(2, 0), pack(3, 5)]


def test_packs_and_their_entries_come_back_from_columns() -> None:
    assert decoded(encoded(PACKS)) == PACKS
    assert decoded(encoded([])) == []


@pytest.mark.parametrize("table", ["packs", "blobs"])
def test_a_column_that_is_too_short_too_long_or_missing_is_refused(table: str) -> None:
    for column in encoded(PACKS)[table]:
        for change in (lambda c: c[:-1], lambda c: c + c[:1], lambda c: "text", lambda c: None):
            body = encoded(PACKS)
            body[table][column] = change(body[table][column])
            with pytest.raises(DecodeError):
                decoded(body)


def test_counts_that_do_not_add_up_and_unknown_pack_kinds_are_refused() -> None:
    body = encoded(PACKS)
    body["packs"]["blobs"] = (4).to_bytes(4, "little") + body["packs"]["blobs"][4:]
    with pytest.raises(DecodeError, match="instead of"):
        decoded(body)
    body = encoded(PACKS)
    body["packs"]["kind"] = b"\x01\x01\x07"
    with pytest.raises(DecodeError, match="unknown kind"):
        decoded(body)
