"""What the paged layout does with each kind of change; test_file_writer has the whole."""

import random

import pytest

from snap.repo.content import extents_of
from snap.repo.extents import Content, Extent
from snap.repo.pages import old_regions
from snap.repo.repository import Repository
from snap.repo.reuse import Reuse

from .dictsource import FileBytesReader
from .test_file_writer import HEAD, Bench

PAGE, REGION = 1024, 4096
DATA = HEAD + random.Random(10).randbytes(70 * REGION + 500 - len(HEAD))


@pytest.fixture
def bench(repository: Repository) -> Bench:
    return Bench(repository)


def blobs(bench: Bench, content: Content) -> set[object]:
    return {e.blob for e in extents_of(bench.repository, content, "f")}


def test_regions_come_back_with_their_extents_across_lists(bench: Bench) -> None:
    content = bench.store(FileBytesReader(DATA))
    assert content.paging is not None
    assert content.lists
    reuse = Reuse(bench.repository, bench.repository.holdings.has)
    regions = list(old_regions(reuse, content, content.paging))
    assert [r.length for r in regions if r is not None] == [REGION] * 70 + [500]
    for number, region in enumerate(regions):
        part = DATA[number * REGION : (number + 1) * REGION]
        assert region is not None
        assert region.digest == bench.repository.keys.chunk_digest(part)
        assert sum(e.length for e in region.extents) == len(part)


@pytest.mark.parametrize("size", [0, 1, PAGE, REGION - 1, REGION, 3 * REGION + 7, 70 * REGION])
def test_a_file_that_was_cut_short_stores_at_most_its_last_page(bench: Bench, size: int) -> None:
    first = bench.store(FileBytesReader(DATA))
    second = bench.store(FileBytesReader(DATA[:size]), first, hint=PAGE)
    assert bench.read(second) == DATA[:size]
    assert bench.tally.bytes_new <= PAGE + 2000


@pytest.mark.parametrize("more", [1, PAGE, REGION, 9 * REGION])
def test_a_file_that_grew_stores_what_it_grew_by(bench: Bench, more: int) -> None:
    first = bench.store(FileBytesReader(DATA))
    grown = DATA + random.Random(11).randbytes(more)
    second = bench.store(FileBytesReader(grown), first)
    assert bench.read(second) == grown
    # Its last page was not full.
    assert more <= bench.tally.bytes_new < more + PAGE + 2500


def test_index_pages_of_a_database_go_to_blobs_of_their_own(bench: Bench) -> None:
    chance = random.Random(12)

    def database(version: int) -> bytes:
        pages = [bytearray(chance.randbytes(PAGE)) for _ in range(64)]
        for number, page in enumerate(pages):
            page[0] = 10 if number % 8 == version else 13
        pages[0][: len(HEAD)] = HEAD
        return b"".join(pages)

    first = bench.store(FileBytesReader(database(1)))
    data = database(2)
    second = bench.store(FileBytesReader(data), first)
    assert bench.read(second) == data
    owners: dict[object, set[int]] = {}
    position = 0
    for extent in extents_of(bench.repository, second, "f"):
        for at in range(0, extent.length, PAGE):
            owners.setdefault(extent.blob, set()).add(data[position + at])
        position += extent.length
    assert {10} in owners.values()
    assert all(kinds == {10} or 10 not in kinds for kinds in owners.values())


def test_extents_are_whole_pages_of_blobs_and_holes(bench: Bench) -> None:
    sparse = DATA[: 2 * REGION] + bytes(5 * REGION) + DATA[: REGION + 100]
    content = bench.store(FileBytesReader(sparse))
    extents = list(extents_of(bench.repository, content, "f"))
    assert Extent(None, 0, 5 * REGION) in extents
    assert all(e.offset % PAGE == 0 for e in extents)
    assert bench.read(content) == sparse
