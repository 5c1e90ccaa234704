"""Forgetting and pruning as the commands do, and what to compare afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from snap.backends.base import Backend
from snap.repo.check import run_check
from snap.repo.forget import forget
from snap.repo.holdings import StoredPacks
from snap.repo.lease import Lease, Owner
from snap.repo.progress import SilentReporter
from snap.repo.prune import PruneOptions, PruneReport, run_prune
from snap.repo.prune_plan import Limits
from snap.repo.repository import Repository
from snap.repo.restore import run_restore
from snap.repo.snapshot import Snapshot

from .memorytarget import MemoryTarget

PRUNER = Owner("prune", "host", 1)
ALL = Limits(max_unused=0.0)
"""Move whatever has anything unused in it."""


def noise(seed: int, size: int = 40_000) -> bytes:
    return Random(seed).randbytes(size)


def files(seed: int) -> dict[bytes, bytes]:
    """Return two files, one of which all versions share."""
    return {b"own": noise(seed), b"shared": noise(0)}


def let_go(repository: Repository, *snapshots: Snapshot) -> None:
    owner = Owner("forget", "host", 1)
    with Lease(repository.backend, repository.keys, owner, repository.clock) as lease:
        forget(repository, snapshots, lease)


def prune(repository: Repository, **changes: Any) -> PruneReport:
    return run_prune(repository, replace(PruneOptions(PRUNER), **changes), SilentReporter())


def packs_of(backend: Backend) -> set[str]:
    return {stat.name for prefix in ("data/", "meta/") for stat in backend.list(prefix)}


def size_of(backend: Backend) -> int:
    return sum(size for _, _, size in StoredPacks(backend).all())


def assert_whole(
    repository: Repository, expected: Sequence[tuple[Snapshot, Mapping[bytes, bytes]]]
) -> None:
    """Assert that all is sound and that each snapshot restores to what it was."""
    report = run_check(repository, read_fraction=1, reporter=SilentReporter())
    assert report.errors == []
    for snapshot, files in expected:
        assert content(repository, snapshot) == files


def content(repository: Repository, snapshot: Snapshot) -> dict[bytes, bytes]:
    target = MemoryTarget()
    component = snapshot.components[0].name
    run_restore(repository, snapshot, component, (), target, reporter=SilentReporter())
    return dict(target.files)
