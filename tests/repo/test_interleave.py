import random
from collections import Counter

import pytest

from snap.repo import interleave
from snap.repo.content import OrderedReader, extents_of
from snap.repo.extents import Content, Extent, Paging
from snap.repo.ids import BlobId, Kind
from snap.repo.interleave import read_records
from snap.repo.repository import Repository
from snap.repo.writer import BlobWriter, WriterOptions

from .dictsource import FileBytesReader
from .test_file_writer import Bench

WIDTHS = (40, 60)
PAGING = Paging(512, 1024)


@pytest.fixture
def bench(repository: Repository) -> Bench:
    return Bench(repository)


@pytest.fixture
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interleave, "_STRETCH_BYTES", 5_000)


def column(*extents: Extent) -> Content:
    size = sum(e.length for e in extents)
    return Content("pages", size, extents, paging=PAGING)


def file_of(*columns: Content, widths: tuple[int, ...] = WIDTHS) -> Content:
    size = sum(c.size_bytes for c in columns)
    return Content("records", size, None, widths=widths, columns=columns)


def parts_of(repository: Repository, content: Content) -> list[bytes | int]:
    with OrderedReader(repository, 2) as reader:
        parts = read_records(repository, reader, content, "f")
        return [part if isinstance(part, int) else bytes(part) for part in parts]


@pytest.mark.usefixtures("_short_stretches")
def test_a_file_comes_in_order_and_in_stretches(bench: Bench) -> None:
    data = random.Random(2).randbytes(100_037)
    content = bench.store(FileBytesReader(data), widths=WIDTHS)
    parts = parts_of(bench.repository, content)
    assert b"".join(part for part in parts if isinstance(part, bytes)) == data
    assert [len(part) for part in parts if isinstance(part, bytes)] == [5_000] * 20 + [37]


def test_a_blob_is_fetched_once_for_a_stretch_however_its_parts_lie(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More blobs in turn than are kept: in the order of the file, each page would fetch one."""
    writer = BlobWriter(bench.repository, WriterOptions())
    plains = [random.Random(n).randbytes(4000) for n in range(12)]
    blobs = [writer.submit(Kind.DATA, plain).result().id for plain in plains]
    writer.finish()
    writer.close()
    turns = [(n % 12, n // 12 * 40) for n in range(12 * 100)]
    first = column(*(Extent(blobs[n], at, 40) for n, at in turns))
    second = column(Extent(None, 0, 60 * len(turns)))
    expected = b"".join(plains[n][at : at + 40] + bytes(60) for n, at in turns)

    monkeypatch.setattr("snap.repo.content._KEPT_BYTES", 0)
    loads: Counter[BlobId] = Counter()
    load = bench.repository.load_blob

    def counted(id_: BlobId, kind: Kind) -> bytes:
        loads[id_] += 1
        return load(id_, kind)

    monkeypatch.setattr(bench.repository, "load_blob", counted)
    assert parts_of(bench.repository, file_of(first, second)) == [expected]
    assert loads == dict.fromkeys(blobs, 1)


def test_records_that_are_holes_in_all_columns_come_as_a_hole(bench: Bench) -> None:
    writer = BlobWriter(bench.repository, WriterOptions())
    blob = writer.submit(Kind.DATA, bytes(range(200))).result().id
    writer.finish()
    writer.close()
    huge = 1 << 40
    content = file_of(
        column(Extent(blob, 0, 40), Extent(None, 0, huge * 40), Extent(blob, 40, 80)),
        # A record later, and its hole goes on to the end, behind the last record.
        column(Extent(blob, 0, 120), Extent(None, 0, (huge + 1) * 60 + 99)),
    )
    parts = parts_of(bench.repository, content)
    first = bytes(range(40)) + bytes(range(60)) + bytes(40) + bytes(range(60, 120))
    last = bytes(range(40, 80)) + bytes(60) + bytes(range(80, 120)) + bytes(60)
    head, *holes, tail, rest = parts
    assert isinstance(head, bytes)
    assert head == first + bytes(len(head) - len(first))
    assert (tail, rest) == (last, 99)
    assert len(head) <= 1 << 20
    # Those of the first stretch, portion by portion, and the one behind it.
    assert len(head) + sum(hole for hole in holes if isinstance(hole, int)) == (huge + 1) * 100
    assert len(holes) <= 33


def test_nothing_but_holes_is_a_hole(repository: Repository) -> None:
    holes = column(Extent(None, 0, 400)), column(Extent(None, 0, 699))
    assert parts_of(repository, file_of(*holes)) == [1000, 99]
    assert parts_of(repository, file_of(column(), column())) == []
    assert parts_of(repository, file_of(column(), column(Extent(None, 0, 99)))) == [99]


def test_the_extents_of_a_file_of_records_are_those_of_its_columns(bench: Bench) -> None:
    content = bench.store(FileBytesReader(random.Random(3).randbytes(50_000)), widths=WIDTHS)
    of_columns = [list(extents_of(bench.repository, c, "f")) for c in content.columns]
    assert list(extents_of(bench.repository, content, "f")) == of_columns[0] + of_columns[1]
