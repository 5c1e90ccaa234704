import pytest

from snap.backends.faulty import FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.errors import UsageError
from snap.repo.catalog import SnapshotNotFound, list_snapshots
from snap.repo.clock import MINUTE_NS
from snap.repo.lease import Lease, Owner, RepositoryLocked
from snap.repo.repository import SNAPSHOT_PREFIX, Repository
from snap.repo.retag import retag

from .conftest import FakeClock, back_up, change_tags
from .dictsource import DictSource

OWNER = Owner("tag", "host", 1)


def test_what_cannot_be_a_tag_is_refused(repository: Repository) -> None:
    snapshot = back_up(repository, DictSource({b"a": b"x"}))
    for tag in ("", " x", "a,b"):
        with pytest.raises(UsageError):
            change_tags(repository, snapshot, add=[tag])
    assert list_snapshots(repository) == [snapshot]


def test_a_snapshot_that_is_forgotten_meanwhile_does_not_come_back(
    repository: Repository, backend: MemoryBackend
) -> None:
    snapshot = back_up(repository, DictSource({b"a": b"x"}))

    class Forgetting(FaultyBackend):
        def put(self, name: str, *args: object, **kwargs: object) -> None:
            super().put(name, *args, **kwargs)  # type: ignore[arg-type]
            if name.startswith(SNAPSHOT_PREFIX):
                backend.delete(SNAPSHOT_PREFIX + snapshot.id.hex())

    repository.backend = Forgetting(backend)
    with pytest.raises(SnapshotNotFound, match="forgotten meanwhile"):
        change_tags(repository, snapshot, add=["x"])
    assert list_snapshots(repository) == []


def test_whose_lease_ran_out_changes_nothing(repository: Repository, clock: FakeClock) -> None:
    snapshot = back_up(repository, DictSource({b"a": b"x"}))
    with Lease(repository.backend, repository.keys, OWNER, clock) as lease:
        clock.now_ns += 31 * MINUTE_NS
        with pytest.raises(RepositoryLocked):
            retag(repository, snapshot, lease, add=["x"])
    assert list_snapshots(repository) == [snapshot]
