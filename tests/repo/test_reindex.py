import pytest

from snap.backends.base import ObjectRetained
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.ids import ObjectId
from snap.repo.reindex import write_anew
from snap.repo.repository import INDEX_PREFIX, Repository

from .conftest import Opener, back_up
from .dictsource import DictSource
from .pruning import noise


def named(repository: Repository) -> set[ObjectId]:
    repository.load_index()
    return {pack.id for pack in repository.cache.packs()}


@pytest.fixture
def filled(repository: Repository) -> Repository:
    for seed in range(3):
        back_up(repository, DictSource({b"f": noise(seed)}))
    return repository


def test_packs_are_taken_out_and_all_others_stay_named(
    filled: Repository, open_again: Opener
) -> None:
    before = named(filled)
    gone = set(sorted(before)[:2])
    report = write_anew(filled, gone)
    assert report.replaced >= 1
    assert named(filled) == named(open_again()) == before - gone


def test_nothing_is_written_where_nothing_is_to_do(
    filled: Repository, backend: MemoryBackend
) -> None:
    before = {stat.name for stat in backend.list("")}
    assert write_anew(filled, frozenset()).written == 0
    assert {stat.name for stat in backend.list("")} == before


def test_many_small_ones_become_one(repository: Repository, backend: MemoryBackend) -> None:
    for seed in range(20):
        back_up(repository, DictSource({b"f": noise(seed, 100)}))
    before = named(repository)
    report = write_anew(repository, frozenset())
    assert (report.replaced, report.written) == (20, 1)
    assert len(list(backend.list(INDEX_PREFIX))) == 1
    assert named(repository) == before


def test_one_that_another_prune_wrote_anew_meanwhile_loses_nothing(
    filled: Repository, open_again: Opener
) -> None:
    before = named(filled)
    other = open_again()
    gone = set(sorted(before)[:1])
    named(other)
    write_anew(other, gone)
    # This one still knows the old objects only.
    write_anew(filled, set(sorted(before)[1:2]))
    assert before - named(open_again()) <= set(sorted(before)[:2])
    assert before - gone - set(sorted(before)[1:2]) <= named(open_again())


def test_one_that_the_store_keeps_still_names_what_goes(
    filled: Repository, backend: MemoryBackend
) -> None:
    before = named(filled)
    fault = Fault("delete", INDEX_PREFIX, times=None, error=lambda: ObjectRetained("retained"))
    filled.backend = FaultyBackend(backend, fault)
    gone = set(sorted(before)[:1])
    report = write_anew(filled, gone)
    assert report.still_named == gone
    assert len(report.refused) == 1
    assert named(filled) == before
    assert write_anew(filled, gone).written == 0, "what stays is named elsewhere already"


def test_small_ones_that_the_store_keeps_are_merged_once(
    repository: Repository, backend: MemoryBackend
) -> None:
    for seed in range(20):
        back_up(repository, DictSource({b"f": noise(seed, 100)}))
    fault = Fault("delete", INDEX_PREFIX, times=None, error=lambda: ObjectRetained("retained"))
    repository.backend = FaultyBackend(backend, fault)
    first = write_anew(repository, frozenset())
    assert (first.replaced, first.written, len(first.refused)) == (0, 1, 20)
    before = named(repository)
    for _ in range(3):
        assert write_anew(repository, frozenset()).written == 0
        assert named(repository) == before
    repository.backend = backend
    for seed in range(20, 40):
        back_up(repository, DictSource({b"f": noise(seed, 100)}))
    named(repository)
    # They go with the next ones.
    assert write_anew(repository, frozenset()).replaced == 41
    assert len(list(backend.list(INDEX_PREFIX))) == 1
