import random
from dataclasses import replace

import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.browse import walk
from snap.repo.check import CheckReport, run_check
from snap.repo.content import extents_of
from snap.repo.ids import Kind
from snap.repo.keys import MINIMUM_COST, Capability
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository

from .conftest import Opener, back_up
from .copies import let_index_lie
from .dictsource import DictSource, records

NOISE = random.Random(8).randbytes(300_000)


@pytest.fixture
def filled(repository: Repository) -> Repository:
    back_up(repository, DictSource({b"a": NOISE, b"d/b": b"small"}))
    back_up(repository, DictSource({b"a": NOISE + b"more", b"d/b": b"other"}))
    return repository


def check(repository: Repository, fraction: float = 1.0) -> CheckReport:
    return run_check(repository, read_fraction=fraction, reporter=SilentReporter())


def test_a_whole_repository_is_found_whole(filled: Repository) -> None:
    report = check(filled)
    assert report.ok
    assert (report.errors, report.hints, report.snapshots) == ([], [], 2)
    assert report.bytes_read == sum(p.size_bytes for p in filled.cache.packs())
    assert check(filled, 0).bytes_read == 0


def test_every_flipped_bit_in_every_object_is_named(
    filled: Repository, backend: MemoryBackend
) -> None:
    chance = random.Random(9)
    for stat in list(backend.list("")):
        if stat.name in ("README", "config"):
            continue
        good = backend.get(stat.name)
        for at in {0, 9, len(good) // 2, len(good) - 1, chance.randrange(len(good))}:
            damaged = bytearray(good)
            damaged[at] ^= 1 << chance.randrange(8)
            backend.put(stat.name, damaged)
            named = {problem.object for problem in check(filled).errors}
            assert stat.name in named, (stat.name, at)
        backend.put(stat.name, good)
    assert check(filled).ok


def test_every_truncated_emptied_or_deleted_object_is_named(
    filled: Repository, backend: MemoryBackend
) -> None:
    for stat in list(backend.list("")):
        if stat.name in ("README", "config") or stat.name.startswith(("keys/", "snapshots/")):
            continue
        good = backend.get(stat.name)
        for damaged in (good[: len(good) // 2], b""):
            backend.put(stat.name, damaged)
            assert stat.name in {problem.object for problem in check(filled).errors}
        backend.delete(stat.name)
        report = check(filled, 0)
        assert not report.ok
        if not stat.name.startswith("index/"):
            assert stat.name in {problem.object for problem in report.errors}
        backend.put(stat.name, good)
    assert check(filled).ok


def test_objects_that_were_swapped_are_named(filled: Repository, backend: MemoryBackend) -> None:
    by_folder: dict[str, list[str]] = {}
    for stat in backend.list(""):
        by_folder.setdefault(stat.name.split("/")[0], []).append(stat.name)
    for folder in ("data", "meta", "index", "snapshots", "keys"):
        first, second = by_folder[folder][:2]
        a, b = backend.get(first), backend.get(second)
        backend.put(first, b)
        backend.put(second, a)
        named = {problem.object for problem in check(filled).errors}
        assert {first, second} <= named
        backend.put(first, a)
        backend.put(second, b)


def test_a_pack_in_no_index_is_a_hint_and_no_error(
    filled: Repository, backend: MemoryBackend
) -> None:
    name = next(iter(backend.list("data/"))).name
    other = name[:-1] + ("0" if name[-1] != "0" else "1")
    backend.put(other, b"left by someone")
    report = check(filled, 0)
    assert report.ok
    assert any("in no index" in hint for hint in report.hints)
    assert [p.object for p in check(filled).errors] == [other], "reading all reads it as well"


def test_a_pack_and_its_index_that_are_both_damaged_are_both_named(
    filled: Repository, backend: MemoryBackend
) -> None:
    index = filled.names("index/")[0]
    pack = filled.read_index(index)[0]
    from snap.repo.ids import pack_name

    name = pack_name(pack.kind, pack.id)
    for damaged in (index, name):
        backend.put(damaged, backend.get(damaged)[:-1])
    assert {index, name} <= {p.object for p in check(filled).errors}


def test_an_index_that_lies_is_named(filled: Repository) -> None:
    let_index_lie(filled)
    report = check(filled)
    assert any("directory" in problem.problem for problem in report.errors)


def test_a_blob_that_no_index_has_is_named_with_the_file_that_needs_it(
    filled: Repository, backend: MemoryBackend
) -> None:
    small = filled.keys.blob_id(Kind.DATA, b"small")
    name = filled.names("index/")[0]
    packs = [pack.summary() for pack in filled.read_index(name)]
    for number, pack in enumerate(packs):
        kept = tuple(e for e in pack.entries if e.id != small)
        packs[number] = replace(pack, entries=kept)
    for index_name in filled.names("index/"):
        index_packs = [pack.summary() for pack in filled.read_index(index_name)]
        without = [
            replace(p, entries=tuple(e for e in p.entries if e.id != small)) for p in index_packs
        ]
        backend.delete(index_name)
        filled.store_index(without)
    problems = [p for p in check(filled, 0).errors if small.hex() in p.problem]
    assert any(p.object.endswith(":data/d/b") for p in problems)


def test_what_is_cached_here_does_not_hide_what_is_lost_there(
    filled: Repository, backend: MemoryBackend
) -> None:
    assert check(filled, 0).ok
    for stat in list(backend.list("meta/")):
        backend.delete(stat.name)
    assert not check(filled, 0).ok


def test_a_subset_reads_part_of_the_packs(filled: Repository) -> None:
    report = run_check(
        filled, read_fraction=0.4, reporter=SilentReporter(), chance=random.Random(1)
    )
    assert 0 < report.bytes_read < check(filled).bytes_read


def test_a_writer_checks_hashes_and_says_what_it_cannot(
    filled: Repository, open_again: Opener, backend: MemoryBackend
) -> None:
    filled.add_passphrase_slot("w", capability=Capability.WRITER, label="w", cost=MINIMUM_COST)
    writer = open_again("w")
    report = check(writer)
    assert report.ok
    assert any("writer key" in hint for hint in report.hints)
    name = next(iter(backend.list("data/"))).name
    good = bytearray(backend.get(name))
    good[2000] ^= 1
    backend.put(name, good)
    assert name in {problem.object for problem in check(writer).errors}


def test_a_file_of_records_misses_what_any_of_its_columns_lost(
    repository: Repository, backend: MemoryBackend
) -> None:
    snapshot = back_up(repository, DictSource({b"r": records(b"r", NOISE, (8, 92))}))
    assert check(repository).ok
    ((_, _, node),) = walk(repository, snapshot)
    assert node.content is not None
    needed = {e.blob for e in extents_of(repository, node.content, "r") if e.blob is not None}
    assert len(needed) > 300_000 // 4096
    names = repository.names("index/")
    packs = [pack.summary() for name in names for pack in repository.read_index(name)]
    for name in names:
        backend.delete(name)
    without = [
        replace(p, entries=tuple(e for e in p.entries if e.kind != Kind.DATA)) for p in packs
    ]
    repository.store_index(without)
    reasons = " ".join(str(problem.problem) for problem in check(repository).errors)
    assert all(id_.hex() in reasons for id_ in needed)
