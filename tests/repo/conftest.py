"""Repositories in memory, with small blobs and packs so that little data makes many."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.backup import BackupOptions, run_backup
from snap.repo.clock import MINUTE_NS
from snap.repo.config import Parameters
from snap.repo.keys import MINIMUM_COST
from snap.repo.lease import Lease, Owner
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository, create_repository, open_repository
from snap.repo.retag import retag
from snap.repo.snapshot import Snapshot
from snap.repo.source import Source

from .dictsource import DictSource
from .pruning import files

PASSPHRASE = "correct horse"
SMALL = Parameters(
    pack_bytes=64 << 10, blob_min_bytes=1 << 10, blob_avg_bytes=4 << 10, blob_max_bytes=16 << 10
)
OPTIONS = BackupOptions(service="shop", hostname="host", username="user")


class FakeClock:
    """A clock that moves by a second with every look, and as far as a test says."""

    def __init__(self) -> None:
        self.now_ns = 1_790_000_000_000_000_000

    def __call__(self) -> int:
        self.now_ns += 1_000_000_000
        return self.now_ns


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def backend(clock: FakeClock) -> MemoryBackend:
    return MemoryBackend(clock=clock)


@pytest.fixture
def recovery_key(backend: MemoryBackend, clock: FakeClock) -> str:
    _, recovery_key = create_repository(
        backend, PASSPHRASE, label="first", cost=MINIMUM_COST, clock=clock, parameters=SMALL
    )
    return recovery_key


Opener = Callable[..., Repository]


@pytest.fixture
def open_again(backend: MemoryBackend, recovery_key: str, clock: FakeClock) -> Iterator[Opener]:
    """Open the repository; without ``cache_dir`` always with an empty cache."""
    opened: list[Repository] = []

    def opener(credential: str = recovery_key, cache_dir: Path | None = None) -> Repository:
        # The recovery key is the default: it costs no Argon2.
        repository = open_repository(backend, credential, cache_dir=cache_dir, clock=clock)
        opened.append(repository)
        return repository

    yield opener
    for repository in opened:
        repository.close()


@pytest.fixture
def repository(open_again: Opener) -> Repository:
    return open_again()


def back_up(repository: Repository, *sources: Source, **changes: Any) -> Snapshot:
    """Run a backup with the usual options."""
    options = replace(OPTIONS, **changes)
    return run_backup(repository, list(sources), options, SilentReporter())


def change_tags(repository: Repository, snapshot: Snapshot, **changes: Any) -> Snapshot:
    """Change a snapshot's tags as ``snap tag`` does."""
    owner = Owner("tag", OPTIONS.hostname, 1)
    with Lease(repository.backend, repository.keys, owner, repository.clock) as lease:
        return retag(repository, snapshot, lease, **changes)


@pytest.fixture
def two(repository: Repository, clock: FakeClock) -> list[Snapshot]:
    """Two versions that share one file; old, since what is put beside a backup is spared."""
    snapshots = [back_up(repository, DictSource(files(seed))) for seed in (1, 2)]
    clock.now_ns += 31 * MINUTE_NS
    return snapshots
