"""A damaged index object costs what only it knew, and nothing else."""

import random

import pytest

from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError
from snap.repo.browse import walk
from snap.repo.dump import dump_file
from snap.repo.snapshot import Snapshot

from .conftest import Opener, back_up
from .dictsource import DictSource

FIRST = random.Random(1).randbytes(50_000)
SECOND = random.Random(2).randbytes(50_000)


@pytest.fixture
def snapshots(open_again: Opener) -> tuple[Snapshot, Snapshot]:
    """Two backups that share nothing: the index object of the one is not the other's."""
    repository = open_again()
    return (
        back_up(repository, DictSource({b"a": FIRST})),
        back_up(repository, DictSource({b"b": SECOND})),
    )


@pytest.fixture(params=["flipped", "cut", "emptied"])
def damaged(
    snapshots: tuple[Snapshot, Snapshot], backend: MemoryBackend, request: pytest.FixtureRequest
) -> str:
    """The name of the first backup's index object, which is damaged."""
    name = min(backend.list("index/"), key=lambda stat: stat.modified_ns).name
    good = backend.get(name)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 4
    damages = {"flipped": bytes(flipped), "cut": good[:-1], "emptied": b""}
    backend.put(name, damages[request.param])
    return name


def content(open_again: Opener, snapshot: Snapshot, name: bytes) -> bytes:
    (component,) = snapshot.components
    return b"".join(dump_file(open_again(), snapshot, component.name, (name,)))


def test_what_another_index_object_names_is_read_with_one_warning(
    open_again: Opener, snapshots: tuple[Snapshot, Snapshot], damaged: str
) -> None:
    repository = open_again()
    _, second = snapshots
    (component,) = second.components
    assert [path for _, path, _ in walk(repository, second)] == [(b"b",)]
    assert b"".join(dump_file(repository, second, component.name, (b"b",))) == SECOND
    assert len(repository.warnings) == 1
    assert repository.warnings[0].startswith(f"{damaged}: damaged")


def test_what_only_the_damaged_one_names_is_an_error_that_names_it(
    open_again: Opener, snapshots: tuple[Snapshot, Snapshot], damaged: str
) -> None:
    with pytest.raises(IntegrityError, match=f"{damaged}: damaged"):
        content(open_again, snapshots[0], b"a")


def test_nothing_is_backed_up_on_top_of_a_damaged_index(
    open_again: Opener, backend: MemoryBackend, damaged: str
) -> None:
    before = {stat.name for stat in backend.list("") if not stat.name.startswith("leases/")}
    with pytest.raises(IntegrityError, match=damaged):
        back_up(open_again(), DictSource({b"c": b"new"}))
    after = {stat.name for stat in backend.list("") if not stat.name.startswith("leases/")}
    assert after == before


def test_all_is_read_again_once_the_object_is_back(
    open_again: Opener, snapshots: tuple[Snapshot, Snapshot], backend: MemoryBackend
) -> None:
    name = min(backend.list("index/"), key=lambda stat: stat.modified_ns).name
    good = backend.get(name)
    backend.put(name, b"")
    with pytest.raises(IntegrityError):
        content(open_again, snapshots[0], b"a")
    backend.put(name, good)
    assert content(open_again, snapshots[0], b"a") == FIRST
    assert content(open_again, snapshots[1], b"b") == SECOND
