import random

import pytest

from snap.repo.difference import Difference, compare_contents
from snap.repo.extents import Content
from snap.repo.repository import Repository
from snap.repo.reuse import Reuse

from .dictsource import BytesReader, FileBytesReader
from .test_file_writer import NOISE, TEXT, Bench


@pytest.fixture
def bench(repository: Repository) -> Bench:
    return Bench(repository)


def difference(bench: Bench, old: bytes, new: bytes, *, fresh: bool = False) -> tuple[int, bool]:
    a = bench.store(FileBytesReader(old))
    b = bench.store(FileBytesReader(new), None if fresh else a)
    reuse = Reuse(bench.repository, bench.repository.holdings.has)
    found = compare_contents(reuse, a, b)
    return found.bytes_changed, found.is_equal


@pytest.mark.parametrize("data", [NOISE, TEXT], ids=["pages", "stream"])
def test_a_file_does_not_differ_from_itself(bench: Bench, data: bytes) -> None:
    assert difference(bench, data, data) == (0, True)
    assert difference(bench, data, data, fresh=True) == (0, True)


def test_of_pages_those_that_changed_are_counted(bench: Bench) -> None:
    changed = bytearray(NOISE)
    for page in (3, 4, 200):
        changed[page * 1024 + 5] ^= 1
    assert difference(bench, NOISE, bytes(changed)) == (3 * 1024, False)
    assert difference(bench, NOISE, NOISE[: 64 * 1024]) == (0, False)
    assert difference(bench, NOISE[: 64 * 1024], NOISE[: 68 * 1024]) == (4 * 1024, False)


def test_of_a_stream_what_moved_is_not_changed(bench: Bench) -> None:
    moved = b"x" + TEXT
    changed, is_equal = difference(bench, TEXT, moved)
    assert 0 < changed < len(TEXT) // 20
    assert not is_equal
    half = len(TEXT) // 2
    turned = TEXT[half:] + TEXT[:half]
    changed, is_equal = difference(bench, TEXT, turned)
    assert 0 < changed < len(TEXT) // 20
    assert not is_equal


def test_other_layouts_have_nothing_in_common(bench: Bench) -> None:
    a, b = bench.store(BytesReader(NOISE)), bench.store(BytesReader(TEXT))
    reuse = Reuse(bench.repository, bench.repository.holdings.has)
    found = compare_contents(reuse, a, b)
    assert (found.bytes_changed, found.is_equal) == (len(TEXT), False)


def test_cleaned_up_blobs_do_not_make_a_difference(bench: Bench) -> None:
    data, chance = bytearray(NOISE[: 64 * 1024]), random.Random(2)
    content = bench.store(FileBytesReader(bytes(data)))
    for _ in range(8):
        for page in chance.sample(range(1, 64), 16):
            data[page * 1024 : (page + 1) * 1024] = chance.randbytes(1024)
        content = bench.store(FileBytesReader(bytes(data)), content)
    fresh = bench.store(FileBytesReader(bytes(data)))
    assert fresh.extents != content.extents
    reuse = Reuse(bench.repository, bench.repository.holdings.has)
    assert compare_contents(reuse, content, fresh).is_equal


def test_records_are_compared_column_by_column(bench: Bench) -> None:
    widths, record = (40, 60), 100
    data = NOISE[:200_000]

    def compare(old: bytes, new: bytes, other: tuple[int, ...] = widths) -> tuple[int, bool]:
        a = bench.store(FileBytesReader(old), widths=widths)
        b = bench.store(FileBytesReader(new), a, widths=other)
        reuse = Reuse(bench.repository, bench.repository.holdings.has)
        found = compare_contents(reuse, a, b)
        return found.bytes_changed, found.is_equal

    assert compare(data, data) == (0, True)
    changed = bytearray(data)
    for number in (0, 1, 2, 1999):
        changed[number * record + 39] ^= 1
    # The first page and the last, which is short, of the first column.
    assert compare(data, bytes(changed)) == (1024 + 80_000 % 1024, False)
    # As many records as end with a page in both columns.
    assert compare(data, data[: 1792 * record]) == (0, False)
    assert compare(data, data, (50, 50)) == (len(data), False)


def test_of_a_later_layout_nobody_can_tell_whether_it_differs(bench: Bench) -> None:
    later = Content("later", 5, ())
    reuse = Reuse(bench.repository, bench.repository.holdings.has)
    assert compare_contents(reuse, later, later) == Difference(5, is_equal=False)
