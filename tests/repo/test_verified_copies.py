"""What copies remember of their packs being read: each its own."""

import pytest

from snap.backends.base import ObjectNotFound, PermissionDenied
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.check import run_check
from snap.repo.clock import system_clock
from snap.repo.lease import Owner
from snap.repo.progress import SilentReporter
from snap.repo.repair import RepairReport, run_repair, unlock_either
from snap.repo.repository import Repository
from snap.repo.verified import Coverage, PackReadings, coverage, recall, remember_named

from .conftest import back_up
from .copies import files, flip, names, new_copy, replicate
from .dictsource import DictSource

FAR_NS = 1 << 62
"""After every time that a test's clock says."""


@pytest.fixture
def filled(repository: Repository) -> Repository:
    for seed in (1, 2):
        back_up(repository, DictSource(files(seed)))
    run_check(repository, read_fraction=1, reporter=SilentReporter(), remember=True)
    return repository


def known(repository: Repository, place: MemoryBackend) -> Coverage:
    recalled = recall(place, repository.keys, FAR_NS)
    repository.load_index()
    return coverage(recalled.rows, (pack.id for pack in repository.cache.packs()))


def repair(repository: Repository, target: MemoryBackend, recovery_key: str) -> RepairReport:
    source = repository.backend
    secrets = unlock_either(target, source, recovery_key)
    owner = Owner("repair", "host", 1)
    return run_repair(target, source, secrets, SilentReporter(), owner=owner, clock=system_clock)


def test_copies_do_not_get_what_the_repository_remembers(filled: Repository) -> None:
    assert len(names(filled.backend, "checks/")) == 1
    place = new_copy(filled)
    replicate(filled, place)
    replicate(filled, place)
    assert names(place, "checks/") == []
    packs = known(filled, place)
    assert packs.never == packs.packs > 0


def test_replicate_with_verify_remembers_in_the_copy(filled: Repository) -> None:
    place = new_copy(filled)
    replicate(filled, place)
    before = names(filled.backend, "checks/")
    report = replicate(filled, place, verify=True)
    assert report.warnings == []
    assert known(filled, place).never == 0
    back_up(filled, DictSource(files(3)))
    replicate(filled, place)
    assert 0 < known(filled, place).never < known(filled, place).packs
    # What is put with it is read back, so that counts as read as well.
    back_up(filled, DictSource(files(4)))
    replicate(filled, place, verify=True)
    assert known(filled, place).never == 0
    assert names(filled.backend, "checks/") == before
    assert len(names(place, "checks/")) == 1


def test_what_rotted_in_the_copy_loses_its_time_unless_it_was_put_anew(
    filled: Repository,
) -> None:
    place = new_copy(filled)
    replicate(filled, place, verify=True)
    lost = names(place, "data/")[0]
    flip(place, lost)
    replicate(filled, place, verify=True)
    assert (known(filled, place).never, known(filled, place).damaged) == (0, 0)
    flip(place, lost)
    flip(filled.backend, lost)
    replicate(filled, place, verify=True)
    assert (known(filled, place).never, known(filled, place).damaged) == (1, 1)


def test_what_is_put_anew_without_being_read_is_not_damaged_any_more(filled: Repository) -> None:
    place = new_copy(filled)
    replicate(filled, place, verify=True)
    short, lost = names(place, "data/")[:2]
    stored = place.get(short)
    place.put(short, stored[:-1])
    place.delete(lost)
    readings = PackReadings(lambda: FAR_NS - 1)
    for name in (short, lost):
        readings.note_name(name, is_damaged=True)
    remember_named(
        place, filled.keys, readings, names(filled.backend, "data/", "meta/"), clock=lambda: FAR_NS
    )
    assert known(filled, place).damaged == 2
    before = names(place, "checks/")
    replicate(filled, place, dry_run=True)
    assert names(place, "checks/") == before
    now = filled.clock
    filled.clock = lambda: FAR_NS
    replicate(filled, place)
    filled.clock = now
    assert (known(filled, place).never, known(filled, place).damaged) == (2, 0)
    # Where nothing was known of what is put, nothing is written.
    before = names(place, "checks/")
    back_up(filled, DictSource(files(9)))
    assert replicate(filled, place).packs > 0
    assert names(place, "checks/") == before


def test_a_copy_that_takes_no_check_objects_costs_a_warning(filled: Repository) -> None:
    place = new_copy(filled)
    refusing = Fault("put", "checks/", times=None, error=lambda: PermissionDenied("not allowed"))
    report = replicate(filled, FaultyBackend(place, refusing), verify=True)
    assert report.ok
    assert ["not allowed" in warning for warning in report.warnings] == [True]
    assert names(place, "checks/") == []


def test_repair_remembers_what_it_read_and_not_what_it_put(
    filled: Repository, recovery_key: str
) -> None:
    place = new_copy(filled)
    replicate(filled, place, verify=True)
    flip(place, names(place, "data/")[0])
    place.delete(names(place, "meta/")[0])
    flip(place, names(place, "checks/")[0])
    report = repair(filled, place, recovery_key)
    assert report.ok
    assert len(report.healed) == 2
    found = known(filled, place)
    assert (found.never, found.damaged) == (2, 0)
    assert repair(filled, place, recovery_key).ok
    assert known(filled, place).never == 0


def test_a_pack_that_goes_while_all_is_read_is_no_pack_that_was_read(filled: Repository) -> None:
    place = new_copy(filled)
    replicate(filled, place)
    gone = names(place, "data/")[0]
    lost = Fault("get", gone, error=lambda: ObjectNotFound(f"no object {gone}"))
    replicate(filled, FaultyBackend(place, lost), verify=True)
    assert known(filled, place).never == 1
