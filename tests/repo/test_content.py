import random

import pytest

from snap.errors import IntegrityError
from snap.repo import codec
from snap.repo.content import FetchedExtent, Prefetcher, extents_of
from snap.repo.extents import Content, Extent, UnknownLayout, encode_extents
from snap.repo.ids import Kind
from snap.repo.repository import Repository
from snap.repo.writer import BlobWriter, WriterOptions

NOISE = random.Random(14).randbytes(9000)


def store(repository: Repository, kind: Kind, plain: bytes):  # type: ignore[no-untyped-def]
    writer = BlobWriter(repository, WriterOptions())
    id_ = writer.submit(kind, plain).result().id
    writer.finish()
    writer.close()
    return id_


def test_slices_of_a_blob_are_read_as_slices(repository: Repository) -> None:
    blob = store(repository, Kind.DATA, NOISE)
    extents = [Extent(blob, 100, 50), Extent(None, 0, 7), Extent(blob, 0, 10)]
    parts = []
    with Prefetcher[str](repository, [*extents, "mark"], 2) as items:
        for item in items:
            if isinstance(item, FetchedExtent):
                parts.append(b"hole" if item.blob is None else bytes(item.bytes()))
            else:
                parts.append(item.encode())
    assert parts == [NOISE[100:150], b"hole", NOISE[:10], b"mark"]


def test_a_slice_beyond_its_blob_is_damage(repository: Repository) -> None:
    blob = store(repository, Kind.DATA, NOISE)
    with Prefetcher[None](repository, [Extent(blob, 8990, 11)], 1) as items:
        (item,) = list(items)
        assert isinstance(item, FetchedExtent)
        with pytest.raises(IntegrityError, match="beyond"):
            item.bytes()
        hole = FetchedExtent(Extent(None, 0, 5), None)
        with pytest.raises(ValueError, match="hole"):
            hole.bytes()


def test_lists_of_extents_are_followed_and_checked(repository: Repository) -> None:
    blob = store(repository, Kind.DATA, NOISE)
    table = [Extent(blob, 0, 10), Extent(None, 0, 5)]
    listed = store(repository, Kind.EXTENTS, codec.encode(encode_extents(table)))
    assert list(extents_of(repository, Content("blobs", 15, None, ((listed, 15),)), "f")) == table
    with pytest.raises(IntegrityError, match="add up"):
        list(extents_of(repository, Content("blobs", 16, None, ((listed, 16),)), "f"))
    garbage = store(repository, Kind.EXTENTS, b"garbage")
    with pytest.raises(IntegrityError, match=garbage.hex()):
        list(extents_of(repository, Content("blobs", 1, None, ((garbage, 1),)), "f"))


def test_an_unknown_layout_is_not_read(repository: Repository) -> None:
    with pytest.raises(UnknownLayout, match="f: stored in the layout 'new'"):
        list(extents_of(repository, Content("new", 5, ()), "f"))
