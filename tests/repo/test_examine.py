import random

import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.examine import Examination
from snap.repo.pack import PackSummary
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository

from .conftest import back_up
from .copies import flip, names
from .dictsource import DictSource


@pytest.fixture
def filled(repository: Repository) -> Repository:
    back_up(repository, DictSource({b"a": random.Random(8).randbytes(300_000), b"b": b"small"}))
    return repository


def examine(
    repository: Repository, *, read_data: bool = False
) -> tuple[Examination, list[PackSummary]]:
    adopted: list[PackSummary] = []
    found = Examination(repository, (), adopted.append)
    found.run(SilentReporter(), read_data=read_data)
    return found, adopted


def test_of_whole_packs_only_metadata_is_read_unless_asked(
    filled: Repository, backend: MemoryBackend
) -> None:
    found, adopted = examine(filled)
    assert found.bytes_read == sum(s.size_bytes for s in backend.list("meta/"))
    assert (found.bad, found.gone, found.drop, adopted) == ({}, [], set(), [])
    found, _ = examine(filled, read_data=True)
    assert found.bytes_read == sum(
        s.size_bytes for prefix in ("meta/", "data/") for s in backend.list(prefix)
    )


def test_what_no_index_names_is_adopted_as_its_directory_says(
    filled: Repository, backend: MemoryBackend
) -> None:
    before = [filled.cache.entries_of(pack.id) for pack in filled.cache.packs()]
    filled.cache.drop_indexes(filled.cache.index_ids())
    found, adopted = examine(filled)
    assert sorted([list(pack.entries) for pack in adopted], key=str) == sorted(before, key=str)
    assert found.indexed == names(backend, "data/", "meta/")
    assert found.unread == len(names(backend, "data/"))


def test_a_flipped_bit_in_data_is_found_by_reading_only(
    filled: Repository, backend: MemoryBackend
) -> None:
    pack = names(backend, "data/")[0]
    flip(backend, pack)
    assert examine(filled)[0].bad == {}
    assert list(examine(filled, read_data=True)[0].bad) == [pack]


def test_lost_and_shortened_packs_are_noted(filled: Repository, backend: MemoryBackend) -> None:
    lost, short = names(backend, "data/")[:2]
    backend.delete(lost)
    backend.put(short, backend.get(short)[:-1])
    found, _ = examine(filled)
    assert [p.object for p in found.gone] == [lost]
    assert list(found.bad) == [short]
    assert {id_.hex() for id_ in found.damage.sizes} == {lost[-64:], short[-64:]}


def test_a_pack_in_the_folder_of_the_other_kind_is_misplaced(
    filled: Repository, backend: MemoryBackend
) -> None:
    name = names(backend, "data/")[0]
    wrong = name.replace("data/", "meta/")
    backend.put(wrong, backend.get(name))
    found, _ = examine(filled)
    assert found.misplaced == {wrong}
    assert list(found.bad) == [wrong]
