"""A check beside a forget and a prune tells no damage where there is none, and all there is."""

import random
from collections.abc import Callable

import pytest

from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.check import CheckReport, run_check
from snap.repo.ids import Kind, ObjectId, pack_name
from snap.repo.index import PackColumns, join_columns
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository, open_repository
from snap.repo.snapshot import Snapshot

from .conftest import back_up, change_tags
from .copies import names
from .dictsource import DictSource

CHANCE = random.Random(12)


class Beside(FaultyBackend):
    """Does something else once, just before the first call of this kind under a prefix."""

    def __init__(
        self, inner: MemoryBackend, operation: str, prefix: str, act: Callable[[], None]
    ) -> None:
        super().__init__(inner)
        self._when = operation, prefix
        self._act: Callable[[], None] | None = act

    def _struck(self, operation: str, name: str) -> list[Fault]:
        act = self._act
        if act is not None and operation == self._when[0] and name.startswith(self._when[1]):
            self._act = None
            act()
        return super()._struck(operation, name)

    @property
    def has_acted(self) -> bool:
        return self._act is None


@pytest.fixture
def two(repository: Repository) -> tuple[Snapshot, Snapshot]:
    """Two snapshots that share nothing."""
    return (
        back_up(repository, DictSource({b"a": CHANCE.randbytes(90_000)}), service="one"),
        back_up(repository, DictSource({b"b": CHANCE.randbytes(90_000)}), service="two"),
    )


def forget_and_prune(repository: Repository, snapshot: Snapshot, packs: set[ObjectId]) -> None:
    """Take a snapshot and its packs away, in the order of a forget and a prune."""
    backend = repository.backend
    backend.delete(f"snapshots/{snapshot.id.hex()}")
    old = repository.names("index/")
    kept: list[PackColumns] = []
    for name in old:
        kept += [pack for pack in repository.read_index(name) if pack.id not in packs]
    repository.put_object("index/", Kind.INDEX, join_columns(kept))
    for name in old:
        backend.delete(name)
    for pack in packs:
        for kind in (1, 2):
            if pack_name(kind, pack) in {s.name for s in backend.list("")}:
                backend.delete(pack_name(kind, pack))


def check(backend: FaultyBackend, recovery: str, fraction: float) -> CheckReport:
    with open_repository(backend, recovery, cache_dir=None) as repository:
        return run_check(repository, read_fraction=fraction, reporter=SilentReporter())


@pytest.mark.parametrize("fraction", [0, 1])
@pytest.mark.parametrize(
    ("operation", "prefix"),
    [
        ("get", "index/"),
        ("list", "data/"),
        ("list", "meta/"),
        ("list", "snapshots/"),
        ("get", "snapshots/"),
        ("get", "meta/"),
        ("get", "data/"),
    ],
)
def test_what_a_prune_takes_while_a_check_runs_is_not_missing(
    repository: Repository,
    backend: MemoryBackend,
    recovery_key: str,
    two: tuple[Snapshot, Snapshot],
    operation: str,
    prefix: str,
    fraction: float,
) -> None:
    first = written_by(repository, two[0])
    beside = Beside(backend, operation, prefix, lambda: forget_and_prune(repository, two[0], first))
    report = check(beside, recovery_key, fraction)
    assert beside.has_acted or (operation, prefix, fraction) == ("get", "data/", 0)
    assert report.errors == []


def written_by(repository: Repository, snapshot: Snapshot) -> set[ObjectId]:
    """Return the packs that hold the trees and data of a snapshot that shares nothing."""
    [component] = snapshot.components
    [tree] = component.subtree or ()
    [place] = repository.cache.locate(tree)
    for name in repository.names("index/"):
        packs = {pack.id for pack in repository.read_index(name)}
        if place.pack_id in packs:
            return packs
    raise AssertionError("no index object names the tree")


@pytest.mark.parametrize("fraction", [0, 1])
def test_what_is_missing_is_told_also_when_the_index_was_just_replaced(
    repository: Repository,
    backend: MemoryBackend,
    recovery_key: str,
    two: tuple[Snapshot, Snapshot],
    fraction: float,
) -> None:
    second = written_by(repository, two[1])
    lost = next(n for n in names(backend, "data/") if bytes.fromhex(n[-64:]) in second)

    def act() -> None:
        forget_and_prune(repository, two[0], written_by(repository, two[0]))
        backend.delete(lost)

    report = check(Beside(backend, "list", "data/", act), recovery_key, fraction)
    assert [(p.object, p.problem) for p in report.errors] == [(lost, "missing")]
    assert {e.snapshot.id for e in report.losses.paths} == {two[1].id}


def test_a_retagged_snapshot_is_followed_under_its_new_name(
    repository: Repository,
    backend: MemoryBackend,
    recovery_key: str,
    two: tuple[Snapshot, Snapshot],
) -> None:
    def act() -> None:
        change_tags(repository, two[0], add=["x"])

    beside = Beside(backend, "get", "snapshots/", act)
    report = check(beside, recovery_key, 0)
    assert beside.has_acted
    assert report.errors == []
