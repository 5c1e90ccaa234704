import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.catalog import list_snapshots
from snap.repo.clock import MINUTE_NS
from snap.repo.commit import avoid_doomed, is_pruned, make_sure_of
from snap.repo.doomed import Doomed, DoomedPack, put_doomed
from snap.repo.ids import id_of_name
from snap.repo.lease import Lease, Owner, RepositoryLocked
from snap.repo.repository import Repository

from .conftest import FakeClock, back_up
from .dictsource import DictSource
from .pruning import noise

OWNER = Owner("backup", "host", 1)


def lease(repository: Repository, clock: FakeClock, owner: Owner = OWNER) -> Lease:
    return Lease(repository.backend, repository.keys, owner, clock)


def doom_everything(repository: Repository, backend: MemoryBackend) -> None:
    packs = {
        id_: DoomedPack(1 if stat.name.startswith("data") else 2, stat.size_bytes)
        for prefix in ("data/", "meta/")
        for stat in backend.list(prefix)
        if (id_ := id_of_name(stat.name)) is not None
    }
    put_doomed(backend, repository.keys, Doomed(1, packs))


def test_what_is_doomed_is_not_held_from_then_on(
    repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    snapshot = back_up(repository, DictSource({b"f": noise(1)}))
    blob = (snapshot.components[0].subtree or ())[0]
    assert repository.holdings.has(blob)
    doom_everything(repository, backend)
    with lease(repository, clock) as own:
        avoid_doomed(repository, own)
    assert not repository.holdings.has(blob)
    assert repository.warnings == [], "it is no damage"


def test_a_doomed_object_that_cannot_be_read_stops_a_backup_only_beside_a_prune(
    repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    put = put_doomed(backend, repository.keys, Doomed(1))
    backend.put(put.name, b"garbage")
    with lease(repository, clock) as own:
        avoid_doomed(repository, own)
        assert "damaged" in repository.warnings[0]
        prune = Owner("prune", "far", 2)
        with (
            lease(repository, clock, prune),
            pytest.raises(RepositoryLocked, match="prune is at work"),
        ):
            avoid_doomed(repository, own)


def test_a_prune_is_at_work_until_its_lease_is_dead(
    repository: Repository, clock: FakeClock
) -> None:
    with (
        lease(repository, clock) as own,
        lease(repository, clock, Owner("prune", "far", 2)) as other,
    ):
        assert is_pruned(repository.backend, repository.keys, own)
        assert not is_pruned(repository.backend, repository.keys, other), "not by oneself"
        clock.now_ns += 31 * MINUTE_NS
        own._put()
        assert not is_pruned(repository.backend, repository.keys, own)


@pytest.mark.parametrize("is_doomed", [False, True])
def test_one_that_was_taken_for_dead_keeps_its_snapshot_only_if_nothing_can_go(
    repository: Repository, backend: MemoryBackend, clock: FakeClock, is_doomed: bool
) -> None:
    snapshot = back_up(repository, DictSource({b"f": noise(1)}))
    with lease(repository, clock) as own:
        clock.now_ns += 31 * MINUTE_NS
        if not is_doomed:
            make_sure_of(repository, snapshot, own)
            assert list_snapshots(repository) == [snapshot]
            assert "took it for dead" in repository.warnings[0]
            return
        # All is there still, but a prune may be about to delete it.
        doom_everything(repository, backend)
        with pytest.raises(RepositoryLocked, match="removed again"):
            make_sure_of(repository, snapshot, own)
    assert list_snapshots(repository) == []
