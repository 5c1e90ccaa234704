from snap.backends.memory import MemoryBackend


def test_times_come_from_the_clock_that_was_given() -> None:
    now = [100]
    store = MemoryBackend(clock=lambda: now[0])
    store.put("a", b"x")
    now[0] = 200
    store.put("b", b"x")
    assert {s.name: s.modified_ns for s in store.list("")} == {"a": 100, "b": 200}


def test_the_store_keeps_a_copy_of_what_was_put() -> None:
    store, data = MemoryBackend(), bytearray(b"abc")
    store.put("a", data)
    data[0] = 0
    assert store.get("a") == b"abc"
