import random

import pytest

from snap.repo.content import extents_of
from snap.repo.digests import STREAM_UNIT
from snap.repo.extents import Content, Extent
from snap.repo.ids import BlobId
from snap.repo.repository import Repository
from snap.repo.reuse import Reuse

from .dictsource import FileBytesReader
from .test_file_writer import NOISE, Bench

LOST = BlobId(b"l" * 32)


@pytest.fixture
def bench(repository: Repository) -> Bench:
    return Bench(repository)


def reuse(bench: Bench) -> Reuse:
    return Reuse(bench.repository, bench.repository.holdings.has)


def test_a_file_is_whole_when_all_its_blobs_are_held(bench: Bench) -> None:
    content = bench.store(FileBytesReader(NOISE))
    assert reuse(bench).has_all(content)
    lost = Content("stream", 5, (Extent(None, 0, 2), Extent(LOST, 0, 3)))
    assert not reuse(bench).has_all(lost)
    assert not reuse(bench).has_all(Content("stream", 5, None, ((LOST, 5),)))


def test_what_was_given_up_is_not_held(bench: Bench) -> None:
    content = bench.store(FileBytesReader(NOISE))
    blobs = {e.blob for e in extents_of(bench.repository, content, "f") if e.blob is not None}
    found = reuse(bench)
    assert all(found.is_held(blob) for blob in blobs)
    found.give_up(blobs)
    assert not any(found.is_held(blob) for blob in blobs)
    assert not found.has_all(content)


def test_a_companion_that_is_missing_is_none_and_asked_for_once(bench: Bench) -> None:
    found = reuse(bench)
    assert found.digests(LOST, STREAM_UNIT) is None
    assert found.digests(LOST, 4096) is None
    content = bench.store(FileBytesReader(NOISE))
    blob = next(extents_of(bench.repository, content, "f")).blob
    assert blob is not None
    assert content.paging is not None
    digests = found.digests(blob, content.paging.page_bytes)
    assert digests is not None
    page = NOISE[: content.paging.page_bytes]
    assert digests.digest(0) == bench.repository.keys.chunk_digest(page)


def test_a_blob_is_sparse_below_the_share_that_was_set(bench: Bench) -> None:
    data = random.Random(9).randbytes(1000)
    content = bench.store(FileBytesReader(data))
    (extent,) = content.extents or ()
    assert extent.blob is not None
    found = reuse(bench)
    assert (found.is_sparse(extent.blob, 499), found.is_sparse(extent.blob, 500)) == (True, False)
    assert not found.is_sparse(LOST, 0)
    never = Reuse(bench.repository, bench.repository.holdings.has, clean_below=0)
    assert not never.is_sparse(extent.blob, 0)


def test_a_file_of_records_is_whole_when_all_its_columns_are(bench: Bench) -> None:
    content = bench.store(FileBytesReader(NOISE), widths=(40, 60))
    assert content.columns
    assert reuse(bench).has_all(content)
    lost = Content("pages", 5, (Extent(LOST, 0, 5),))
    assert not reuse(bench).has_all(content._replace(columns=(content.columns[0], lost)))


def test_what_a_later_layout_needs_is_not_known_to_be_held(bench: Bench) -> None:
    assert not reuse(bench).has_all(Content("later", 5, ()))
