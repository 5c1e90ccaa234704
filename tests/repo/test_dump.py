import random

import pytest

from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError
from snap.repo.browse import PathNotFound
from snap.repo.dump import dump_file
from snap.repo.repository import Repository

from .conftest import Opener, back_up
from .dictsource import BytesReader, DictSource

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
