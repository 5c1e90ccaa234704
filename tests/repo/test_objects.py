import threading

import pytest

from snap.backends.base import ObjectNotFound
from snap.backends.memory import MemoryBackend
from snap.errors import IntegrityError
from snap.repo.ids import object_id
from snap.repo.objects import StoredObject, each_object, get_verified, list_sizes


def put(backend: MemoryBackend, content: bytes) -> str:
    name = f"index/{object_id(content).hex()}"
    backend.put(name, content)
    return name


def test_an_object_is_compared_with_its_name() -> None:
    backend = MemoryBackend()
    name = put(backend, b"content")
    assert get_verified(backend, name) == b"content"
    backend.put(name, b"content?")
    with pytest.raises(IntegrityError, match=f"{name}: damaged"):
        get_verified(backend, name)
    with pytest.raises(ObjectNotFound):
        get_verified(backend, "index/" + "0" * 64)


def test_only_names_with_an_id_are_listed() -> None:
    backend = MemoryBackend()
    name = put(backend, b"content")
    backend.put("index/other", b"x")
    assert list_sizes(backend, "index/") == {name: 7}


def test_all_objects_are_worked_on_and_never_more_bytes_than_allowed() -> None:
    lock = threading.Lock()
    now = most = 0
    seen = []

    def work(one: StoredObject) -> None:
        nonlocal now, most
        with lock:
            now += one.size_bytes
            most = max(most, now)
        seen.append(one.name)
        with lock:
            now -= one.size_bytes

    objects = [StoredObject(str(n), 30) for n in range(200)]
    each_object(objects, work, workers=8, in_flight_bytes=100)
    assert sorted(seen) == sorted(one.name for one in objects)
    assert most <= 100


def test_an_object_larger_than_the_bound_is_worked_on_alone() -> None:
    seen = []
    each_object(
        [StoredObject("small", 1), StoredObject("huge", 10**12), StoredObject("next", 1)],
        lambda one: seen.append(one.name),
        in_flight_bytes=100,
    )
    assert sorted(seen) == ["huge", "next", "small"]


def test_the_first_error_ends_it() -> None:
    begun = []

    def work(one: StoredObject) -> None:
        begun.append(one.name)
        raise IntegrityError(one.name)

    with pytest.raises(IntegrityError):
        each_object([StoredObject(str(n), 50) for n in range(1000)], work, in_flight_bytes=100)
    assert len(begun) < 100
