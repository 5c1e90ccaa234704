"""Giving up blobs of which little is used; test_file_writer shows that nothing is lost by it."""

import random

import pytest

from snap.repo.clean import clean, retire
from snap.repo.draft import Draft
from snap.repo.extents import Content, Extent
from snap.repo.gather import PageGatherer
from snap.repo.repository import Repository
from snap.repo.reuse import Reuse
from snap.repo.writer import BlobWriter, WriterOptions

from .dictsource import FileBytesReader
from .test_file_writer import Bench

PAGE = 1024
DATA = random.Random(13).randbytes(8 * PAGE)


@pytest.fixture
def bench(repository: Repository) -> Bench:
    return Bench(repository)


def stored(bench: Bench) -> tuple[Content, Reuse]:
    content = bench.store(FileBytesReader(DATA), hint=PAGE)
    return content, Reuse(bench.repository, bench.repository.holdings.has)


def cleaned(bench: Bench, reuse: Reuse, pages: list[Extent], file: bytes) -> list[Extent]:
    """Clean a file that consists of these slices of old blobs."""
    writer = BlobWriter(bench.repository, WriterOptions())
    draft = Draft()
    for extent in pages:
        draft.add_known(extent)
    result = clean(
        draft,
        FileBytesReader(file),
        reuse=reuse,
        keys=bench.repository.keys,
        unit=PAGE,
        gather=lambda draft: PageGatherer(writer, draft, PAGE, 4 * PAGE),
    )
    result.resolve()
    writer.finish()
    writer.close()
    return list(result.extents())


def test_the_rest_of_a_sparse_blob_is_stored_anew(bench: Bench) -> None:
    content, reuse = stored(bench)
    first, second = content.extents or ()
    file = DATA[PAGE : 2 * PAGE] + DATA[4 * PAGE :]
    found = cleaned(bench, reuse, [Extent(first.blob, PAGE, PAGE), second], file)
    assert found[1] == second
    assert found[0].blob not in (None, first.blob)
    assert bench.read(Content("stream", len(file), tuple(found))) == file


def test_a_page_that_changed_meanwhile_keeps_its_old_blob(bench: Bench) -> None:
    content, reuse = stored(bench)
    first, second = content.extents or ()
    kept = Extent(first.blob, PAGE, PAGE)
    assert cleaned(bench, reuse, [kept, second], bytes(PAGE) + DATA[4 * PAGE :]) == [kept, second]


def test_half_used_is_used_enough(bench: Bench) -> None:
    content, reuse = stored(bench)
    first, second = content.extents or ()
    kept = Extent(first.blob, 0, 2 * PAGE)
    file = DATA[: 2 * PAGE] + DATA[4 * PAGE :]
    assert cleaned(bench, reuse, [kept, second], file) == [kept, second]


def test_what_cannot_be_read_twice_is_given_up_beforehand(bench: Bench) -> None:
    content, reuse = stored(bench)
    first, second = content.extents or ()
    assert first.blob is not None
    assert second.blob is not None
    retire(Content("stream", 5 * PAGE, (Extent(first.blob, 0, PAGE), second)), reuse)
    assert (reuse.is_held(first.blob), reuse.is_held(second.blob)) == (False, True)
