import random

from snap.repo.chunker import Chunker
from snap.repo.content import extents_of
from snap.repo.file_writer import Tally, store_content
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository
from snap.repo.writer import BlobWriter, WriterOptions

from .conftest import SMALL
from .dictsource import BytesReader


def test_extents_cover_the_file_in_whole_blobs_and_holes(repository: Repository) -> None:
    data = random.Random(15).randbytes(50_000) + bytes(70_000) + b"tail"
    writer = BlobWriter(repository, WriterOptions())
    tally = Tally()
    reader = BytesReader(data, {50_000: 70_000})
    chunker = Chunker(SMALL, 99)
    pending = store_content(reader, writer, chunker, tally, SilentReporter())
    content = pending.result()
    writer.finish()
    extents = list(extents_of(repository, content, "f"))
    assert sum(e.length for e in extents) == content.size_bytes == tally.bytes == len(data)
    assert [e.length for e in extents if e.blob is None] == [70_000]
    assert all(e.offset == 0 for e in extents)
    assert tally.bytes_new >= 50_004
    again = store_content(
        BytesReader(data, {50_000: 70_000}), writer, chunker, Tally(), SilentReporter()
    )
    assert again.result() == content
    writer.close()


def test_an_empty_file_has_no_extents(repository: Repository) -> None:
    writer = BlobWriter(repository, WriterOptions(dry_run=True))
    chunker = Chunker(SMALL, 99)
    content = store_content(BytesReader(b""), writer, chunker, Tally(), SilentReporter()).result()
    assert (content.size_bytes, content.extents) == (0, ())
    writer.close()
