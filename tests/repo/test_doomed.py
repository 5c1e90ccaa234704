from dataclasses import replace

import pytest

from snap.backends.base import ObjectRetained
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.codec import DecodeError
from snap.repo.doomed import (
    DOOMED_PREFIX,
    Doomed,
    DoomedPack,
    decode_doomed,
    delete_doomed,
    list_doomed,
    put_doomed,
)
from snap.repo.ids import ObjectId
from snap.repo.repository import Repository

from .conftest import FakeClock

A, B, C = (ObjectId(bytes((n,)) * 32) for n in (1, 2, 3))
PACKS = {A: DoomedPack(1, 100), B: DoomedPack(2, 20)}


def test_what_is_put_is_listed_with_the_stores_time(
    repository: Repository, backend: MemoryBackend, clock: FakeClock
) -> None:
    put = put_doomed(backend, repository.keys, Doomed(5, PACKS, frozenset({C})))
    listed = list_doomed(backend, repository.keys)
    assert listed.records == [put]
    assert listed.pack_ids() == {A, B}
    assert put.size_bytes == 120
    assert put.stored_ns == clock.now_ns, "nothing has looked at the clock since"


def test_one_that_stands_for_another_is_the_only_one_that_counts(
    repository: Repository, backend: MemoryBackend
) -> None:
    first = put_doomed(backend, repository.keys, Doomed(5, PACKS))
    second = replace(first, leases=frozenset(), replaces=frozenset({first.id}))
    second = put_doomed(backend, repository.keys, second)
    listed = list_doomed(backend, repository.keys)
    assert listed.records == [second]
    assert listed.replaced == [first.id]
    backend.put(first.name, b"garbage")
    assert list_doomed(backend, repository.keys).problems == [], "it counts no more"


def test_marks_of_forgetting_name_no_packs(repository: Repository, backend: MemoryBackend) -> None:
    put_doomed(backend, repository.keys, Doomed(5, snapshots=frozenset({C})))
    listed = list_doomed(backend, repository.keys)
    assert listed.pack_ids() == frozenset()
    assert listed.forgotten() == {C}


def test_one_that_cannot_be_read_is_a_problem_and_hides_no_other(
    repository: Repository, backend: MemoryBackend
) -> None:
    bad = put_doomed(backend, repository.keys, Doomed(5, PACKS))
    good = put_doomed(backend, repository.keys, Doomed(6, {C: DoomedPack(1, 1)}))
    backend.put(bad.name, backend.get(bad.name)[:-1])
    listed = list_doomed(backend, repository.keys)
    assert listed.records == [good]
    assert [problem.object for problem in listed.problems] == [bad.name]


def test_what_the_store_keeps_is_returned(repository: Repository, backend: MemoryBackend) -> None:
    put = put_doomed(backend, repository.keys, Doomed(5, PACKS))
    fault = Fault("delete", DOOMED_PREFIX, times=None, error=lambda: ObjectRetained("retained"))
    assert delete_doomed(FaultyBackend(backend, fault), [put.id]) == [put.id]
    assert delete_doomed(backend, [put.id, C]) == [], "one that is gone is gone"


def test_a_body_survives_its_encoding_and_a_pack_twice_does_not() -> None:
    whole = Doomed(-1, PACKS, frozenset({C}), frozenset({A}), frozenset({B}))
    assert decode_doomed(whole.encode()) == whole
    body = whole.encode()
    body |= {"packs": A + A}
    with pytest.raises(DecodeError):
        decode_doomed(body)
