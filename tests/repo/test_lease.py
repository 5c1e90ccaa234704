import os
from dataclasses import replace

import pytest

from snap.backends.base import ObjectStat, PermissionDenied
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.clock import MINUTE_NS
from snap.repo.ids import ObjectId
from snap.repo.lease import (
    LEASE_PREFIX,
    Lease,
    LeaseState,
    Owner,
    RepositoryLocked,
    is_dead,
    list_leases,
    remove_dead,
    remove_ended,
)
from snap.repo.process import process_table
from snap.repo.repository import Repository

from .conftest import FakeClock

OWNER = Owner("backup", "host", os.getpid())


@pytest.fixture
def lease(repository: Repository, backend: MemoryBackend, clock: FakeClock) -> Lease:
    return Lease(backend, repository.keys, OWNER, clock)


def test_a_lease_is_there_while_it_is_held(
    lease: Lease, repository: Repository, backend: MemoryBackend
) -> None:
    with lease:
        (state,) = list_leases(backend, repository.keys)
        assert (state.id, state.owner, state.name) == (lease.id, OWNER, lease.name)
        lease.confirm()
    assert list_leases(backend, repository.keys) == []


def test_a_lease_that_others_removed_does_not_confirm(lease: Lease, backend: MemoryBackend) -> None:
    with lease:
        backend.delete(lease.name)
        with pytest.raises(RepositoryLocked) as caught:
            lease.confirm()
        assert caught.value.exit_code == 11


def test_a_lease_that_was_not_renewed_in_time_does_not_confirm(
    lease: Lease, clock: FakeClock
) -> None:
    with lease:
        clock.now_ns += 31 * MINUTE_NS
        with pytest.raises(RepositoryLocked, match="paused"):
            lease.confirm()


def test_a_lease_that_cannot_be_read_has_no_owner_and_dies_of_age(
    lease: Lease, repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    with lease:
        backend.put(lease.name, b"garbage")
        (state,) = list_leases(backend, repository.keys)
        assert state.owner is None
        assert not is_dead(state, clock(), "host")
        assert is_dead(state, clock() + 31 * MINUTE_NS, "host")


def test_a_process_of_this_host_that_is_gone_is_dead_at_once() -> None:
    def state(hostname: str, pid: int) -> LeaseState:
        return LeaseState(ObjectId(b"i" * 32), Owner("b", hostname, pid), 1000)

    gone = 2**22 + 1
    assert is_dead(state("host", gone), 1000, "host")
    assert not is_dead(state("elsewhere", gone), 1000, "host")
    assert not is_dead(state("host", os.getpid()), 1000, "host")
    assert not is_dead(state("host", 1), 1000, "host")


def test_dead_leases_of_the_kinds_that_are_named_are_removed(
    lease: Lease, repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    gone = 2**22 + 1
    owners = [
        Owner("replicate", "host", gone),
        Owner("backup", "host", gone),
        Owner("replicate", "host", os.getpid()),
        Owner("replicate", "elsewhere", gone),
    ]
    for owner in owners:
        Lease(backend, repository.keys, owner, clock)._put()
    with lease:
        remove_dead(backend, repository.keys, lease, "host", {"replicate"})
        left = [state.owner for state in list_leases(backend, repository.keys)]
        assert set(left) == {OWNER, *owners[1:]}
        clock.now_ns += 31 * MINUTE_NS
        lease._put()
        remove_dead(backend, repository.keys, lease, "host", {"replicate"})
        assert {state.owner for state in list_leases(backend, repository.keys)} == {
            OWNER,
            owners[1],
        }


def test_a_process_of_another_container_of_this_hosts_name_is_not_taken_for_gone(
    lease: Lease, backend: MemoryBackend, repository: Repository, clock: FakeClock
) -> None:
    with lease:
        (state,) = list_leases(backend, repository.keys)
        assert state.processes == process_table() != ""
        gone = replace(state, owner=Owner("backup", "host", 2**22 + 1))
        assert is_dead(gone, state.renewed_ns, "host")
        elsewhere = replace(gone, processes="another boot 4026531836")
        assert not is_dead(elsewhere, state.renewed_ns, "host")
        assert is_dead(elsewhere, state.renewed_ns + 31 * MINUTE_NS, "host")


def test_a_renewal_that_comes_too_late_does_not_heal_a_lease(
    lease: Lease, clock: FakeClock
) -> None:
    with lease:
        clock.now_ns += 31 * MINUTE_NS
        lease._renew()
        with pytest.raises(RepositoryLocked):
            lease.confirm()


def test_a_lease_that_others_remove_while_it_is_put_was_taken_for_dead(
    repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    class Sleepy(FaultyBackend):
        def stat(self, name: str) -> ObjectStat:
            backend.delete(name)
            return super().stat(name)

    lease = Lease(Sleepy(backend), repository.keys, OWNER, clock)
    with pytest.raises(RepositoryLocked, match="took it for dead"), lease:
        pass
    assert lease._ran_out


def keeping(backend: MemoryBackend) -> FaultyBackend:
    """A store that lets nothing go."""
    fault = Fault("delete", times=None, error=lambda: PermissionDenied("not allowed"))
    return FaultyBackend(backend, fault)


def test_a_lease_that_the_store_keeps_has_ended_all_the_same_and_goes_later(
    repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    store = keeping(backend)
    for _ in range(3):
        with Lease(store, repository.keys, OWNER, clock):
            assert len(list_leases(backend, repository.keys)) == 1
    assert list_leases(backend, repository.keys) == []
    store.calls.clear()
    remove_ended(store)
    assert sum(operation == "delete" for operation, _ in store.calls) == 1, "one is asked for"
    assert len(list(backend.list(LEASE_PREFIX))) == 3
    with Lease(backend, repository.keys, OWNER, clock) as own:
        remove_ended(backend)
        assert [stat.name for stat in backend.list(LEASE_PREFIX)] == [own.name]


def test_a_dead_lease_that_the_store_keeps_is_ended_and_its_owner_finds_out(
    lease: Lease, repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    gone = Lease(backend, repository.keys, Owner("prune", "host", 2**22 + 1), clock)
    gone._put()
    with lease:
        remove_dead(keeping(backend), repository.keys, lease, "host", {"prune"})
        assert [state.owner for state in list_leases(backend, repository.keys)] == [OWNER]
    with pytest.raises(RepositoryLocked):
        gone.confirm()
