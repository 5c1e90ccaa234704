import pytest

from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError
from snap.repo.keys import WrongPassword
from snap.repo.repository import Repository
from snap.repo.slots import KEY_PREFIX, open_any_slot, read_slot, sealed_slots

from .conftest import PASSPHRASE


def test_a_damaged_slot_is_told_and_does_not_keep_the_others_from_opening(
    repository: Repository, backend: MemoryBackend, recovery_key: str
) -> None:
    mine = KEY_PREFIX + repository.slot.id.hex()
    (other,) = {stat.name for stat in backend.list(KEY_PREFIX)} - {mine}
    backend.put(other, b"damaged")
    warnings: list[str] = []
    identity = repository.config.repository_id
    # The fixture opened it with the recovery key, so the passphrase's is the damaged one.
    _, slot = open_any_slot(backend, recovery_key, identity, warnings)
    assert slot == repository.slot
    with pytest.raises(WrongPassword) as caught:
        open_any_slot(backend, PASSPHRASE, identity, warnings)
    assert any(other in warning for warning in warnings)
    assert other in caught.value.hint
    with pytest.raises(IntegrityError, match="damaged"):
        read_slot(backend, other)


def test_without_any_slot_it_is_said_what_to_do(
    repository: Repository, backend: MemoryBackend
) -> None:
    assert len(list(sealed_slots(backend))) == 2
    for stat in list(backend.list(KEY_PREFIX)):
        backend.delete(stat.name)
    with pytest.raises(IntegrityError, match="no key slot") as caught:
        open_any_slot(backend, PASSPHRASE, repository.config.repository_id, [])
    assert "from a copy" in caught.value.hint
