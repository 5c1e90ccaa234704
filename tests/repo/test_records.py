"""Files of records: taken apart, stored as columns, and equal when they come back."""

import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snap.repo.content import extents_of
from snap.repo.extents import Content, decode_content
from snap.repo.records import ColumnReader, Records, are_widths, interleave, portion
from snap.repo.repository import Repository

from .dictsource import BytesReader, FileBytesReader
from .test_file_writer import Bench

# Links, a vector and a label, as in the files of an HNSW index.
WIDTHS = (132, 512, 8)
RECORD = sum(WIDTHS)
COUNT = 400
DATA = random.Random(5).randbytes(COUNT * RECORD)

widths = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple)


@pytest.fixture
def bench(repository: Repository) -> Bench:
    return Bench(repository)


def taken_apart(data: bytes, widths: tuple[int, ...]) -> list[bytes]:
    """Return the columns, record by record as spec/FORMAT.md §9.7 says."""
    record, columns = sum(widths), [bytearray() for _ in widths]
    count = len(data) // record
    for number in range(count):
        at = number * record
        for column, end, width in zip(columns, accumulate(widths), widths, strict=True):
            column.extend(data[at + end - width : at + end])
    columns[-1] += data[count * record :]
    return [bytes(column) for column in columns]


def test_the_example_of_the_format_page() -> None:
    assert taken_apart(b"aBBcdEEfgH", (1, 2, 1)) == [b"ad", b"BBEE", b"cfgH"]
    assert Records((1, 2, 1), 10).column_bytes() == [2, 4, 4]


@given(widths, st.binary(max_size=200), st.data())
def test_a_column_reads_like_a_file_of_its_own(
    widths: tuple[int, ...], data: bytes, draw: st.DataObject
) -> None:
    records = Records(widths, len(data))
    for number, expected in enumerate(taken_apart(data, widths)):
        column = ColumnReader(FileBytesReader(data), records, number)
        assert column.size_bytes == len(expected) == records.column_bytes()[number]
        offset = draw.draw(st.integers(0, len(expected) + 3))
        length = draw.draw(st.integers(0, len(expected) + 3))
        buffer = memoryview(bytearray(b"?" * length))
        count = column.read_at(offset, buffer)
        assert bytes(buffer[:count]) == expected[offset : offset + length]
        assert bytes(buffer[count:]) == b"?" * (length - count)
        column.seek(offset)
        assert column.read(length) + column.read(1000) == expected[offset:]
        assert column.read(1) == b""
        assert column.hole() == 0
        assert not column.is_short


@given(widths, st.integers(0, 20), st.randoms(use_true_random=False))
def test_columns_put_together_are_the_file(
    widths: tuple[int, ...], count: int, chance: random.Random
) -> None:
    data = chance.randbytes(count * sum(widths))
    columns = [memoryview(column) for column in taken_apart(data, widths)]
    assert interleave(widths, columns) == data


def test_columns_of_unequally_many_records_are_not_put_together() -> None:
    with pytest.raises(ValueError, match="zip"):
        interleave((1, 2), [memoryview(b"12"), memoryview(b"34")])


def test_a_column_is_read_in_portions_of_a_bounded_size() -> None:
    class Watched(FileBytesReader):
        longest = 0

        def read_at(self, offset: int, buffer: memoryview) -> int:
            self.longest = max(self.longest, len(buffer))
            return super().read_at(offset, buffer)

    data = random.Random(1).randbytes(3 << 20)
    reader = Watched(data)
    records = Records((8, 120), len(data))
    column = ColumnReader(reader, records, 0)
    assert column.read(1 << 30) == taken_apart(data, (8, 120))[0]
    assert reader.longest == portion(records) * 128 <= 1 << 20


@pytest.mark.parametrize("left", [0, 1, 99, 100, 101, 250, 299])
def test_a_file_that_is_cut_while_it_is_read_is_noticed(left: int) -> None:
    records = Records((30, 70), 300)
    for number in (0, 1):
        column = ColumnReader(FileBytesReader(bytes(range(100)) * 3), records, number)
        whole = column.read(300)
        assert not column.is_short
        shorter = ColumnReader(FileBytesReader((bytes(range(100)) * 3)[:left]), records, number)
        assert shorter.read(300) == whole[: left // 100 * (30, 70)[number]]
        assert shorter.is_short


@pytest.mark.parametrize(
    "nonsense",
    [(), (0,), (1, 0), (-1, 2), (True, 2), (1.0, 2), ("1",), (None,), (1,) * 65, (1, 1 << 20)],
)
def test_what_cannot_be_widths_is_not_believed(nonsense: tuple[object, ...]) -> None:
    assert not are_widths(nonsense)
    assert are_widths([1] * 64)
    assert are_widths([1, (1 << 20) - 1])


# Storing


def store(bench: Bench, data: bytes, previous: Content | None = None) -> Content:
    content = bench.store(FileBytesReader(data), previous, widths=WIDTHS)
    assert content.layout == "records"
    assert decode_content(content.encode()) == content
    assert bench.read(content) == data
    return content


def new_bytes(bench: Bench, content: Content, previous: Content | None = None) -> int:
    """Return the bytes of the data blobs that only ``content`` has."""
    old, new = (
        {e.blob for e in extents_of(bench.repository, c, "f") if e.blob} if c else set()
        for c in (previous, content)
    )
    places = [bench.repository.cache.locate(id_)[0] for id_ in new - old]
    return sum(place.entry.raw_length for place in places)


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def test_a_file_of_records_comes_back_and_stores_nothing_the_second_time(bench: Bench) -> None:
    first = store(bench, DATA)
    assert first.widths == WIDTHS
    assert [column.size_bytes for column in first.columns] == [COUNT * w for w in WIDTHS]
    assert bench.tally.bytes == len(DATA) == new_bytes(bench, first)
    assert store(bench, DATA, first) == first
    assert bench.tally.bytes == len(DATA)
    assert bench.tally.bytes_stored == 0


def test_links_that_change_all_over_do_not_store_the_vectors_again(bench: Bench) -> None:
    first, changed = store(bench, DATA), DATA
    for number in range(COUNT):
        changed = replaced(changed, number * RECORD, b"link")
    second = store(bench, changed, first)
    assert second.columns[1:] == first.columns[1:]
    assert new_bytes(bench, second, first) == COUNT * WIDTHS[0]


def test_an_added_record_moves_no_column(bench: Bench) -> None:
    first = store(bench, DATA)
    more = DATA + random.Random(6).randbytes(RECORD)
    second = store(bench, more, first)
    # The last page of each column, with what was in it before.
    assert RECORD < new_bytes(bench, second, first) <= RECORD + len(WIDTHS) * 1024


def test_a_changed_vector_stores_the_pages_that_it_touches(bench: Bench) -> None:
    first = store(bench, DATA)
    second = store(bench, replaced(DATA, 7 * RECORD + 132, bytes(range(256)) * 2), first)
    # Vectors of 512 bytes do not reach over the end of a page of 1024.
    assert new_bytes(bench, second, first) == 1024


@pytest.mark.parametrize("length", [3 * RECORD, 200 * RECORD, 200 * RECORD + 1, 200 * RECORD - 9])
def test_a_file_may_shrink_and_end_within_a_record(bench: Bench, length: int) -> None:
    first = store(bench, DATA)
    second = store(bench, DATA[:length], first)
    assert second.columns[-1].size_bytes == length // RECORD * 8 + length % RECORD
    # The last page of each column; and of its last blob what is left, where that is too little.
    assert new_bytes(bench, second, first) <= (1024 + 2048) * len(WIDTHS)
    store(bench, DATA, second)


def test_with_other_widths_there_is_no_former_version(bench: Bench) -> None:
    first = store(bench, DATA)
    content = bench.store(FileBytesReader(DATA), first, widths=(132, 520))
    assert content.widths == (132, 520)
    assert bench.read(content) == DATA
    # The links are the same blobs, which the index finds.
    assert new_bytes(bench, content, first) == COUNT * 520


def test_former_versions_in_other_layouts_are_as_none_and_the_other_way_round(
    bench: Bench,
) -> None:
    records = store(bench, DATA)
    for hint in (0, 1024):
        other = bench.store(FileBytesReader(DATA), records, hint)
        assert bench.read(other) == DATA
        assert other == bench.store(FileBytesReader(DATA), None, hint)
        assert store(bench, DATA, other) == records
        assert bench.tally.bytes_new == 0


def test_records_of_zeros_become_holes(bench: Bench) -> None:
    empty = DATA[: 40 * RECORD] + bytes(300 * RECORD) + DATA[340 * RECORD :]
    content = store(bench, empty)
    extents = list(extents_of(bench.repository, content, "f"))
    holes = sum(e.length for e in extents if e.blob is None)
    assert 300 * RECORD - 2 * 1024 * len(WIDTHS) <= holes <= 300 * RECORD


def test_holes_of_the_file_are_zeros_of_its_columns(bench: Bench) -> None:
    sparse = DATA[:10_000] + bytes(100_000) + DATA[110_000:]
    content = bench.store(FileBytesReader(sparse, {10_000: 100_000}), widths=WIDTHS)
    assert content.layout == "records"
    assert bench.read(content) == sparse


@pytest.mark.parametrize(
    "widths", [(), (652,), (0, 652), (-4, 656), (1, 2), (1 << 20, 1), (1,) * 65, (500_000, 500_000)]
)
def test_nonsense_is_as_good_as_no_hint(bench: Bench, widths: tuple[int, ...]) -> None:
    plain = bench.store(FileBytesReader(DATA))
    assert plain.layout == "stream"
    assert bench.store(FileBytesReader(DATA), widths=widths) == plain


def test_what_cannot_be_read_twice_is_no_file_of_records(bench: Bench) -> None:
    content = bench.store(BytesReader(DATA), store(bench, DATA), widths=WIDTHS)
    assert content.layout == "stream"
    assert bench.read(content) == DATA


def test_a_short_file_is_one_blob(bench: Bench) -> None:
    content = bench.store(FileBytesReader(DATA[: RECORD + 10]), widths=WIDTHS)
    assert len(content.extents or ()) == 1
    assert bench.read(content) == DATA[: RECORD + 10]


@pytest.mark.parametrize("after_reads", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("has_previous", [False, True])
def test_a_file_that_is_cut_while_it_is_read_is_stored_as_any_other(
    bench: Bench, after_reads: int, has_previous: bool
) -> None:
    class Cut(FileBytesReader):
        """Ends early once it was read so often."""

        reads = 0

        def read_at(self, offset: int, buffer: memoryview) -> int:
            self.reads += 1
            if self.reads > after_reads:
                buffer = buffer[: max(0, 100_000 - offset)]
            return super().read_at(offset, buffer)

        def read(self, length: int) -> bytes:
            return super().read(min(length, max(0, 100_000 - self._file.tell())))

    previous = store(bench, DATA) if has_previous else None
    content = bench.store(Cut(DATA), previous, widths=WIDTHS)
    if content.layout == "records":
        # It had been read by then.
        assert after_reads >= 3
        assert bench.read(content) == DATA
    else:
        assert bench.read(content) == DATA[:100_000]
        assert bench.tally.bytes == 100_000


def test_columns_are_cleaned_like_any_file(bench: Bench) -> None:
    chance, data = random.Random(8), DATA
    content = store(bench, data)
    for _ in range(12):
        for number in chance.sample(range(COUNT), 40):
            data = replaced(data, number * RECORD + 132, chance.randbytes(512))
        content = store(bench, data, content)
        assert new_bytes(bench, content) <= 2 * len(data)
