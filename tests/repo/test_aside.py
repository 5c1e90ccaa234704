from typing import Unpack

from snap.backends.base import Buffer, ObjectRetained, PutOptions
from snap.backends.faulty import Fault, FaultyBackend
from snap.backends.memory import MemoryBackend
from snap.repo.aside import ASIDE_PREFIX, aside_name, set_aside
from snap.repo.ids import id_of_name, object_id

NAME = "data/ab/" + "ab" * 32


def names(backend: MemoryBackend) -> list[str]:
    return [stat.name for stat in backend.list("")]


def test_an_object_is_moved_and_its_new_name_is_none_of_the_format_s() -> None:
    backend = MemoryBackend()
    backend.put(NAME, b"damaged")
    assert set_aside(backend, NAME) == ""
    [kept] = names(backend)
    assert kept == aside_name(NAME, b"damaged")
    assert backend.get(kept) == b"damaged"
    assert kept.startswith(ASIDE_PREFIX)
    assert id_of_name(kept) is None


def test_what_was_set_aside_before_under_the_same_name_stays() -> None:
    backend = MemoryBackend()
    for damaged in (b"one", b"two", b"one"):
        backend.put(NAME, damaged)
        set_aside(backend, NAME)
    assert {backend.get(name) for name in names(backend)} == {b"one", b"two"}


def test_what_is_gone_already_is_no_error() -> None:
    assert set_aside(MemoryBackend(), NAME) == ""


def test_what_the_store_keeps_is_there_twice_and_told() -> None:
    backend = MemoryBackend()
    backend.put(NAME, b"damaged")
    faulty = FaultyBackend(backend, Fault("delete", error=lambda: ObjectRetained("until May")))
    assert "until May" in set_aside(faulty, NAME)
    assert {backend.get(name) for name in names(backend)} == {b"damaged"}
    assert NAME in names(backend)


def test_what_was_put_anew_meanwhile_is_not_taken_away() -> None:
    backend = MemoryBackend()
    backend.put(NAME, b"damaged")

    class Healing(FaultyBackend):
        """Another repair puts the whole object just before it would be deleted."""

        def put(self, name: str, data: Buffer, **options: Unpack[PutOptions]) -> None:
            super().put(name, data, **options)
            backend.put(NAME, b"whole again")

    assert set_aside(Healing(backend), NAME) == "it was put anew meanwhile"
    assert backend.get(NAME) == b"whole again"


def test_what_is_whole_when_it_is_read_again_stays_unless_that_is_meant() -> None:
    backend = MemoryBackend()
    name = "index/" + object_id(b"whole").hex()
    backend.put(name, b"whole")
    assert "read again" in set_aside(backend, name)
    assert names(backend) == [name]
    assert set_aside(backend, name, even_whole=True) == ""
    assert names(backend) == [aside_name(name, b"whole")]
