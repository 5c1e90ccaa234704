import random

import pytest

from snap.repo.draft import Draft
from snap.repo.extents import Extent
from snap.repo.ids import BlobId, Kind
from snap.repo.repository import Repository
from snap.repo.writer import BlobWriter, WriterOptions

A, B = BlobId(b"a" * 32), BlobId(b"b" * 32)


def test_neighbours_in_one_blob_become_one_extent() -> None:
    draft = Draft()
    for extent in (
        Extent(A, 0, 5),
        Extent(A, 5, 7),
        Extent(A, 20, 1),
        Extent(B, 21, 1),
        Extent(None, 0, 3),
        Extent(None, 0, 4),
    ):
        draft.add_known(extent)
    assert list(draft.extents()) == [
        Extent(A, 0, 12),
        Extent(A, 20, 1),
        Extent(B, 21, 1),
        Extent(None, 0, 7),
    ]
    assert (len(draft), draft.size_bytes) == (4, 21)


def test_a_promised_blob_stands_in_its_place_until_it_is_known(repository: Repository) -> None:
    writer = BlobWriter(repository, WriterOptions())
    draft = Draft()
    number = draft.promise_blob()
    draft.add_promised(number, 0, 4)
    draft.add_known(Extent(A, 9, 9))
    draft.add_promised(number, 4, 6)
    plain = random.Random(1).randbytes(10)
    draft.fulfil(number, writer.submit(Kind.DATA, plain))
    with pytest.raises(ValueError, match="on its way"):
        list(draft.extents())
    (stored,) = draft.resolve()
    assert stored.raw_bytes == 10
    assert draft.resolve() == []
    expected = [Extent(stored.id, 0, 4), Extent(A, 9, 9), Extent(stored.id, 4, 6)]
    assert list(draft.extents()) == expected
    assert set(draft.known_blobs().values()) == {A}
    writer.finish()
    writer.close()


def test_a_copy_knows_the_same_blobs() -> None:
    draft = Draft()
    draft.add_known(Extent(A, 3, 3))
    copy = draft.copy_without_extents()
    assert list(copy.extents()) == []
    for row in draft.rows():
        copy.add_row(*row)
    copy.add_known(Extent(B, 0, 1))
    assert list(copy.extents()) == [Extent(A, 3, 3), Extent(B, 0, 1)]
    assert list(draft.extents()) == [Extent(A, 3, 3)]
