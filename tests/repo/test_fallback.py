"""What the repository does not have whole comes from a copy, and it is said from which."""

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from snap.backends.base import Backend, BackendUnavailable
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError, SnapError
from snap.repo.catalog import list_snapshots
from snap.repo.dump import dump_file
from snap.repo.fallback import Fallback, OtherCopy
from snap.repo.keys import MINIMUM_COST
from snap.repo.progress import SilentReporter
from snap.repo.repository import Repository, create_repository, open_repository
from snap.repo.restore import run_restore

from .conftest import back_up
from .copies import files, flip, names, new_copy, replicate
from .dictsource import DictSource
from .memorytarget import MemoryTarget

Harm = Callable[[Backend, str], None]


@pytest.fixture
def place(repository: Repository) -> MemoryBackend:
    """A copy of a repository with one snapshot."""
    back_up(repository, DictSource(files(1)))
    place = new_copy(repository)
    replicate(repository, place)
    return place


def other(backend: Backend, name: str = "usb") -> OtherCopy:
    return OtherCopy(name, lambda: backend)


def delete(backend: Backend, name: str) -> None:
    backend.delete(name)


def spoil(backend: Backend, name: str) -> None:
    """Damage all of an object, whichever part of it is read."""
    backend.put(name, bytes(len(backend.get(name))))


def restored(repository: Repository) -> dict[bytes, bytes]:
    target = MemoryTarget()
    [snapshot] = list_snapshots(repository)
    result = run_restore(repository, snapshot, "data", (), target, reporter=SilentReporter())
    assert not result.problems
    return target.files


@pytest.mark.parametrize("harm", [spoil, delete], ids=["damaged", "lost"])
@pytest.mark.parametrize("prefixes", [("data/",), ("meta/",), ("index/",), ("data/", "index/")])
def test_a_restore_and_a_dump_take_from_a_copy_what_is_not_whole(
    backend: MemoryBackend,
    place: MemoryBackend,
    recovery_key: str,
    harm: Harm,
    prefixes: tuple[str, ...],
) -> None:
    harmed = names(backend, *prefixes)
    for name in harmed:
        harm(backend, name)
    with open_repository(backend, recovery_key, cache_dir=None) as opened:
        with Fallback(opened, [other(MemoryBackend(), "empty"), other(place)]):
            assert restored(opened) == files(1)
            [snapshot] = list_snapshots(opened)
            assert b"".join(dump_file(opened, snapshot, "data", (b"a",))) == files(1)[b"a"]
        told = [w for w in opened.warnings if w.startswith("taken from copy usb")]
        assert len(told) == 1
        assert any(name in told[0] for name in harmed)
        assert any(w.startswith("copy empty cannot help: no copy at") for w in opened.warnings)


def test_a_damaged_snapshot_is_taken_from_a_copy(
    backend: MemoryBackend, place: MemoryBackend, recovery_key: str
) -> None:
    flip(backend, names(backend, "snapshots/")[0])
    with (
        open_repository(backend, recovery_key, cache_dir=None) as opened,
        Fallback(opened, [other(place)]),
    ):
        assert restored(opened) == files(1)


def test_where_all_is_whole_no_copy_is_opened(
    backend: MemoryBackend, place: MemoryBackend, recovery_key: str
) -> None:
    def refuse() -> Backend:
        raise AssertionError("opened")

    with open_repository(backend, recovery_key, cache_dir=None) as opened:
        with Fallback(opened, [OtherCopy("usb", refuse)]):
            assert restored(opened) == files(1)
        assert opened.warnings == []


def test_what_no_copy_has_is_told_as_without_one(
    backend: MemoryBackend, place: MemoryBackend, recovery_key: str
) -> None:
    stranger = MemoryBackend()
    create_repository(stranger, "x", label="", cost=MINIMUM_COST)
    for name in names(backend, "meta/"):
        spoil(backend, name)
        spoil(place, name)
    with open_repository(backend, recovery_key, cache_dir=None) as opened:
        with Fallback(opened, [other(stranger, "x"), other(place)]):
            [snapshot] = list_snapshots(opened)
            with pytest.raises(IntegrityError, match="meta/"):
                b"".join(dump_file(opened, snapshot, "data", (b"a",)))
        assert any("another repository" in warning for warning in opened.warnings)
        # Afterwards it is as it was before.
        delete(place, names(place, "data/")[0])
        with pytest.raises(SnapError):
            restored(opened)


def test_a_store_that_stops_answering_is_not_asked_again(
    backend: MemoryBackend, place: MemoryBackend, recovery_key: str
) -> None:
    gone = Fault("get", "data/", times=None, error=lambda: BackendUnavailable("cut off"))
    faulty = FaultyBackend(backend, gone)
    with open_repository(faulty, recovery_key, cache_dir=None) as opened:
        [snapshot] = list_snapshots(opened)
        with pytest.raises(BackendUnavailable):
            b"".join(dump_file(opened, snapshot, "data", (b"a",)))
        gone.calls = 0
        with Fallback(opened, [other(place)]):
            assert restored(opened) == files(1)
        # As many as there are threads may have asked at once.
        assert gone.calls <= 8


def test_where_no_copy_helps_the_store_is_asked_each_time(
    backend: MemoryBackend, place: MemoryBackend, recovery_key: str
) -> None:
    for name in names(place, "data/"):
        delete(place, name)
    once = Fault("get", "data/", times=1, error=lambda: BackendUnavailable("for a moment"))
    faulty = FaultyBackend(backend, once)
    with open_repository(faulty, recovery_key, cache_dir=None) as opened:
        [snapshot] = list_snapshots(opened)
        with Fallback(opened, [other(place)]):
            with pytest.raises(BackendUnavailable):
                b"".join(dump_file(opened, snapshot, "data", (b"a",)))
            assert b"".join(dump_file(opened, snapshot, "data", (b"a",))) == files(1)[b"a"]


def test_blobs_taken_from_a_copy_do_not_stay_in_memory(
    backend: MemoryBackend, place: MemoryBackend, recovery_key: str
) -> None:
    for name in names(backend, "data/"):
        delete(backend, name)
    with (
        open_repository(backend, recovery_key, cache_dir=None) as opened,
        Fallback(opened, [other(place)]),
    ):
        [snapshot] = list_snapshots(opened)
        for _ in dump_file(opened, snapshot, "data", (b"a",)):
            pass
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(30):
                for _ in dump_file(opened, snapshot, "data", (b"a",)):
                    pass
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
    # 30 times 150,000 bytes were read.
    assert after - before < 1_500_000


def test_it_is_known_which_copies_have_an_object_whole(
    repository: Repository, place: MemoryBackend
) -> None:
    second = new_copy(repository)
    replicate(repository, second)
    pack = names(place, "data/")[0]
    fallback = Fallback(repository, [other(place), other(second, "office")])
    assert fallback.whole_in(pack) == ["usb", "office"]
    flip(place, pack)
    assert fallback.whole_in(pack) == ["office"]
    assert fallback.whole_in("snapshot 1234:data/" + "0" * 64) == []
    assert fallback.whole_in("config") == []
    fallback.close()
