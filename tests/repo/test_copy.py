from typing import Unpack

import pytest

from snap.backends.base import Buffer, ObjectExists, PutOptions
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError, SnapError, UsageError
from snap.repo.config import RepositoryNotFound
from snap.repo.copy import ForeignRepository, create_copy, open_copy
from snap.repo.keys import MINIMUM_COST
from snap.repo.repository import (
    Repository,
    create_repository,
    open_repository,
)
from snap.repo.slots import KEY_PREFIX

from .conftest import PASSPHRASE, SMALL


def other_repository() -> MemoryBackend:
    backend = MemoryBackend()
    create_repository(backend, "other", label="", cost=MINIMUM_COST)
    return backend


def test_a_copy_has_the_same_id_parameters_and_slots_and_an_instance_id_of_its_own(
    repository: Repository, recovery_key: str
) -> None:
    place = MemoryBackend()
    config = create_copy(repository, place)
    assert config.repository_id == repository.config.repository_id
    assert config.parameters == SMALL
    assert config.instance_id != repository.config.instance_id
    assert open_copy(repository, place) == config
    for name in repository.names(KEY_PREFIX):
        assert place.get(name) == repository.backend.get(name)
    for credential in (PASSPHRASE, recovery_key):
        with open_repository(place, credential, cache_dir=None) as opened:
            assert opened.config == config


def test_a_writer_key_makes_a_copy_that_the_full_key_opens(
    repository: Repository, backend: MemoryBackend, recovery_key: str
) -> None:
    from snap.repo.keys import Capability

    repository.add_passphrase_slot(
        "writer", capability=Capability.WRITER, label="w", cost=MINIMUM_COST
    )
    place = MemoryBackend()
    with open_repository(backend, "writer", cache_dir=None) as writer:
        create_copy(writer, place)
    with open_repository(place, recovery_key, cache_dir=None) as opened:
        assert opened.capability is Capability.FULL


def test_where_there_is_something_no_copy_is_made_and_it_is_said_what_it_is(
    repository: Repository, backend: MemoryBackend
) -> None:
    with pytest.raises(UsageError, match="is the repository itself"):
        create_copy(repository, backend)
    place = MemoryBackend()
    create_copy(repository, place)
    before = {s.name: place.get(s.name) for s in place.list("")}
    with pytest.raises(UsageError, match="there is a copy of the repository already"):
        create_copy(repository, place)
    assert {s.name: place.get(s.name) for s in place.list("")} == before
    with pytest.raises(ForeignRepository, match="another repository"):
        create_copy(repository, other_repository())
    place.delete("config")
    place.put("snapshots/" + "0" * 64, b"x")
    with pytest.raises(SnapError, match="remains of a repository"):
        create_copy(repository, place)


class Racing(MemoryBackend):
    """A store in which somebody else makes a repository just before our config comes."""

    def __init__(self, winner: bytes) -> None:
        super().__init__()
        self._winner = winner

    def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
        if name == "config" and options.get("exclusive"):
            super().put(name, self._winner)
        super().put(name, data, **options)


def test_of_two_that_are_made_at_once_one_wins_and_the_other_leaves_nothing(
    repository: Repository,
) -> None:
    place = Racing(other_repository().get("config"))
    with pytest.raises(ForeignRepository):
        create_copy(repository, place)
    assert not list(place.list(KEY_PREFIX))
    twin = MemoryBackend()
    create_copy(repository, twin)
    place = Racing(twin.get("config"))
    with pytest.raises(UsageError, match="already"):
        create_copy(repository, place)
    # The winner's slots have the same names and bytes as ours: they must stay.
    assert {s.name for s in place.list(KEY_PREFIX)} == set(repository.names(KEY_PREFIX))


def test_config_is_written_last(repository: Repository) -> None:
    inner = MemoryBackend()
    faulty = FaultyBackend(inner)
    create_copy(repository, faulty)
    assert [name for operation, name in faulty.calls if operation == "put"][-1] == "config"
    again = FaultyBackend(MemoryBackend(), Fault("put", "config", error=lambda: ObjectExists("x")))
    with pytest.raises(ObjectExists):
        create_copy(repository, again)


def test_a_damaged_slot_is_left_out_of_the_copy_and_told(
    repository: Repository, backend: MemoryBackend
) -> None:
    broken = next(n for n in repository.names(KEY_PREFIX) if n[-64:] != repository.slot.id.hex())
    backend.put(broken, b"?" + backend.get(broken)[1:])
    place = MemoryBackend()
    create_copy(repository, place)
    assert [s.name for s in place.list(KEY_PREFIX)] == [f"keys/{repository.slot.id.hex()}"]
    assert any(broken in warning for warning in repository.warnings)


def test_what_is_no_copy_is_told(repository: Repository, backend: MemoryBackend) -> None:
    with pytest.raises(RepositoryNotFound, match="no copy at memory yet"):
        open_copy(repository, MemoryBackend())
    with pytest.raises(ForeignRepository):
        open_copy(repository, other_repository())
    with pytest.raises(UsageError, match="is the repository itself"):
        open_copy(repository, backend)
    place = MemoryBackend()
    create_copy(repository, place)
    stored = place.get("config")
    place.put("config", stored.replace(b'"created": ', b'"created": 1'))
    with pytest.raises(IntegrityError, match="check line"):
        open_copy(repository, place)
