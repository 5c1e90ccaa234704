import random
from collections.abc import Iterator

import pytest

from snap.repo.digests import STREAM_UNIT, decode_digests
from snap.repo.draft import Draft
from snap.repo.gather import ChunkGatherer, PageGatherer
from snap.repo.ids import Kind
from snap.repo.repository import Repository
from snap.repo.writer import BlobWriter, WriterOptions

NOISE = random.Random(5).randbytes(20_000)


@pytest.fixture
def writer(repository: Repository) -> Iterator[BlobWriter]:
    writer = BlobWriter(repository, WriterOptions())
    yield writer
    writer.close()


def read(repository: Repository, draft: Draft) -> bytes:
    return b"".join(
        repository.load_blob(e.blob, Kind.DATA)[e.offset : e.offset + e.length]
        for e in draft.extents()
        if e.blob is not None
    )


def test_pages_fill_blobs_up_to_their_limit(repository: Repository, writer: BlobWriter) -> None:
    gatherer = PageGatherer(writer, Draft(), 512, 4096)
    gatherer.add(memoryview(NOISE)[:1024])
    gatherer.add(memoryview(NOISE)[1024:10_240])
    gatherer.add(memoryview(NOISE)[10_240:10_340])
    gatherer.flush()
    blobs = gatherer.draft.resolve()
    writer.finish()
    assert [b.raw_bytes for b in blobs] == [4096, 4096, 2048 + 100]
    assert read(repository, gatherer.draft) == NOISE[:10_340]
    companion = repository.load_blob(repository.keys.digests_id(blobs[2].id, 512), Kind.DIGESTS)
    assert decode_digests(companion).lengths == (512, 512, 512, 512, 100)


def test_chunks_end_a_blob_where_they_may_and_at_the_limit(
    repository: Repository, writer: BlobWriter
) -> None:
    gatherer = ChunkGatherer(writer, Draft(), 1000, 5000)
    view = memoryview(NOISE)
    gatherer.add_run(view[:400], [100, 300], may_end=True)
    gatherer.add_run(view[400:1400], [1000], may_end=True)
    gatherer.add_run(view[1400:6000], [600, 4000])
    gatherer.add(view[6000:7000])
    gatherer.add(view[7000:7001])
    gatherer.flush()
    gatherer.flush()
    blobs = gatherer.draft.resolve()
    writer.finish()
    assert [b.raw_bytes for b in blobs] == [1400, 5600, 1]
    assert read(repository, gatherer.draft) == NOISE[:7001]
    id_ = repository.keys.digests_id(blobs[0].id, STREAM_UNIT)
    assert decode_digests(repository.load_blob(id_, Kind.DIGESTS)).lengths == (100, 300, 1000)
