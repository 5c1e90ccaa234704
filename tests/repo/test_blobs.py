import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from snap.backends.faulty import FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError
from snap.repo.blobs import BlobReader
from snap.repo.cache import Location
from snap.repo.ids import BlobId, Kind, pack_name
from snap.repo.repository import Repository

from .conftest import Opener, back_up
from .dictsource import DictSource


def only_place(repository: Repository, plain: bytes) -> Location:
    (place,) = repository.cache.locate(repository.keys.blob_id(Kind.DATA, plain))
    return place


def lie(repository: Repository, statement: str) -> None:
    repository.cache._file.run(lambda db: db.execute(statement))


def test_a_blob_that_no_index_has_is_missing(repository: Repository) -> None:
    with pytest.raises(IntegrityError, match="no index object"):
        repository.load_blob(BlobId(bytes(32)), Kind.DATA)


def test_a_blob_is_not_read_as_another_kind(repository: Repository) -> None:
    back_up(repository, DictSource({b"a": b"plain"}))
    place = only_place(repository, b"plain")
    with pytest.raises(IntegrityError, match="data blob, not tree"):
        repository.blobs.read_at(place, Kind.TREE)


def test_a_damaged_pack_does_not_matter_where_another_has_the_blob(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    snapshot = back_up(repository, DictSource({b"a": b"plain"}))
    first = only_place(repository, b"plain")
    for stat in list(backend.list("index/")):
        backend.delete(stat.name)
    second = open_again()
    back_up(second, DictSource({b"a": b"plain"}))
    packs = [stat.name for stat in backend.list("data/")]
    assert len(packs) == 2
    from snap.repo.adopt import index_orphans

    index_orphans(second)
    id_ = first.entry.id
    assert len(second.cache.locate(id_)) == 2
    for name in packs:
        good = backend.get(name)
        backend.put(name, good[:100])
        fresh = open_again()
        fresh.load_index()
        assert fresh.load_blob(id_, Kind.DATA) == b"plain"
        backend.put(name, good)
    assert snapshot.status == "success"


def test_a_cache_that_names_a_wrong_place_is_rebuilt_and_the_blob_is_read(
    repository: Repository,
) -> None:
    back_up(repository, DictSource({b"a": b"plain"}))
    place = only_place(repository, b"plain")
    lie(repository, "update keys set number=number+1")
    assert repository.load_blob(place.entry.id, Kind.DATA) == b"plain"


def test_a_metadata_blob_that_the_cache_has_wrong_is_read_from_the_store(
    repository: Repository,
) -> None:
    snapshot = back_up(repository, DictSource({b"a": b"plain"}))
    (tree,) = snapshot.components[0].subtree or ()
    good = repository.load_blob(tree, Kind.TREE)
    lie(repository, "update metadata set plain=x'6c6965'")
    assert repository.load_blob(tree, Kind.TREE) == good


def asked(repository: Repository, backend: MemoryBackend) -> tuple[BlobReader, FaultyBackend]:
    counting = FaultyBackend(backend)
    load = repository.load_readable_index
    return BlobReader(counting, repository.keys, repository.cache, load), counting


def test_threads_that_read_from_one_pack_ask_for_its_header_once(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"a": b"plain"}))
    place = only_place(repository, b"plain")
    reader, counting = asked(repository, backend)
    together = threading.Barrier(8)

    def read() -> bytes:
        together.wait(30)
        return reader.read_at(place, Kind.DATA)

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(read) for _ in range(8)]
    assert [f.result() for f in found] == [b"plain"] * 8
    assert len(counting.calls) == 8 + 1


def test_a_range_that_begins_with_the_pack_brings_its_header(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"a": b"plain"}))
    place = only_place(repository, b"plain")
    reader, counting = asked(repository, backend)
    end = place.entry.offset + place.entry.stored_length
    stored = reader.read_range(place, 0, end)[place.entry.offset :]
    assert reader.open_at(place, Kind.DATA, stored) == b"plain"
    assert len(counting.calls) == 1


def metadata_places(repository: Repository, backend: MemoryBackend) -> list[Location]:
    (name,) = (stat.name for stat in backend.list("meta/"))
    (pack,) = (p for p in repository.cache.packs() if pack_name(p.kind, p.id) == name)
    return [Location(pack.id, pack.kind, entry) for entry in repository.cache.entries_of(pack.id)]


def test_a_small_metadata_pack_is_read_once_as_a_whole(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"a/%d/f" % n: b"plain" for n in range(5)}))
    places = metadata_places(repository, backend)
    assert len(places) > 3
    reader, counting = asked(repository, backend)
    for place in places:
        assert reader.read_at(place, Kind(place.entry.kind))
    assert len(counting.calls) == 1
    reader.forget()
    for place in places:
        assert reader.read_at(place, Kind(place.entry.kind))
    assert len(counting.calls) == 2, "what was kept is read from the store again, as a whole"


@pytest.mark.parametrize(("is_far", "most"), [(True, 4), (False, 100)])
def test_a_large_one_is_read_as_a_whole_where_requests_are_dear_and_much_of_it_is_needed(
    repository: Repository,
    backend: MemoryBackend,
    monkeypatch: pytest.MonkeyPatch,
    is_far: bool,
    most: int,
) -> None:
    back_up(repository, DictSource({b"a/%d/f" % n: b"plain" for n in range(12)}))
    places = metadata_places(repository, backend)
    monkeypatch.setattr("snap.repo.blobs._SMALL_PACK_BYTES", 10)
    monkeypatch.setattr("snap.repo.blobs._SMALL_FAR_PACK_BYTES", 10)
    monkeypatch.setattr(MemoryBackend, "parallel_requests", 8 if is_far else 1)
    reader, counting = asked(repository, backend)
    assert reader.read_at(places[0], Kind(places[0].entry.kind))
    assert len(counting.calls) == 2, "the blob and the pack's header: one is not worth more"
    for place in places[1:]:
        assert reader.read_at(place, Kind(place.entry.kind))
    assert len(counting.calls) == min(most, 1 + len(places))


def test_no_more_packs_are_kept_than_there_is_room_for(
    repository: Repository, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        back_up(repository, DictSource({b"f%d" % n: b"plain%d" % n}))
    packs = [p for p in repository.cache.packs() if pack_name(p.kind, p.id).startswith("meta/")]
    places = [
        Location(pack.id, pack.kind, entry)
        for pack in packs
        for entry in repository.cache.entries_of(pack.id)
    ]
    monkeypatch.setattr(
        "snap.repo.blobs._WHOLE_PACKS_BYTES", 3 * max(pack.size_bytes for pack in packs)
    )
    reader, counting = asked(repository, backend)
    for place in places:
        assert reader.read_at(place, Kind(place.entry.kind))
    assert len(reader._whole_packs) == 3
    assert len(counting.calls) == 4


def test_of_a_damaged_small_metadata_pack_all_else_can_be_read(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"a/%d/f" % n: b"plain" for n in range(5)}))
    *good, bad = metadata_places(repository, backend)
    name = pack_name(bad.pack_kind, bad.pack_id)
    whole = backend.get(name)
    flipped = bytearray(whole)
    flipped[bad.entry.offset] ^= 1
    for spoiled in (bytes(flipped), whole[: bad.entry.offset + 1]):
        backend.put(name, spoiled)
        reader, _ = asked(repository, backend)
        for place in good:
            assert reader.read_at(place, Kind(place.entry.kind))
        with pytest.raises(IntegrityError, match="damaged"):
            reader.read_at(bad, Kind(bad.entry.kind))
        # Repaired while this runs, it is read at once.
        backend.put(name, whole)
        assert reader.read_at(bad, Kind(bad.entry.kind))
