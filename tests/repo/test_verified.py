"""What a repository remembers of its packs being read."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snap.backends.base import BackendError, ObjectRetained, PermissionDenied
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.check import CheckReport, run_check
from snap.repo.check_object import CheckObject, decode_check, each_row, encode_check, row_of
from snap.repo.clock import SECOND_NS
from snap.repo.envelope import open_object
from snap.repo.ids import Kind, ObjectId, pack_name
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository
from snap.repo.verified import (
    KEEP_EVERY_NS,
    Coverage,
    PackReadings,
    choose,
    coverage,
    recall,
    remember,
)

from .conftest import FakeClock, Opener, back_up
from .copies import flip, names
from .dictsource import DictSource

NOISE = random.Random(8).randbytes(900_000)
DAY_NS = 86_400 * SECOND_NS


@pytest.fixture
def filled(repository: Repository) -> Repository:
    back_up(repository, DictSource({b"a": NOISE, b"d/b": b"small"}))
    return repository


def check(
    repository: Repository, fraction: float, *, seed: int = 1, older_than_ns: int | None = None
) -> CheckReport:
    return run_check(
        repository,
        read_fraction=fraction,
        reporter=SilentReporter(),
        chance=random.Random(seed),
        older_than_ns=older_than_ns,
        remember=True,
    )


def checks(repository: Repository) -> list[str]:
    return names(repository.backend, "checks/")


def ids(repository: Repository) -> list[ObjectId]:
    return [pack.id for pack in repository.cache.packs()]


def known(repository: Repository) -> Coverage:
    recalled = recall(repository.backend, repository.keys, repository.clock())
    return coverage(recalled.rows, ids(repository))


def stored_check(repository: Repository, name: str) -> CheckObject:
    return decode_check(open_object(repository.keys, Kind.CHECK, repository.backend.get(name)))


def put_check(repository: Repository, rows: bytes, time_ns: int, *replaces: ObjectId) -> str:
    body = encode_check(CheckObject(time_ns, 0, frozenset(replaces), rows))
    return "checks/" + repository.put_object("checks/", Kind.CHECK, body).hex()


# Choosing


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.floats(0.01, 1), st.integers(0, 9))
def test_a_fraction_read_again_and_again_reads_everything_in_time(
    count: int, fraction: float, seed: int
) -> None:
    chance = random.Random(seed)
    packs = sorted(ObjectId(chance.randbytes(32)) for _ in range(count))
    rows, seen = b"", set[int]()
    for run in range(math.ceil(1 / fraction)):
        chosen = choose(rows, packs, fraction=fraction, older_than_ns=None, chance=chance)
        assert 0 < len(chosen) <= math.ceil(count * fraction)
        seen |= set(chosen)
        readings = PackReadings(lambda now=run + 1: now)  # type: ignore[misc]  # a clock
        for number in chosen:
            readings.note(packs[number], is_damaged=False)
        rows = readings.merged_into(rows, packs)
    assert seen == set(range(count))


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 6), st.floats(0, 1))
def test_what_was_not_read_for_longest_goes_first_and_all_that_is_overdue(
    times: list[int], older_than_ns: int, fraction: float
) -> None:
    packs = [ObjectId(bytes((n,)) * 32) for n in range(len(times))]
    # 0 stands for never.
    found = [row_of(p, t, is_damaged=False) for p, t in zip(packs, times, strict=True) if t]
    chosen = choose(
        b"".join(found),
        packs,
        fraction=fraction,
        older_than_ns=older_than_ns,
        chance=random.Random(1),
    )
    overdue = {n for n, t in enumerate(times) if t < older_than_ns}
    assert overdue <= set(chosen)
    assert len(chosen) == len(set(chosen)) == max(len(overdue), math.ceil(len(times) * fraction))
    left = [t for n, t in enumerate(times) if n not in chosen]
    assert all(times[n] <= t for n in chosen for t in left)
    assert [times[n] for n in chosen] == sorted(times[n] for n in chosen)


def test_between_equal_ones_chance_decides() -> None:
    packs = [ObjectId(bytes((n,)) * 32) for n in range(20)]
    first = {
        choose(b"", packs, fraction=0.05, older_than_ns=None, chance=random.Random(seed))[0]
        for seed in range(50)
    }
    assert len(first) > 5


# Checking again and again


def test_checks_of_a_share_cover_everything_and_remember_it(filled: Repository) -> None:
    count = len(ids(filled))
    assert count > 8
    for run in range(1, 5):
        report = check(filled, 0.25, seed=run)
        assert report.verified.packs == count
        assert report.verified.never == max(0, count - run * math.ceil(count / 4))
        assert known(filled) == report.verified
        assert len(checks(filled)) == 1
    assert report.verified.never == 0
    total = sum(pack.size_bytes for pack in filled.cache.packs())
    before = check(filled, 0).verified.oldest_ns
    assert before is not None
    assert check(filled, 0.25).bytes_read < total
    after = check(filled, 0).verified.oldest_ns
    assert after is not None
    assert after > before


def test_all_that_is_older_than_a_moment_is_read_again(
    filled: Repository, clock: FakeClock
) -> None:
    check(filled, 0.5)
    clock.now_ns += 10 * DAY_NS
    half = clock.now_ns
    check(filled, 0, older_than_ns=half - 20 * DAY_NS)
    assert known(filled).never == 0, "never read is older than anything"
    oldest = known(filled).oldest_ns
    assert oldest is not None
    assert oldest < half
    report = check(filled, 0, older_than_ns=half)
    assert 0 < report.bytes_read < sum(pack.size_bytes for pack in filled.cache.packs())
    assert known(filled).oldest_ns is not None
    assert check(filled, 0, older_than_ns=half).bytes_read == 0


def test_a_check_that_reads_no_data_or_is_not_to_remember_writes_nothing(
    filled: Repository,
) -> None:
    check(filled, 0)
    run_check(filled, read_fraction=1, reporter=SilentReporter())
    assert checks(filled) == []


def test_what_is_found_damaged_loses_its_time_and_is_read_next(
    filled: Repository, backend: MemoryBackend
) -> None:
    check(filled, 1)
    first, second, third = names(backend, "data/")[:3]
    good = {name: backend.get(name) for name in (first, second, third)}
    flip(backend, first)
    backend.put(second, good[second][:-7])
    backend.delete(third)
    report = check(filled, 1)
    assert not report.ok
    assert (report.verified.never, report.verified.damaged) == (3, 3)
    assert known(filled) == report.verified
    for name, stored in good.items():
        backend.put(name, stored)
    # Two of those damaged are read first, and are well again.
    share = 3 / len(ids(filled)) - 0.001
    assert check(filled, share).ok
    assert known(filled).never == 0


def test_packs_that_no_index_names_any_more_are_left_out(
    filled: Repository, backend: MemoryBackend
) -> None:
    back_up(filled, DictSource({b"a": NOISE, b"new": random.Random(4).randbytes(200_000)}))
    check(filled, 1)
    before = len(stored_check(filled, checks(filled)[0]).rows)
    for name in names(backend, "snapshots/", "index/"):
        backend.delete(name)
    filled.load_index()
    back_up(filled, DictSource({b"other": b"something else"}))
    check(filled, 0.01)
    rows = stored_check(filled, checks(filled)[0]).rows
    assert 0 < len(rows) < before / 4


def test_a_long_check_remembers_as_it_goes(
    filled: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    class Slow(SilentReporter):
        def advance(self, count: int, item: str = "") -> None:
            clock.now_ns += KEEP_EVERY_NS // 2
            if known(filled).never < len(ids(filled)) - 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_check(filled, read_fraction=1, reporter=Slow(), remember=True)
    assert 0 < known(filled).never < len(ids(filled))
    assert check(filled, 1).ok
    assert len(checks(filled)) == 1


# Several writers, and stores that fail


def test_two_at_once_leave_two_which_the_next_merges(filled: Repository) -> None:
    packs = ids(filled)
    now = filled.clock()
    put_check(filled, row_of(packs[0], now - 5, is_damaged=False), now)
    put_check(filled, row_of(packs[1], now - 9, is_damaged=False), now)
    found = known(filled)
    assert (found.never, found.oldest_ns) == (len(packs) - 2, now - 9)
    check(filled, 0.01)
    assert len(checks(filled)) == 1
    assert known(filled).never == len(packs) - 3


def test_one_that_the_store_keeps_is_replaced_all_the_same(filled: Repository) -> None:
    check(filled, 1)
    kept = FaultyBackend(
        filled.backend, Fault("delete", times=None, error=lambda: ObjectRetained("kept"))
    )
    name = names(filled.backend, "data/")[0]
    flip(filled.backend, name)
    readings = PackReadings(filled.clock)
    readings.note_name(name, is_damaged=True)
    readings.note_name("index/" + "0" * 64, is_damaged=True)
    named, now = ids(filled), filled.clock()
    told = remember(kept, filled.keys, readings, named, now_ns=now, errors=1)
    assert told == []
    assert len(checks(filled)) == 2
    assert known(filled).damaged == 1
    # What was put anew since is not known to be anything: also where the old object stays.
    readings.forget(name)
    remember(kept, filled.keys, readings, named, now_ns=filled.clock(), errors=0)
    assert len(checks(filled)) == 3
    assert (known(filled).never, known(filled).damaged) == (1, 0)
    check(filled, 0.01)
    assert len(checks(filled)) == 1


def test_what_is_replaced_does_not_count_and_is_not_even_read(
    filled: Repository, clock: FakeClock
) -> None:
    packs, now = ids(filled), clock()
    replaced = put_check(filled, row_of(packs[0], now, is_damaged=False), now)
    newer = put_check(filled, b"", now, ObjectId(bytes.fromhex(replaced[-64:])))
    watched = FaultyBackend(filled.backend)
    recalled = recall(watched, filled.keys, clock())
    assert sorted(recalled.names) == sorted((replaced, newer))
    assert coverage(recalled.rows, packs).never == len(packs)
    assert [name for operation, name in watched.calls if operation == "get"] == [newer]
    # A store whose clock went back, or has whole seconds, shows the replaced one as the newest.
    filled.backend.put(replaced, filled.backend.get(replaced))
    assert coverage(recall(filled.backend, filled.keys, clock()).rows, packs).never == len(packs)


@pytest.mark.parametrize("operation", ["put", "list", "get", "delete"])
def test_a_store_that_refuses_costs_a_warning_at_most(filled: Repository, operation: str) -> None:
    check(filled, 0.3)
    store, before = filled.backend, checks(filled)

    def refuse() -> BackendError:
        return PermissionDenied("no permission")

    filled.backend = FaultyBackend(store, Fault(operation, "checks/", times=None, error=refuse))
    report = check(filled, 0.3)
    assert report.ok
    told = report.hints + filled.warnings
    assert any("no permission" in text for text in told) == (operation != "delete")
    filled.backend = store
    assert set(before) <= set(checks(filled))
    assert check(filled, 0.3).ok
    assert len(checks(filled)) == 1


def test_a_damaged_one_is_a_hint_and_is_replaced(
    filled: Repository, backend: MemoryBackend
) -> None:
    packs = len(ids(filled))
    check(filled, 1)
    [name] = checks(filled)
    flip(backend, name)
    report = check(filled, 0)
    assert report.ok
    assert [name in hint for hint in report.hints] == [True]
    assert (report.verified.never, report.verified.oldest_ns) == (packs, None)
    assert checks(filled) == [name]
    assert check(filled, 0.01).ok
    assert len(checks(filled)) == 1
    assert name not in checks(filled)
    # Nor is one of another kind, or that says nonsense.
    filled.put_object("checks/", Kind.INDEX, {"packs": b""})
    filled.put_object("checks/", Kind.CHECK, {"packs": b"abc"})
    assert len(check(filled, 0.01).hints) == 2
    assert len(checks(filled)) == 1
    assert check(filled, 0).hints == []


def test_a_clock_that_was_ahead_makes_nothing_count_as_read(
    filled: Repository, clock: FakeClock
) -> None:
    now = clock.now_ns
    clock.now_ns += 1000 * DAY_NS
    check(filled, 1)
    clock.now_ns = now
    packs = len(ids(filled))
    assert known(filled) == Coverage(packs, packs, 0, None)
    check(filled, 0.5)
    assert known(filled).never == packs - math.ceil(packs / 2)
    clock.now_ns += 2000 * DAY_NS
    assert known(filled).never == packs - math.ceil(packs / 2), "nor when the time has come"


def test_a_clock_that_is_behind_does_not_hide_damage(
    filled: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    check(filled, 1)
    flip(backend, names(backend, "data/")[0])
    clock.now_ns += 10 * DAY_NS
    check(filled, 0)
    clock.now_ns -= 9 * DAY_NS
    readings = PackReadings(lambda: 5)
    readings.note_name(names(backend, "data/")[0], is_damaged=True)
    remember(backend, filled.keys, readings, ids(filled), now_ns=clock(), errors=1)
    assert known(filled).damaged == 1


# What is told


def test_what_is_overdue_is_what_was_neither_read_nor_put_since() -> None:
    packs = [ObjectId(bytes((n,)) * 32) for n in range(5)]
    rows = b"".join(
        (
            row_of(packs[0], 10, is_damaged=False),
            row_of(packs[1], 30, is_damaged=False),
            row_of(packs[2], 30, is_damaged=True),
        )
    )
    found = coverage(rows, packs, since_ns=20, fresh={packs[2], packs[3]})
    assert found == Coverage(packs=5, never=3, damaged=1, oldest_ns=10, overdue=3)
    assert coverage(rows, packs) == Coverage(5, 3, 1, 10, 0)
    assert coverage(rows, []) == Coverage()
    assert len(list(each_row(rows))) == 3


def test_a_writer_key_remembers_too(filled: Repository, open_again: Opener) -> None:
    from snap.repo.keys import MINIMUM_COST, Capability

    filled.add_passphrase_slot("w", capability=Capability.WRITER, label="w", cost=MINIMUM_COST)
    assert check(open_again("w"), 1).ok
    assert known(filled).never == 0
    assert pack_name(1, ids(filled)[0]).startswith("data/")
