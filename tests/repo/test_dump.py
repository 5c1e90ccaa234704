import random

import pytest

from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError
from snap.repo.browse import PathNotFound
from snap.repo.dump import dump_file
from snap.repo.extents import Content, Extent
from snap.repo.ids import Kind
from snap.repo.repository import Repository
from snap.repo.snapshot import Component, Snapshot
from snap.repo.source import Attributes, NodeType
from snap.repo.tree import Node, encode_tree
from snap.repo.writer import BlobWriter, WriterOptions

from .conftest import Opener, back_up
from .dictsource import BytesReader, DictSource, records

NOISE = random.Random(11).randbytes(500_000)


def test_a_file_streams_in_order_with_holes_as_zeros(repository: Repository) -> None:
    data = NOISE + bytes(3_000_000) + b"end"
    source = DictSource({b"f": lambda: BytesReader(data, {len(NOISE): 3_000_000})})
    snapshot = back_up(repository, source)
    assert b"".join(dump_file(repository, snapshot, "data", (b"f",))) == data


def test_the_only_file_of_a_component_needs_no_path(repository: Repository) -> None:
    snapshot = back_up(
        repository, DictSource({b"f": b"1"}), DictSource({b"f": b"1", b"g": b"2"}, name="two")
    )
    assert b"".join(dump_file(repository, snapshot, "data", ())) == b"1"
    with pytest.raises(PathNotFound, match="not a single file"):
        list(dump_file(repository, snapshot, "two", ()))


def test_a_folder_is_no_file(repository: Repository) -> None:
    snapshot = back_up(repository, DictSource({b"d/f": b"1"}))
    with pytest.raises(PathNotFound, match="not a file"):
        list(dump_file(repository, snapshot, "data", (b"d",)))


def test_a_lost_pack_stops_the_stream_with_its_name(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    snapshot = back_up(repository, DictSource({b"f": NOISE}))
    for stat in list(backend.list("data/")):
        backend.delete(stat.name)
    with pytest.raises(IntegrityError, match=r"f: data/.*missing"):
        list(dump_file(open_again(), snapshot, "data", (b"f",)))


def test_small_neighbours_are_yielded_together_and_large_pieces_as_they_are(
    repository: Repository,
) -> None:
    plain = random.Random(3).randbytes(300_000)
    writer = BlobWriter(repository, WriterOptions())
    blob = writer.submit(Kind.DATA, plain).result().id
    pages = [Extent(blob, 4096 * (n * 7 % 70), 4096) for n in range(500)]
    extents = (*pages, Extent(None, 0, 10), Extent(blob, 0, 300_000), Extent(None, 0, 5))
    content = Content("blobs", sum(e.length for e in extents), extents)
    tree = writer.submit(
        Kind.TREE,
        encode_tree([Node(b"f", NodeType.FILE, Attributes(0o600), content=content)]),
    )
    component = Component("data", "files", "/", "success", (tree.result().id,))
    writer.finish()
    writer.close()
    snapshot = Snapshot(1, "s", "h", "u", "test", "success", (component,))
    pieces = list(dump_file(repository, snapshot, "data", (b"f",)))
    page_bytes = b"".join(plain[e.offset : e.offset + 4096] for e in pages)
    assert b"".join(pieces) == page_bytes + bytes(10) + plain + bytes(5)
    sizes = [len(piece) for piece in pieces]
    assert sizes[-2:] == [300_000, 5]
    assert len(sizes) == 2 + -(-500 * 4096 // (256 << 10))


def test_a_file_of_records_streams_put_together(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    data = NOISE + bytes(5_000_000) + NOISE[:77]
    snapshot = back_up(repository, DictSource({b"r": records(b"r", data, (132, 512, 8))}))
    assert b"".join(dump_file(repository, snapshot, "data", (b"r",))) == data
    for stat in list(backend.list("data/")):
        backend.delete(stat.name)
    with pytest.raises(IntegrityError, match=r"r: data/.*missing"):
        list(dump_file(open_again(), snapshot, "data", (b"r",)))
