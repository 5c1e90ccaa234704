"""A check beside a forget and a prune tells no damage where there is none, and all there is."""

import random

import pytest

from snap.backends.faulty import FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.catalog import ProblemKind
from snap.repo.check import CheckReport, run_check
from snap.repo.clock import MINUTE_NS
from snap.repo.doomed import DOOMED_PREFIX
from snap.repo.ids import Kind, ObjectId, pack_name
from snap.repo.index import PackColumns, join_columns
from snap.repo.lease import RepositoryLocked
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository, open_repository
from snap.repo.snapshot import Snapshot

from .beside import Beside
from .conftest import FakeClock, Opener, back_up, change_tags
from .copies import names
from .dictsource import DictSource
from .pruning import prune

CHANCE = random.Random(12)


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


@pytest.fixture
def named_again(
    open_again: Opener,
    backend: MemoryBackend,
    recovery_key: str,
    clock: FakeClock,
    two: tuple[Snapshot, Snapshot],
) -> set[str]:
    """Packs that a sweep deleted while the backup that had put them slept, and then named them."""
    other = open_again()

    def sleep() -> None:
        clock.now_ns += 31 * MINUTE_NS
        # Takes the sleeper for dead, and takes up what it left; only then may a prune mark it.
        back_up(other, DictSource({b"b": b"short"}), service="two", hostname="far")
        for _ in range(2):
            clock.now_ns += 31 * MINUTE_NS
            prune(other)

    sleeper = open_repository(
        Beside(backend, "put", "index/", sleep), recovery_key, cache_dir=None, clock=clock
    )
    with sleeper, pytest.raises(RepositoryLocked, match="paused for so long"):
        back_up(sleeper, DictSource({b"c": CHANCE.randbytes(90_000)}))
    named = {pack_name(pack.kind, pack.id) for pack in index_of(open_again)}
    gone = named - {stat.name for stat in backend.list("")}
    assert gone
    return gone


def index_of(open_again: Opener) -> list[PackColumns]:
    opened = open_again()
    return [pack for name in opened.names("index/") for pack in opened.read_index(name)]


@pytest.mark.parametrize("fraction", [0, 1])
def test_what_a_sweep_deleted_and_a_sleeper_named_again_is_a_hint(
    named_again: set[str], open_again: Opener, fraction: float
) -> None:
    report = run_check(open_again(), read_fraction=fraction, reporter=SilentReporter())
    assert report.ok
    assert len(report.hints) == 1
    assert "that a prune deleted are named by the index again" in report.hints[0]
    prune(open_again())
    report = run_check(open_again(), read_fraction=fraction, reporter=SilentReporter())
    assert (report.errors, report.hints) == ([], [])


def test_what_is_gone_and_was_never_marked_is_an_error_though_no_snapshot_needs_it(
    named_again: set[str], open_again: Opener, backend: MemoryBackend
) -> None:
    for name in names(backend, DOOMED_PREFIX):
        backend.delete(name)
    report = run_check(open_again(), read_fraction=0, reporter=SilentReporter())
    assert named_again <= {problem.object for problem in report.errors}
    assert {problem.kind for problem in report.errors} == {ProblemKind.MISSING}
    assert (report.losses.count, report.hints) == (0, [])


def test_what_is_gone_is_an_error_where_a_snapshot_needs_anything_that_is_gone(
    named_again: set[str], open_again: Opener, backend: MemoryBackend
) -> None:
    lost = next(iter(names(backend, "data/")))
    backend.delete(lost)
    report = run_check(open_again(), read_fraction=0, reporter=SilentReporter())
    assert {lost, *named_again} <= {problem.object for problem in report.errors}
    assert report.losses.count > 0
