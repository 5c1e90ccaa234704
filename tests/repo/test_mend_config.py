import pytest

from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError
from snap.repo.clock import system_clock
from snap.repo.config import decode_config
from snap.repo.keys import WrongPassword
from snap.repo.mend_config import mend_config
from snap.repo.repository import open_repository

from .copies import names


def test_a_whole_config_is_left_alone(backend: MemoryBackend, recovery_key: str) -> None:
    before = backend.get("config")
    assert not mend_config(backend, recovery_key, system_clock, dry_run=False)
    assert backend.get("config") == before


def test_a_damaged_check_line_or_field_is_written_anew_and_the_old_kept(
    backend: MemoryBackend, recovery_key: str
) -> None:
    good = backend.get("config")
    before = decode_config(good)
    old_digit = b'"created": 1'
    for damaged in (good[:-3] + b"zz\n", good[:-66], good.replace(old_digit, b'"created": 3')):
        assert damaged != good
        backend.put("config", damaged)
        with pytest.raises(IntegrityError):
            open_repository(backend, recovery_key, cache_dir=None)
        assert mend_config(backend, recovery_key, system_clock, dry_run=True)
        assert backend.get("config") == damaged
        assert mend_config(backend, recovery_key, system_clock, dry_run=False)
        after = decode_config(backend.get("config"))
        assert after.repository_id == before.repository_id
        assert after.parameters == before.parameters
        assert after.instance_id != before.instance_id
        open_repository(backend, recovery_key, cache_dir=None).close()
        assert damaged in [backend.get(name) for name in names(backend, "aside/")]


def test_what_names_another_repository_or_nothing_is_not_believed(
    backend: MemoryBackend, recovery_key: str
) -> None:
    good = backend.get("config")
    digits = decode_config(good).repository_id.hex().encode()
    backend.put("config", good.replace(digits, digits[::-1]))
    with pytest.raises(WrongPassword):
        mend_config(backend, recovery_key, system_clock, dry_run=False)
    backend.put("config", b"{")
    with pytest.raises(IntegrityError):
        mend_config(backend, recovery_key, system_clock, dry_run=False)
    assert backend.get("config") == b"{"
