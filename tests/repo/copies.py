"""Repositories with copies, and what to compare in them."""

import random
from dataclasses import replace

from snap.backends.base import Backend
from snap.backends.memory import MemoryBackend
from snap.repo.catalog import list_snapshots
from snap.repo.check import run_check
from snap.repo.copy import create_copy
from snap.repo.dump import dump_file
from snap.repo.lease import Owner
from snap.repo.progress import SilentReporter
from snap.repo.replicate import OPERATION, Keeps, ReplicateOptions, ReplicateReport, run_replicate
from snap.repo.repository import Repository, open_repository

OWNER = Owner(OPERATION, "host", 1)
DEAD = Owner(OPERATION, "host", 2**22 + 1)
"""Of a process that is gone: what it leaves is removed by the next run."""
NAMES = (b"a", b"b")


def files(seed: int) -> dict[bytes, bytes]:
    chance = random.Random(seed)
    return {b"a": chance.randbytes(150_000), b"b": chance.randbytes(3_000)}


def objects(backend: Backend) -> dict[str, bytes]:
    """Return what has to be equal in all copies."""
    own = ("config", "leases/", "checks/")
    return {s.name: backend.get(s.name) for s in backend.list("") if not s.name.startswith(own)}


def new_copy(repository: Repository) -> MemoryBackend:
    place = MemoryBackend()
    create_copy(repository, place)
    return place


def replicate(
    repository: Repository,
    place: Backend,
    *,
    verify: bool = False,
    dry_run: bool = False,
    owner: Owner = OWNER,
    keeps: Keeps | None = None,
) -> ReplicateReport:
    options = ReplicateOptions(owner, verify=verify, dry_run=dry_run, keeps=keeps)
    return run_replicate(repository, place, options, SilentReporter(), name="copy")


def contents(place: Backend, credential: str) -> list[dict[bytes, bytes]]:
    """Return the files of every snapshot that a place shows; all of them must be whole."""
    with open_repository(place, credential, cache_dir=None) as opened:
        return [
            {name: b"".join(dump_file(opened, snapshot, "data", (name,))) for name in NAMES}
            for snapshot in list_snapshots(opened)
        ]


def errors(place: Backend, credential: str) -> list[str]:
    """Return the objects in which a full check finds something wrong."""
    with open_repository(place, credential, cache_dir=None) as opened:
        report = run_check(opened, read_fraction=1, reporter=SilentReporter())
        return [problem.object for problem in report.errors]


def flip(backend: Backend, name: str, at: int | None = None) -> None:
    """Damage an object in its middle, or where it is said, and leave its size."""
    stored = bytearray(backend.get(name))
    stored[len(stored) // 2 if at is None else at] ^= 1
    backend.put(name, stored)


def let_index_lie(repository: Repository) -> None:
    """Replace an index object by one of other nonces than the packs' own directories have."""
    name = repository.names("index/")[0]
    packs = [pack.summary() for pack in repository.read_index(name)]
    repository.backend.delete(name)
    lies = [tuple(e._replace(nonce=e.nonce + 1) for e in pack.entries) for pack in packs]
    repository.store_index([replace(p, entries=lie) for p, lie in zip(packs, lies, strict=True)])


def names(backend: Backend, *prefixes: str) -> list[str]:
    return sorted(s.name for prefix in prefixes for s in backend.list(prefix))
