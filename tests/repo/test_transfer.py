from snap.backends.memory import MemoryBackend
from snap.repo.catalog import Problem
from snap.repo.ids import object_id
from snap.repo.objects import StoredObject
from snap.repo.transfer import Reading, Transfer


def stored(backend: MemoryBackend, content: bytes) -> StoredObject:
    name = f"data/{object_id(content).hex()[:2]}/{object_id(content).hex()}"
    backend.put(name, content)
    return StoredObject(name, len(content))


def test_whole_objects_are_put_and_the_others_named() -> None:
    source, target = MemoryBackend(), MemoryBackend()
    whole, damaged = stored(source, b"whole"), stored(source, b"damaged")
    source.put(damaged.name, b"damageD")
    missing = StoredObject("data/00/" + "0" * 64, 5)
    told: list[int] = []
    transfer = Transfer(source, target, advance=lambda count, _: told.append(count), read_back=True)
    transfer.run([whole, damaged, missing])
    assert transfer.moved == [whole.name]
    assert transfer.bytes == 5 == sum(told)
    assert sorted(transfer.problems, key=lambda p: p.problem) == [
        Problem(damaged.name, "its bytes do not have the hash in its name"),
        Problem(missing.name, "missing"),
    ]
    assert [s.name for s in target.list("")] == [whole.name]


def test_reading_names_what_is_damaged_and_passes_over_what_is_gone() -> None:
    backend = MemoryBackend()
    whole, damaged = stored(backend, b"whole"), stored(backend, b"damaged")
    backend.put(damaged.name, b"damageD")
    reading = Reading(backend, advance=lambda *_: None)
    reading.run([whole, damaged, StoredObject("data/00/" + "0" * 64, 5)])
    assert list(reading.damaged) == [damaged.name]
    assert reading.bytes == 12
