import random
from collections.abc import Iterator

import pytest

from snap.repo.compare import Comparer, Piece
from snap.repo.ids import Kind
from snap.repo.repository import Repository

from .dictsource import FileBytesReader

DATA = random.Random(6).randbytes(3_500_000)


@pytest.fixture
def comparer(repository: Repository) -> Iterator[Comparer]:
    comparer = Comparer(repository.keys, 2)
    yield comparer
    comparer.close()


def pieces(comparer: Comparer, lengths: list[int], start: int = 0) -> list[Piece]:
    found = []
    for length in lengths:
        found.append(Piece(length, comparer.keys.chunk_digest(DATA[start : start + length])))
        start += length
    return found


def test_each_piece_gets_its_verdict_in_order(comparer: Comparer) -> None:
    lengths = [100, 2_000_000, 50_000, 70_000, 1_000_000]
    expected = pieces(comparer, lengths)
    assert comparer.compare(FileBytesReader(DATA), 0, expected) == [True] * 5
    changed = bytearray(DATA)
    changed[50] ^= 1
    changed[2_060_000] ^= 1
    verdicts = comparer.compare(FileBytesReader(bytes(changed)), 0, expected)
    assert verdicts == [False, True, True, False, True]


def test_comparing_begins_anywhere_and_nothing_is_equal_behind_the_end(comparer: Comparer) -> None:
    expected = pieces(comparer, [1000, 500_000], 3_000_000)
    assert comparer.compare(FileBytesReader(DATA), 3_000_000, expected) == [True, False]


def test_no_digest_is_never_equal_and_a_blob_is_known_by_its_id(comparer: Comparer) -> None:
    blob = comparer.keys.blob_id(Kind.DATA, DATA[:1000])
    expected = [Piece(1000, blob, is_blob=True), Piece(1000, None), Piece(1000, blob)]
    assert comparer.compare(FileBytesReader(DATA[:1000] * 3), 0, expected) == [True, False, False]
