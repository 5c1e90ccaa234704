"""The promises of `snap.backends.base.Backend`, as tests; every store and wrapper runs them."""

import random
import threading
from collections.abc import Callable

import pytest

from snap.backends.base import Backend, ObjectExists, ObjectNotFound, ShortRead
from snap.errors import UsageError

BIG = random.Random(1).randbytes(5_000_000)


class BackendContract:
    """Subclasses give a fixture ``backend``, an empty store."""

    def test_what_was_put_is_read_back_whole_and_in_ranges(self, backend: Backend) -> None:
        for name, data in (("a", b""), ("d/b", b"hello"), ("d/e/c", BIG)):
            backend.put(name, data)
            assert backend.get(name) == data
            assert backend.stat(name).size_bytes == len(data)
        assert backend.get("d/b", 1, 3) == b"ell"
        assert backend.get("d/b", 2) == b"llo"
        assert backend.get("d/b", 5, 0) == b""
        assert backend.get("d/e/c", 4_000_000, 1_000_000) == BIG[4_000_000:]

    def test_a_range_that_the_object_does_not_have_is_a_short_read(self, backend: Backend) -> None:
        backend.put("a", b"hello")
        for offset, length in ((0, 6), (5, 1), (6, 0), (100, None)):
            with pytest.raises(ShortRead):
                backend.get("a", offset, length)

    @pytest.mark.parametrize("data", [b"bytes", bytearray(b"bytes"), memoryview(b"xbytesx")[1:6]])
    def test_any_buffer_can_be_put(self, backend: Backend, data: bytes) -> None:
        backend.put("a", data)
        assert backend.get("a") == b"bytes"

    def test_a_put_replaces_the_old_object_whole(self, backend: Backend) -> None:
        backend.put("a", b"a long old object")
        backend.put("a", b"new")
        assert backend.get("a") == b"new"
        assert backend.stat("a").size_bytes == 3

    def test_an_exclusive_put_does_not_replace(self, backend: Backend) -> None:
        backend.put("a", b"first", exclusive=True)
        with pytest.raises(ObjectExists):
            backend.put("a", b"second", exclusive=True)
        assert backend.get("a") == b"first"

    def test_of_racing_exclusive_puts_exactly_one_succeeds(self, backend: Backend) -> None:
        for round_ in range(5):
            winners: list[bytes] = []
            start = threading.Barrier(4)

            def race(
                data: bytes,
                name: str = f"r/{round_}",
                start: threading.Barrier = start,
                winners: list[bytes] = winners,
            ) -> None:
                start.wait()
                try:
                    backend.put(name, data, exclusive=True)
                except ObjectExists:
                    return
                winners.append(data)

            run_all([lambda n=n: race(b"%d" % n) for n in range(4)])  # type: ignore[misc]
            assert len(winners) == 1
            assert backend.get(f"r/{round_}") == winners[0]

    def test_missing_objects_are_not_found(self, backend: Backend) -> None:
        backend.put("d/there", b"x")
        for name in ("a", "d", "d/a", "d/there/below"):
            with pytest.raises(ObjectNotFound):
                backend.get(name)
            with pytest.raises(ObjectNotFound):
                backend.stat(name)
            with pytest.raises(ObjectNotFound):
                backend.delete(name)

    def test_a_deleted_object_is_gone(self, backend: Backend) -> None:
        backend.put("d/a", b"x")
        backend.put("d/b", b"x")
        backend.delete("d/a")
        with pytest.raises(ObjectNotFound):
            backend.get("d/a")
        assert [stat.name for stat in backend.list("")] == ["d/b"]

    def test_a_listing_is_complete_and_has_each_object_once(self, backend: Backend) -> None:
        names = {f"{folder}/{n:03}" for folder in ("a", "a/b", "c") for n in range(60)} | {"top"}
        for name in names:
            backend.put(name, name.encode())
        listed = list(backend.list(""))
        assert sorted(stat.name for stat in listed) == sorted(names)
        assert all(stat.size_bytes == len(stat.name) for stat in listed)
        below = {stat.name for stat in backend.list("a/")}
        assert below == {name for name in names if name.startswith("a/")}
        assert list(backend.list("nothing/")) == []

    def test_a_listing_goes_on_while_objects_come_and_go(self, backend: Backend) -> None:
        for n in range(50):
            backend.put(f"d/{n:02}", b"x")
        seen = []
        for stat in backend.list("d/"):
            seen.append(stat.name)
            if len(seen) == 1:
                backend.put("d/new", b"x")
                gone = "d/49" if stat.name != "d/49" else "d/48"
                backend.delete(gone)
        assert len(seen) == len(set(seen))
        assert {f"d/{n:02}" for n in range(50)} - {gone} <= set(seen) | {gone}

    def test_times_are_the_stores_and_do_not_go_back(self, backend: Backend) -> None:
        backend.put("a", b"1")
        first = backend.stat("a").modified_ns
        backend.put("a", b"2")
        backend.put("b", b"2")
        assert backend.stat("a").modified_ns >= first > 1_500_000_000 * 10**9
        assert {s.name: s.modified_ns for s in backend.list("")}["a"] == backend.stat(
            "a"
        ).modified_ns

    @pytest.mark.parametrize(
        "name", ["", "/a", "a/", "../a", "a/../b", ".hidden", "a//b", "a b", "a\n", "ä", "a/."]
    )
    def test_names_that_lead_elsewhere_are_refused(self, backend: Backend, name: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: backend.put(name, b"x"),
            lambda: backend.get(name),
            lambda: backend.stat(name),
            lambda: backend.delete(name),
        ]
        for call in calls:
            with pytest.raises(UsageError, match="object name"):
                call()

    @pytest.mark.parametrize("prefix", ["/", "../", "/etc/", "a/../", "a", "a//", ".a/", "a b/"])
    def test_prefixes_that_lead_elsewhere_are_refused(self, backend: Backend, prefix: str) -> None:
        backend.put("a/b", b"x")
        with pytest.raises(UsageError, match="prefix"):
            list(backend.list(prefix))

    def test_many_threads_may_use_it_at_once(self, backend: Backend) -> None:
        def work(n: int) -> None:
            for i in range(20):
                data = bytes([n]) * (1000 + i)
                backend.put(f"t{n}/{i}", data)
                assert backend.get(f"t{n}/{i}") == data
                assert len(list(backend.list(f"t{n}/"))) == i + 1

        run_all([lambda n=n: work(n) for n in range(4)])  # type: ignore[misc]
        assert len(list(backend.list(""))) == 80


def run_all(works: list[Callable[[], None]]) -> None:
    """Run all at once in threads; raise what any raised."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
