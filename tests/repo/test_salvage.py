import random

import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.ids import Kind, pack_name
from snap.repo.keys import MINIMUM_COST, Capability
from snap.repo.pack import DATA_PACK, PackSummary, open_blob, open_pack_key, read_directory
from snap.repo.repository import Repository
from snap.repo.salvage import salvage

from .conftest import Opener, back_up
from .dictsource import DictSource


def stored_pack(repository: Repository, backend: MemoryBackend) -> tuple[PackSummary, bytes]:
    """Return a data pack of several blobs, as the index knows it, and its bytes."""
    noise = random.Random(5).randbytes(60_000)
    back_up(repository, DictSource({b"a": noise, b"b": b"small"}))
    for name in repository.names("index/"):
        for pack in repository.read_index(name):
            if pack.kind == DATA_PACK and pack.count > 3:
                return pack.summary(), backend.get(pack_name(pack.kind, pack.id))
    raise AssertionError("no pack of several blobs")


def test_whole_blobs_move_as_they_are_and_open_in_the_new_pack(
    repository: Repository, backend: MemoryBackend
) -> None:
    pack, stored = stored_pack(repository, backend)
    broken, elsewhere = pack.entries[0], pack.entries[1]
    damaged = bytearray(stored)
    damaged[broken.offset] ^= 1
    found = salvage(repository.keys, pack, bytes(damaged), lambda id_: id_ == elsewhere.id)
    count = len(pack.entries)
    assert (found.whole, found.damaged, found.saved) == (count - 1, 1, count - 2)
    assert found.lost == [broken.id]
    assert found.pack is not None
    made = found.pack
    header, entries = read_directory(repository.keys, len(made), lambda o, n: made[o : o + n])
    assert {e.id for e in entries} == {e.id for e in pack.entries[2:]}
    key = open_pack_key(repository.keys, header, 0)
    before = {e.id: stored[e.offset : e.offset + e.stored_length] for e in pack.entries}
    for entry in entries:
        moved = made[entry.offset : entry.offset + entry.stored_length]
        assert moved == before[entry.id]
        open_blob(repository.keys, key, entry, moved)


def test_a_damaged_blob_that_lies_elsewhere_is_not_lost(
    repository: Repository, backend: MemoryBackend
) -> None:
    pack, stored = stored_pack(repository, backend)
    found = salvage(repository.keys, pack, stored[:1300], lambda _: True)
    assert found.damaged
    assert found.lost == []
    assert found.pack is None


@pytest.mark.parametrize("length", [0, 5, 100, 1180])
def test_nothing_is_taken_from_a_pack_that_has_no_blobs_left(
    repository: Repository, backend: MemoryBackend, length: int
) -> None:
    pack, stored = stored_pack(repository, backend)
    found = salvage(repository.keys, pack, stored[:length], lambda _: False)
    assert (found.whole, found.saved, found.pack) == (0, 0, None)
    assert set(found.lost) == {e.id for e in pack.entries}


def test_a_writer_key_cannot_tell_what_is_whole_of_data(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    pack, stored = stored_pack(repository, backend)
    repository.add_passphrase_slot("w", capability=Capability.WRITER, label="", cost=MINIMUM_COST)
    writer = open_again("w")
    assert all(entry.kind == Kind.DATA for entry in pack.entries)
    with pytest.raises(ValueError, match="full key"):
        salvage(writer.keys, pack, stored, lambda _: False)
