import os
import random

from snap.backends.memory import MemoryBackend
from snap.repo.adopt import adopt_interrupted, index_orphans
from snap.repo.clock import MINUTE_NS
from snap.repo.lease import Lease, Owner
from snap.repo.repository import Repository

from .conftest import FakeClock, Opener, back_up
from .dictsource import DictSource

NOISE = random.Random(10).randbytes(300_000)
DEAD = Owner("backup", "host", 2**22 + 1)
"""A process number above what Linux gives out."""


def killed_backup(repository: Repository, backend: MemoryBackend, owner: Owner) -> None:
    """Leave what a backup that was killed before its index leaves."""
    back_up(repository, DictSource({b"a": NOISE}))
    for prefix in ("index/", "snapshots/"):
        for stat in list(backend.list(prefix)):
            backend.delete(stat.name)
    lease = Lease(backend, repository.keys, owner, repository.clock)
    lease._put()


def test_packs_of_a_killed_backup_are_reused(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    killed_backup(repository, backend, DEAD)
    after = back_up(open_again(), DictSource({b"a": NOISE}))
    assert after.statistics.bytes_new == 0
    assert list(backend.list("leases/")) == []


def test_packs_of_a_living_backup_are_left_alone(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    killed_backup(repository, backend, Owner("backup", "host", os.getpid()))
    after = back_up(open_again(), DictSource({b"a": NOISE}))
    assert after.statistics.bytes_new > 0
    assert len(list(backend.list("leases/"))) == 1


def test_another_hosts_backup_counts_as_dead_only_after_half_an_hour(
    repository: Repository, backend: MemoryBackend, open_again: Opener, clock: FakeClock
) -> None:
    killed_backup(repository, backend, Owner("backup", "elsewhere", 1))
    later = open_again()
    with Lease(backend, later.keys, Owner("backup", "host", 1), clock) as own:
        later.load_index()
        assert adopt_interrupted(later, "host", own) == 0
    clock.now_ns += 31 * MINUTE_NS
    with Lease(backend, later.keys, Owner("backup", "host", 1), clock) as own:
        assert adopt_interrupted(later, "host", own) > 0
    assert list(backend.list("leases/")) == []


def test_damaged_and_foreign_packs_are_not_adopted(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    killed_backup(repository, backend, DEAD)
    packs = [stat.name for stat in backend.list("data/")]
    for name in packs:
        backend.put(name, backend.get(name)[:-1])
    fresh = open_again()
    fresh.load_index()
    adopted = index_orphans(fresh)
    assert adopted == len(list(backend.list("meta/")))
