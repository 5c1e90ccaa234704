from pathlib import Path

import pytest

from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError, SnapError, UsageError
from snap.repo.config import FormatTooNew, RepositoryNotFound
from snap.repo.keys import MINIMUM_COST, Capability, FullKeyRequired, WrongPassword
from snap.repo.repository import Repository, create_repository, open_repository

from .conftest import PASSPHRASE, Opener, back_up
from .dictsource import DictSource


def test_a_new_repository_opens_with_passphrase_and_recovery_key(
    open_again: Opener, recovery_key: str
) -> None:
    for credential, kind in ((PASSPHRASE, "passphrase"), (recovery_key, "recovery")):
        repository = open_again(credential)
        assert repository.slot.kind == kind
        assert repository.capability is Capability.FULL


def test_a_wrong_passphrase_is_told_from_no_repository_and_no_slot(
    backend: MemoryBackend, open_again: Opener
) -> None:
    with pytest.raises(WrongPassword) as caught:
        open_again("wrong")
    assert caught.value.exit_code == 12
    with pytest.raises(RepositoryNotFound) as nothing:
        open_repository(MemoryBackend(), "x", cache_dir=None)
    assert nothing.value.exit_code == 10
    for stat in list(backend.list("keys/")):
        backend.delete(stat.name)
    with pytest.raises(IntegrityError, match="no key slot"):
        open_again(PASSPHRASE)


def test_a_damaged_slot_does_not_keep_the_other_from_opening(
    backend: MemoryBackend, open_again: Opener, recovery_key: str
) -> None:
    for stat in list(backend.list("keys/")):
        good = backend.get(stat.name)
        backend.put(stat.name, good[:-1] + bytes([good[-1] ^ 1]))
        opened = 0
        for credential in (PASSPHRASE, recovery_key):
            try:
                open_again(credential)
                opened += 1
            except WrongPassword as error:
                assert "damaged" in error.hint
        assert opened == 1
        backend.put(stat.name, good)


def test_a_second_repository_in_one_place_is_refused(
    backend: MemoryBackend, repository: Repository
) -> None:
    with pytest.raises(UsageError, match="already"):
        create_repository(backend, "x", label="l", cost=MINIMUM_COST)


def test_remains_without_a_config_are_not_built_upon(
    backend: MemoryBackend, repository: Repository
) -> None:
    back_up(repository, DictSource({b"a": b"x"}))
    backend.delete("config")
    with pytest.raises(SnapError, match="remains"):
        create_repository(backend, "x", label="l", cost=MINIMUM_COST)


def test_a_config_that_was_changed_is_noticed(backend: MemoryBackend, open_again: Opener) -> None:
    stored = backend.get("config")
    backend.put("config", stored.replace(b'"pack_bytes": 65536', b'"pack_bytes": 65537'))
    with pytest.raises(IntegrityError, match="config"):
        open_again()
    backend.put("config", stored.replace(b'"snap_repository": 1', b'"snap_repository": 9'))
    with pytest.raises(FormatTooNew):
        open_again()


def test_slots_are_added_listed_and_removed_but_never_the_last_full_one(
    repository: Repository, open_again: Opener
) -> None:
    writer = repository.add_passphrase_slot(
        "writer", capability=Capability.WRITER, label="host", cost=MINIMUM_COST
    )
    assert {slot.label for slot in repository.key_slots()} == {"first", "recovery key", "host"}
    assert open_again("writer").capability is Capability.WRITER
    first, second = [s for s in repository.key_slots() if s.capability is Capability.FULL]
    repository.remove_slot(first.id.hex()[:12])
    with pytest.raises(UsageError, match="last full key"):
        repository.remove_slot(second.id.hex())
    with pytest.raises(UsageError, match="no key slot begins"):
        repository.remove_slot("ffffffffffff0000")
    repository.remove_slot(writer.id.hex())
    assert [slot.id for slot in repository.key_slots()] == [second.id]


def test_a_writer_cannot_make_a_full_key(repository: Repository, open_again: Opener) -> None:
    repository.add_passphrase_slot(
        "writer", capability=Capability.WRITER, label="host", cost=MINIMUM_COST
    )
    writer = open_again("writer")
    with pytest.raises(FullKeyRequired):
        writer.add_passphrase_slot("x", capability=Capability.FULL, label="l", cost=MINIMUM_COST)
    with pytest.raises(FullKeyRequired):
        writer.add_recovery_slot(label="l")
    with pytest.raises(FullKeyRequired, match="cannot restore"):
        writer.require_full("restore")


def test_a_changed_passphrase_replaces_the_old_one(open_again: Opener, recovery_key: str) -> None:
    repository = open_again(PASSPHRASE)
    repository.change_passphrase("new one", cost=MINIMUM_COST)
    assert open_again("new one").slot.label == "first"
    with pytest.raises(WrongPassword):
        open_again(PASSPHRASE)
    with pytest.raises(UsageError, match="recovery key"):
        open_again(recovery_key).change_passphrase("x", cost=MINIMUM_COST)


def test_an_object_whose_bytes_do_not_fit_its_name_is_refused(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"a": b"x"}))
    (name,) = repository.names("snapshots/")
    backend.put(name, backend.get(name) + b"x")
    with pytest.raises(IntegrityError, match=name):
        repository.get_object(name)


def test_index_objects_that_appear_and_vanish_are_followed(
    open_again: Opener, backend: MemoryBackend, tmp_path: Path
) -> None:
    one, other = open_again(cache_dir=tmp_path / "one"), open_again(cache_dir=tmp_path / "two")
    back_up(one, DictSource({b"a": b"x" * 100}))
    assert other.cache.index_ids() == set()
    other.load_index()
    assert other.cache.index_ids() == one.cache.index_ids()
    (name,) = other.names("index/")
    backend.delete(name)
    other.load_index()
    assert other.cache.index_ids() == set()


def test_the_readme_object_says_what_the_folder_is(
    backend: MemoryBackend, repository: Repository
) -> None:
    text = backend.get("README").decode()
    assert "snap repository, format version 1" in text
    assert "restore latest --target" in text


def test_no_cache_is_begun_anew_without_need(open_again: Opener, tmp_path: Path) -> None:
    for content in (b"one", b"two", b"two"):
        repository = open_again(cache_dir=tmp_path)
        back_up(repository, DictSource({b"a": content}))
        repository.load_index()
        assert repository.warnings == []
        assert not repository.cache.rebuilt
        repository.close()
