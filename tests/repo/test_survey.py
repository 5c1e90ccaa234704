import pytest

from snap.backends.faulty import FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.ids import ObjectId
from snap.repo.lease import RepositoryLocked
from snap.repo.progress import SilentReporter
from snap.repo.repository import INDEX_PREFIX, SNAPSHOT_PREFIX, Repository
from snap.repo.survey import NeedsUnknown, Survey, is_current, survey, uses

from .beside import Beside
from .conftest import Opener, back_up, change_tags
from .dictsource import DictSource
from .pruning import let_go, noise, prune


def look(repository: Repository, *doomed: ObjectId) -> Survey:
    return survey(repository, frozenset(doomed), SilentReporter())


def test_of_what_is_needed_and_lies_twice_one_place_is_kept_and_none_that_is_doomed(
    open_again: Opener, repository: Repository, backend: MemoryBackend
) -> None:
    # Two that do not see each other's index store the same twice.
    other = open_again()
    data = DictSource({b"f": noise(1)})
    hidden: list[str] = []

    class Blind(FaultyBackend):
        def list(self, prefix: str):  # type: ignore[no-untyped-def]
            return (s for s in super().list(prefix) if s.name not in hidden)

    back_up(repository, data)
    hidden += [stat.name for stat in backend.list(INDEX_PREFIX)]
    other.backend = Blind(backend)
    back_up(other, data)
    found = look(repository)
    packs = {use.id: use for use in uses(repository, found) if use.kind == 1}
    assert len(packs) == 2
    kept, free = sorted(packs.values(), key=lambda use: use.id)
    assert kept.blobs > 0
    assert free.blobs == 0, "of two the smaller id is kept"
    again = look(repository, kept.id)
    by_id = {use.id: use.blobs for use in uses(repository, again)}
    assert by_id[kept.id] == 0
    assert by_id[free.id] == kept.blobs


def test_a_snapshot_whose_tags_change_in_the_middle_of_the_listing_is_not_missed(
    repository: Repository, backend: MemoryBackend
) -> None:
    snapshot = back_up(repository, DictSource({b"f": b"x"}))
    changed: list[object] = []

    class Changing(FaultyBackend):
        """Shows neither the one that goes nor the one that comes while it lists."""

        def list(self, prefix: str):  # type: ignore[no-untyped-def]
            if prefix != SNAPSHOT_PREFIX or changed:
                yield from super().list(prefix)
                return
            changed.append(True)
            repository.backend = backend
            changed.append(change_tags(repository, snapshot, add=["x"]))
            repository.backend = self

    repository.backend = Changing(backend)
    found = look(repository)
    assert [s.tags for s in found.snapshots] == [("x",)]


def test_one_that_is_forgotten_or_added_makes_it_outdated(repository: Repository) -> None:
    first = back_up(repository, DictSource({b"f": b"x"}))
    found = look(repository)
    assert is_current(repository, found)
    back_up(repository, DictSource({b"f": b"y"}))
    assert not is_current(repository, found)
    found = look(repository)
    let_go(repository, first)
    assert not is_current(repository, found)


def test_lists_that_never_settle_are_given_up(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"f": b"x"}))

    class Restless(FaultyBackend):
        def list(self, prefix: str):  # type: ignore[no-untyped-def]
            if prefix == SNAPSHOT_PREFIX:
                name = f"{SNAPSHOT_PREFIX}{len(self.calls):064x}"
                stored = next(super().list(prefix)).name
                backend.put(name, backend.get(stored))
            found = list(super().list(prefix))
            if prefix == SNAPSHOT_PREFIX:
                backend.delete(name)
            return iter(found)

    repository.backend = Restless(backend)
    with pytest.raises(RepositoryLocked, match="all the time"):
        look(repository)


def test_a_tree_that_is_missing_hides_what_is_needed(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    back_up(repository, DictSource({b"f": noise(1)}))
    for stat in list(backend.list("meta/")):
        backend.delete(stat.name)
    with pytest.raises(NeedsUnknown, match="missing"):
        look(open_again())


def test_content_that_is_missing_is_told_and_hides_nothing(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"f": noise(1)}))
    gone = next(iter(backend.list("data/"))).name
    backend.delete(gone)
    found = look(repository)
    assert len(found.lost) == 1
    assert gone[-64:] in found.lost[0]


@pytest.mark.parametrize("kind", ["meta/", "data/"])
def test_what_a_forget_and_a_prune_take_while_it_is_looked_for_is_not_missing(
    repository: Repository, backend: MemoryBackend, open_again: Opener, kind: str
) -> None:
    """As where this prune slept for longer than its lease lives."""
    gone = back_up(repository, DictSource({b"f": noise(1)}), service="one")
    kept = back_up(repository, DictSource({b"g": noise(2)}), service="two")

    def meanwhile() -> None:
        let_go(repository, gone)
        assert prune(repository, now=True).deleted > 0

    sleeper = open_again()
    sleeper.backend = beside = Beside(backend, "list", kind, meanwhile)
    found = look(sleeper)
    assert beside.has_acted
    assert [snapshot.id for snapshot in found.snapshots] == [kept.id]
    assert found.lost == []


def test_uses_are_refused_once_the_index_is_another(repository: Repository) -> None:
    back_up(repository, DictSource({b"f": noise(1)}))
    found = look(repository)
    back_up(repository, DictSource({b"f": noise(2)}))
    with pytest.raises(RuntimeError):
        list(uses(repository, found))
