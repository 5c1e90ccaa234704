"""What a prune moved is healed by blobs: the copy has them in packs of other names."""

from random import Random

import pytest

from snap.backends.memory import MemoryBackend
from snap.repo.copy import create_copy
from snap.repo.repository import Repository

from .conftest import FakeClock, back_up
from .copies import errors, replicate
from .dictsource import DictSource
from .pruning import ALL, let_go, noise, packs_of, prune
from .test_copy_needs import HALF_HOUR_NS, heal, restored


@pytest.mark.parametrize("harm", ["delete", "flip", "cut"])
def test_half_of_the_packs_of_a_pruned_repository_are_healed_from_a_copy_that_never_pruned(
    repository: Repository,
    backend: MemoryBackend,
    recovery_key: str,
    clock: FakeClock,
    harm: str,
) -> None:
    place = MemoryBackend(clock=clock)
    create_copy(repository, place)
    many = {b"%d" % n: noise(n, 4_000) for n in range(40)}
    few = {name: data for name, data in many.items() if name.endswith(b"3")}
    first = back_up(repository, DictSource(many))
    back_up(repository, DictSource(few))
    assert replicate(repository, place).ok
    clock.now_ns += HALF_HOUR_NS
    let_go(repository, first)
    prune(repository, now=True, limits=ALL)
    packs = sorted(packs_of(backend))
    assert not set(packs) <= packs_of(place), "prune made new ones"
    for name in Random(harm).sample(packs, (len(packs) + 1) // 2):
        stored = bytearray(backend.get(name))
        backend.delete(name)
        if harm == "flip":
            stored[len(stored) // 2] ^= 1
        if harm != "delete":
            backend.put(name, bytes(stored if harm == "flip" else stored[:-50]))
    report = heal(backend, place, recovery_key, clock)
    assert report.left == []
    assert restored(backend, recovery_key, clock) == [few]
    # What is damaged is remembered: of two places the other one is kept.
    for _ in range(2):
        prune(repository, now=True)
    assert restored(backend, recovery_key, clock) == [few]
    assert errors(backend, recovery_key) == []
