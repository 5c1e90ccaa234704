import contextlib
import threading
from collections.abc import Iterator
from typing import cast

import pytest

from snap.errors import SourceError
from snap.repo.ahead import OpenAhead
from snap.repo.repository import Repository

from .conftest import back_up
from .dictsource import DictSource


class Watched(DictSource):
    """Notes when it is opened and left, and by which thread."""

    log: list[str]
    failures: int = 0

    @contextlib.contextmanager
    def open(self) -> Iterator[DictSource]:
        ahead = " ahead" if threading.current_thread() is not threading.main_thread() else ""
        self.log.append(f"open {self.name}{ahead}")
        if self.failures:
            self.failures -= 1
            raise SourceError(f"{self.name} is locked")
        try:
            yield self
        finally:
            self.log.append(f"leave {self.name}")


def watched(log: list[str], name: str, *, can_wait: bool = True) -> Watched:
    source = Watched({b"f": name.encode()}, name=name, can_wait=can_wait)
    source.log = log
    return source


def wait_for(log: list[str], entry: str) -> None:
    for _ in range(30_000):
        if entry in log:
            return
        threading.Event().wait(0.002)
    raise AssertionError(f"{entry} never came: {log}")


def test_copies_are_made_while_the_first_is_stored_and_others_wait_for_their_turn() -> None:
    log: list[str] = []
    a, b, c, d = (watched(log, n, can_wait=n != "c") for n in "abcd")
    ahead = OpenAhead([a, b, c, d])
    with ahead.open(a):
        wait_for(log, "open d ahead")
        assert log == ["open a", "open b ahead", "open d ahead"]
    for source in (b, c, d):
        with ahead.open(source) as view:
            assert cast(object, view) is source
    ahead.close()
    assert log[3:] == ["leave a", "leave b", "open c", "leave c", "leave d"]


def test_one_that_fails_ahead_is_opened_again_in_its_turn() -> None:
    log: list[str] = []
    a, b = watched(log, "a"), watched(log, "b")
    b.failures = 1
    ahead = OpenAhead([a, b])
    with ahead.open(a):
        wait_for(log, "open b ahead")
    with ahead.open(b):
        pass
    ahead.close()
    assert log == ["open a", "open b ahead", "leave a", "open b", "leave b"]


def test_what_was_not_asked_for_is_left_at_the_end() -> None:
    log: list[str] = []
    a, b = watched(log, "a"), watched(log, "b")
    ahead = OpenAhead([a, b])
    with ahead.open(a):
        wait_for(log, "open b ahead")
    ahead.close()
    wait_for(log, "leave b")
    assert log.count("leave b") == 1


def test_a_copy_that_is_made_after_the_end_is_left_by_the_thread_that_made_it() -> None:
    log: list[str] = []
    go = threading.Event()

    class Slow(Watched):
        @contextlib.contextmanager
        def open(self) -> Iterator[DictSource]:
            log.append("begun")
            go.wait(60)
            with super().open() as view:
                yield view

    a, b = watched(log, "a"), Slow({b"f": b"1"}, name="b", can_wait=True)
    b.log = log
    ahead = OpenAhead([a, b])
    with ahead.open(a):
        wait_for(log, "begun")
    ahead.close()
    go.set()
    wait_for(log, "leave b")


def test_an_error_while_a_view_is_read_reaches_the_view() -> None:
    log: list[str] = []
    a, b = watched(log, "a"), watched(log, "b")
    ahead = OpenAhead([a, b])
    with ahead.open(a):
        wait_for(log, "open b ahead")
    with pytest.raises(SourceError, match="midway"), ahead.open(b):
        raise SourceError("midway")
    ahead.close()
    assert log.count("leave b") == 1


def test_the_first_that_fails_leaves_the_others_to_their_turns(repository: Repository) -> None:
    log: list[str] = []
    a, b, c = (watched(log, name) for name in "abc")
    a.failures = 1
    snapshot = back_up(repository, a, b, c)
    assert [x.status for x in snapshot.components] == ["failed", "success", "success"]
    assert log.count("open a") == log.count("leave b") == log.count("leave c") == 1
    assert "open b ahead" not in log
