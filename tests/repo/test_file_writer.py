"""Files in, extents out: what is stored of a file's next version, in every layout."""

import random
from dataclasses import dataclass, field

import pytest

from snap.repo.compare import Comparer
from snap.repo.content import OrderedReader, extents_of
from snap.repo.extents import LAYOUT_PAGES, LAYOUT_STREAM, Content
from snap.repo.file_writer import FileWriter, Tally
from snap.repo.ids import BlobId, Kind
from snap.repo.interleave import read_records
from snap.repo.layout import Hints
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository
from snap.repo.reuse import Reuse
from snap.repo.source import Reader
from snap.repo.writer import BlobWriter, WriterOptions

from .dictsource import BytesReader, FileBytesReader

# As a database begins: it is cut into its pages, here of 1 KiB.
HEAD = b"SQLite format 3\0" + (1024).to_bytes(2, "big")
NOISE = HEAD + random.Random(3).randbytes(400_000 - len(HEAD))
TEXT = b"".join(b"%d,%d,row\n" % (n, n * 7919 % 10_007) for n in range(20_000))


@dataclass
class Bench:
    """One repository, and a new run for every file."""

    repository: Repository
    tally: Tally = field(default_factory=Tally)

    def store(
        self,
        reader: Reader,
        previous: Content | None = None,
        hint: int = 0,
        widths: tuple[int, ...] = (),
    ) -> Content:
        self.tally = Tally()
        self.repository.load_index()
        writer = BlobWriter(self.repository, WriterOptions())
        comparer = Comparer(self.repository.keys, 2)
        try:
            reuse = Reuse(self.repository, self.repository.holdings.has)
            files = FileWriter(self.repository, writer, reuse, comparer)
            hints = Hints(hint, widths)
            content = files.store(reader, previous, hints, self.tally, SilentReporter()).result()
            writer.finish()
        finally:
            comparer.close()
            writer.close()
        return content

    def read(self, content: Content) -> bytes:
        with OrderedReader(self.repository, 2) as reader:
            if content.columns:
                parts = read_records(self.repository, reader, content, "f")
            else:
                parts = reader.read(extents_of(self.repository, content, "f"))
            return b"".join(bytes(part) for part in parts)


@pytest.fixture
def bench(repository: Repository) -> Bench:
    return Bench(repository)


@pytest.fixture(params=[BytesReader, FileBytesReader], ids=["stream", "seekable"])
def reader(request: pytest.FixtureRequest) -> type[BytesReader]:
    kind: type[BytesReader] = request.param
    return kind


def test_an_empty_file_has_no_extents(bench: Bench, reader: type[BytesReader]) -> None:
    content = bench.store(reader(b""))
    assert (content.size_bytes, content.extents) == (0, ())


@pytest.mark.parametrize("data", [NOISE, TEXT], ids=["pages", "stream"])
def test_a_file_comes_back_and_stores_nothing_the_second_time(
    bench: Bench, reader: type[BytesReader], data: bytes
) -> None:
    first = bench.store(reader(data))
    assert first.layout == (LAYOUT_PAGES if data is NOISE else LAYOUT_STREAM)
    assert bench.read(first) == data
    assert bench.tally.bytes == len(data) <= bench.tally.bytes_new
    again = bench.store(reader(data), first)
    assert again == first
    assert bench.tally.bytes == len(data)
    assert bench.tally.bytes_stored == 0


def test_holes_stay_holes(bench: Bench, reader: type[BytesReader]) -> None:
    data = TEXT[:50_000] + bytes(70_000) + TEXT[:8]
    content = bench.store(reader(data, {50_000: 70_000}))
    extents = list(extents_of(bench.repository, content, "f"))
    assert [e.length for e in extents if e.blob is None] == [70_000]
    assert bench.read(content) == data
    assert bench.store(reader(data, {50_000: 70_000}), content) == content


def test_pages_of_zeros_become_holes(bench: Bench, reader: type[BytesReader]) -> None:
    data = NOISE[:10_240] + bytes(51_200) + NOISE[:5000]
    content = bench.store(reader(data))
    extents = list(extents_of(bench.repository, content, "f"))
    assert [(e.length) for e in extents if e.blob is None] == [51_200]
    assert bench.read(content) == data


def test_one_changed_page_stores_about_one_page(bench: Bench, reader: type[BytesReader]) -> None:
    first = bench.store(reader(NOISE))
    changed = NOISE[:100_000] + b"changed" + NOISE[100_007:]
    second = bench.store(reader(changed), first)
    assert bench.read(second) == changed
    # A page of 1 KiB, its companion, and the list of extents that names it.
    assert 1024 <= bench.tally.bytes_stored < 6_000


def test_a_byte_at_the_front_stores_about_one_chunk(
    bench: Bench, reader: type[BytesReader]
) -> None:
    first = bench.store(reader(TEXT))
    second = bench.store(reader(b"x" + TEXT), first)
    assert bench.read(second) == b"x" + TEXT
    assert bench.tally.bytes_stored < len(TEXT) // 20


def test_the_page_size_of_a_database_comes_from_its_header(bench: Bench) -> None:
    head = b"SQLite format 3\0" + (2048).to_bytes(2, "big") + bytes(82)
    content = bench.store(FileBytesReader(head + NOISE))
    assert content.paging is not None
    assert content.paging.page_bytes == 2048
    hinted = bench.store(FileBytesReader(TEXT), hint=512)
    assert hinted.paging is not None
    assert hinted.paging.page_bytes == 512


def test_equal_text_in_unrelated_files_meets_as_equal_blobs(bench: Bench) -> None:
    bench.store(FileBytesReader(TEXT))
    bench.store(FileBytesReader(b"another beginning\n" + TEXT))
    assert bench.tally.bytes_new < len(TEXT) // 4


def test_a_blob_of_which_little_is_used_is_given_up_in_the_same_run(
    bench: Bench, reader: type[BytesReader]
) -> None:
    page, chance = 1024, random.Random(4)
    data = bytearray(NOISE[: 64 * page])
    content = bench.store(reader(bytes(data)))
    for _ in range(12):
        for number in chance.sample(range(1, 64), 12):
            data[number * page : (number + 1) * page] = chance.randbytes(page)
        content = bench.store(reader(bytes(data)), content)
        assert bench.read(content) == bytes(data)
        used: dict[BlobId, int] = {}
        for extent in extents_of(bench.repository, content, "f"):
            if extent.blob is not None:
                used[extent.blob] = used.get(extent.blob, 0) + extent.length
        total = sum(len(bench.repository.load_blob(id_, Kind.DATA)) for id_ in used)
        # What cannot be read twice is cleaned one version late.
        assert total <= (2 if reader is FileBytesReader else 3) * len(data)


@pytest.mark.parametrize("data", [NOISE, TEXT], ids=["pages", "stream"])
def test_data_that_no_index_knows_is_stored_again(
    bench: Bench, reader: type[BytesReader], data: bytes
) -> None:
    first = bench.store(reader(data))
    repository = bench.repository
    for prefix in ("data/", "index/"):
        for stat in list(repository.backend.list(prefix)):
            repository.backend.delete(stat.name)
    repository.load_index()
    second = bench.store(reader(data), first)
    assert bench.read(second) == data
    assert bench.tally.bytes_new >= len(data)


@pytest.mark.parametrize("data", [NOISE, TEXT], ids=["pages", "stream"])
def test_without_companions_a_change_costs_more_and_nothing_is_wrong(
    bench: Bench, reader: type[BytesReader], data: bytes
) -> None:
    first = bench.store(reader(data))
    repository = bench.repository
    tables = {id_: repository.load_blob(id_, Kind.EXTENTS) for id_, _ in first.lists}
    for stat in list(repository.backend.list("meta/")):
        repository.backend.delete(stat.name)
    repository.forget_content()
    for id_, plain in tables.items():
        repository.cache.put_metadata(id_, Kind.EXTENTS, plain)
    changed = data[:100_000] + b"changed" + data[100_007:]
    assert bench.read(bench.store(reader(changed), first)) == changed
