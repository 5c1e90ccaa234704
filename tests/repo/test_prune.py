"""Pruning: what goes, what stays, and what keeps it from going."""

from dataclasses import replace
from typing import Any

import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.check import run_check
from snap.repo.clock import MINUTE_NS
from snap.repo.doomed import list_doomed
from snap.repo.forget import forget
from snap.repo.lease import Lease, Owner
from snap.repo.progress import SilentReporter
from snap.repo.prune import PruneOptions, PruneReport, run_prune
from snap.repo.repository import Repository
from snap.repo.restore import run_restore
from snap.repo.snapshot import Snapshot

from .conftest import FakeClock, back_up
from .dictsource import DictSource
from .memorytarget import MemoryTarget

HOST = Owner("prune", "host", 1)
HALF_HOUR_NS = 31 * MINUTE_NS


def noise(seed: int, size: int = 40_000) -> bytes:
    from random import Random

    return Random(seed).randbytes(size)


def let_go(repository: Repository, *snapshots: Snapshot) -> None:
    owner = Owner("forget", "host", 1)
    with Lease(repository.backend, repository.keys, owner, repository.clock) as lease:
        forget(repository, snapshots, lease)


def prune(repository: Repository, **changes: Any) -> PruneReport:
    return run_prune(repository, replace(PruneOptions(HOST), **changes), SilentReporter())


def packs_of(backend: MemoryBackend) -> set[str]:
    return {stat.name for prefix in ("data/", "meta/") for stat in backend.list(prefix)}


def is_whole(repository: Repository) -> bool:
    report = run_check(repository, read_fraction=1, reporter=SilentReporter())
    assert report.errors == []
    return True


def content(repository: Repository, snapshot: Snapshot) -> dict[bytes, bytes]:
    target = MemoryTarget()
    run_restore(repository, snapshot, "data", (), target, reporter=SilentReporter())
    return target.files


@pytest.fixture
def two(repository: Repository) -> list[Snapshot]:
    """Two snapshots that share one file."""
    shared = noise(0)
    return [back_up(repository, DictSource({b"own": noise(n), b"shared": shared})) for n in (1, 2)]


def test_what_no_snapshot_needs_is_marked_first_and_deleted_half_an_hour_later(
    repository: Repository, two: list[Snapshot], backend: MemoryBackend, clock: FakeClock
) -> None:
    before = packs_of(backend)
    let_go(repository, two[0])
    report = prune(repository)
    assert report.marked > 0
    assert report.deleted == 0
    assert before <= packs_of(backend), "nothing was deleted yet"
    assert prune(repository).deleted == 0, "it is not half an hour old"
    clock.now_ns += HALF_HOUR_NS
    report = prune(repository)
    assert report.deleted > 0
    assert report.deleted_bytes > 40_000
    assert not before <= packs_of(backend)
    assert list_doomed(backend, repository.keys).pack_ids() == frozenset()
    assert is_whole(repository)
    assert content(repository, two[1])[b"own"] == noise(2)
