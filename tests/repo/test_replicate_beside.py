"""Copying while the repository forgets and prunes: what is gone is no damage."""

from collections.abc import Callable

import pytest

from snap.backends.faulty import FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.clock import MINUTE_NS
from snap.repo.lease import Lease, Owner
from snap.repo.repository import SNAPSHOT_PREFIX, Repository
from snap.repo.snapshot import Snapshot

from .conftest import FakeClock, Opener, back_up
from .copies import contents, errors, files, new_copy, replicate
from .dictsource import DictSource
from .pruning import let_go, packs_of, prune

HALF_HOUR_NS = 31 * MINUTE_NS


class Watched(FaultyBackend):
    """A place of which the first put below a prefix is told."""

    def __init__(self, inner: MemoryBackend, prefix: str, then: Callable[[], None]) -> None:
        super().__init__(inner)
        self._prefix, self._then = prefix, [then]

    def put(self, name: str, *args: object, **kwargs: object) -> None:
        if name.startswith(self._prefix) and self._then:
            self._then.pop()()
        super().put(name, *args, **kwargs)  # type: ignore[arg-type]


@pytest.fixture
def two(repository: Repository, clock: FakeClock) -> list[Snapshot]:
    snapshots = [back_up(repository, DictSource(files(seed))) for seed in (1, 2)]
    clock.now_ns += HALF_HOUR_NS
    return snapshots


def test_a_snapshot_that_is_forgotten_before_it_is_put_is_no_damage(
    repository: Repository, two: list[Snapshot], open_again: Opener, recovery_key: str
) -> None:
    other = open_again()
    inner = new_copy(repository)
    report = replicate(repository, Watched(inner, "index/", lambda: let_go(other, two[0])))
    assert (report.ok, report.snapshots, report.problems) == (True, 1, [])
    assert contents(inner, recovery_key) == [files(2)]
    assert errors(inner, recovery_key) == []


def doom_what_is_used(repository: Repository, used: Snapshot, clock: FakeClock) -> None:
    """Leave a mark on what a snapshot needs that was committed after it."""
    name = SNAPSHOT_PREFIX + used.id.hex()
    stored = repository.backend.get(name)
    with Lease(repository.backend, repository.keys, Owner("backup", "far", 3), clock):
        let_go(repository, used)
        assert prune(repository).marked > 0
        repository.backend.put(name, stored)
    clock.now_ns += HALF_HOUR_NS


@pytest.mark.parametrize("forgotten", [False, True])
def test_packs_that_are_swept_while_they_are_copied_are_no_damage(
    repository: Repository,
    two: list[Snapshot],
    open_again: Opener,
    clock: FakeClock,
    recovery_key: str,
    *,
    forgotten: bool,
) -> None:
    doom_what_is_used(repository, two[0], clock)
    other = open_again()
    before = packs_of(repository.backend)

    def sweep() -> None:
        if forgotten:
            let_go(other, two[0])
        # What is needed is moved first, and deleted by the next.
        assert prune(other).deleted + prune(other).deleted > 0

    inner = new_copy(repository)
    report = replicate(repository, Watched(inner, "meta/", sweep))
    assert before - packs_of(repository.backend)
    assert (report.problems, report.held_back) == ([], [])
    wanted = [files(2)] if forgotten else [files(1), files(2)]
    assert contents(inner, recovery_key) == wanted
    assert errors(inner, recovery_key) == []
