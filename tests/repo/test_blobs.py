import pytest

from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError
from snap.repo.cache import Location
from snap.repo.ids import BlobId, Kind
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
