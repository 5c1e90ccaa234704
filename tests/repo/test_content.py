import random

import pytest

from snap.backends.faulty import FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError
from snap.repo import codec, content
from snap.repo.blobs import BlobReader
from snap.repo.content import OrderedReader, extents_of
from snap.repo.extents import Content, Extent, UnknownLayout, encode_extents
from snap.repo.ids import BlobId, Kind
from snap.repo.repository import Repository
from snap.repo.writer import BlobWriter, WriterOptions

from .conftest import Opener

NOISE = random.Random(14).randbytes(9000)


def store(repository: Repository, kind: Kind, plain: bytes):  # type: ignore[no-untyped-def]
    writer = BlobWriter(repository, WriterOptions())
    id_ = writer.submit(kind, plain).result().id
    writer.finish()
    writer.close()
    return id_


def test_slices_of_a_blob_are_read_as_slices_in_order(repository: Repository) -> None:
    blob = store(repository, Kind.DATA, NOISE)
    extents = [Extent(blob, 100, 50), Extent(None, 0, 7), Extent(blob, 0, 10)]
    with OrderedReader(repository, 2) as reader:
        parts = [p if isinstance(p, int) else bytes(p) for p in reader.read(extents)]
    assert parts == [NOISE[100:150], 7, NOISE[:10]]


def test_a_slice_beyond_its_blob_is_damage(repository: Repository) -> None:
    blob = store(repository, Kind.DATA, NOISE)
    with (
        OrderedReader(repository, 1) as reader,
        pytest.raises(IntegrityError, match="beyond"),
    ):
        list(reader.read([Extent(blob, 8990, 11)]))


def test_blobs_that_serve_many_neighbours_are_fetched_once(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    plains = [random.Random(n).randbytes(8000) for n in range(50)]
    blobs = [store(repository, Kind.DATA, plain) for plain in plains]
    chance = random.Random(1)
    wanted = [(chance.randrange(50), chance.randrange(7000)) for _ in range(20_000)]
    counting = FaultyBackend(backend)
    again = open_again()
    again.load_readable_index()
    again.blobs = BlobReader(counting, again.keys, again.cache, list)
    with OrderedReader(again, 2) as reader:
        parts = reader.read(Extent(blobs[number], at, 9) for number, at in wanted)
        for (number, at), part in zip(wanted, parts, strict=True):
            assert isinstance(part, memoryview)
            assert bytes(part) == plains[number][at : at + 9]
    headers = 3 * len({name for _, name in counting.calls}) * 2
    assert len(blobs) <= len(counting.calls) <= len(blobs) + headers


def test_what_was_not_used_for_long_is_given_up(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_KEPT_BYTES", 20_000)
    monkeypatch.setattr(content, "_AHEAD_BYTES", 1)
    blobs = [store(repository, Kind.DATA, bytes([n]) * 9000) for n in range(4)]
    loaded: list[bytes] = []
    real = repository.load_blob

    def load(id_: BlobId, kind: Kind) -> bytes:
        loaded.append(id_)
        return real(id_, kind)

    monkeypatch.setattr(repository, "load_blob", load)
    order = [0, 1, 0, 2, 0, 1, 3, 0]
    with OrderedReader(repository, 1) as reader:
        parts = list(reader.read(Extent(blobs[n], 5, 1) for n in order))
    assert [bytes(p)[0] for p in parts if not isinstance(p, int)] == order
    assert loaded == [blobs[n] for n in (0, 1, 2, 1, 3, 0)]


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
