import random

import pytest

from snap.repo.config import Parameters
from snap.repo.extents import Content, Paging
from snap.repo.layout import (
    choose_chunk_bytes,
    choose_paging,
    choose_records,
    column_paging,
    sqlite_page_bytes,
)
from snap.repo.records import Records

NOISE = random.Random(1).randbytes(4096)
TEXT = ("Grüße, " * 700).encode()[:4096]
DEFAULT = Parameters()
STREAM = Content("stream", 5 << 20, (), chunk_bytes=8192)


def paging(head: bytes, hint: int = 0) -> Paging | None:
    return choose_paging(head, hint, DEFAULT)


def database(page_bytes: int) -> bytes:
    return b"SQLite format 3\0" + page_bytes.to_bytes(2, "big") + NOISE[:82]


@pytest.mark.parametrize("size", [512, 4096, 32_768])
def test_a_database_is_cut_into_its_own_pages(size: int) -> None:
    assert paging(database(size)) == Paging(size, 1 << 20)


def test_sqlite_writes_1_for_65536_and_nothing_impossible_is_believed() -> None:
    assert sqlite_page_bytes(database(1)) == 65_536
    assert sqlite_page_bytes(NOISE) == 0
    assert paging(database(3000)) is None


def test_a_source_may_know_the_page_size() -> None:
    assert paging(TEXT, hint=8192) == Paging(8192, 1 << 20)
    # Also where a part of a page changes for itself.
    assert paging(database(4096), hint=512) == Paging(512, 1 << 20)


def test_all_else_is_cut_by_content() -> None:
    assert paging(NOISE) is None
    assert paging(TEXT) is None
    assert paging(b"") is None


def test_chunks_grow_with_the_file_and_stay_until_they_are_far_from_right() -> None:
    def chunk(size: int, previous: Content | None = None) -> int:
        return choose_chunk_bytes(size, DEFAULT, previous)

    assert chunk(1 << 20) == 4096
    assert chunk(600_000_000) == 32_768
    assert chunk(1 << 40) == 65_536
    assert chunk(0) == 16_384
    assert chunk(1 << 20, STREAM) == 8192
    assert chunk(1 << 40, STREAM) == 65_536
    small = Parameters(65_536, 1024, 4096, 16_384)
    assert choose_chunk_bytes(1 << 30, small, None) == 256


def test_records_are_taken_apart_where_that_is_worth_it() -> None:
    large, elements = 10 << 20, (132, 512, 8)
    assert choose_records(elements, large, DEFAULT) == Records(elements, large)
    assert choose_records((60, 4), large, DEFAULT) == Records((60, 4), large)
    assert choose_records((59, 4), large, DEFAULT) is None
    assert choose_records((652,), large, DEFAULT) is None
    assert choose_records((), large, DEFAULT) is None
    assert choose_records((0, 652), large, DEFAULT) is None
    assert choose_records(elements, DEFAULT.blob_min_bytes, DEFAULT) is None
    assert choose_records((1 << 18, 1 << 18), (1 << 20) - 1, DEFAULT) is None


def test_columns_have_pages_of_one_size() -> None:
    assert column_paging(DEFAULT) == Paging(1024, 1 << 20)
