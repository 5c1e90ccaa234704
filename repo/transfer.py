"""Bringing objects as they are from one store to another, several at a time."""

import threading
from collections.abc import Callable, Iterable

from snap.backends.base import Backend, ObjectNotFound, ShortRead
from snap.errors import IntegrityError

from .catalog import Problem, kind_of
from .objects import WORKERS, StoredObject, each_object, get_verified

Advance = Callable[[int, str], None]
"""Is told of bytes that are done, and of the object that they belong to."""
Note = Callable[[str, bool], None]
"""Is told of an object that was read whole, and whether it was damaged."""


class Transfer:
    """Fetches objects, compares each with its name, and puts what is whole.

    ``read_back`` fetches and compares once more what was put.

    Attributes:
        moved: Names of the objects that were put.
        bytes: Their bytes.
        problems: What the source does not have, or not whole; nothing was put of it.
    """

    def __init__(
        self,
        source: Backend,
        target: Backend,
        *,
        advance: Advance,
        workers: int = WORKERS,
        read_back: bool = False,
    ) -> None:
        self._source = source
        self._target = target
        self._advance = advance
        self._workers = workers
        self._read_back = read_back
        self._lock = threading.Lock()
        self.moved: list[str] = []
        self.bytes = 0
        self.problems: list[Problem] = []

    def run(self, objects: Iterable[StoredObject]) -> None:
        """Transfer all of them; what the source cannot give does not stop the others.

        Raises:
            BackendError: one of the stores failed.
            IntegrityError: the target does not give back what was put.
        """
        each_object(objects, self._move, workers=self._workers)

    def _move(self, one: StoredObject) -> None:
        try:
            stored = get_verified(self._source, one.name)
        except (IntegrityError, ObjectNotFound, ShortRead) as error:
            with self._lock:
                self.problems.append(problem_of(one.name, error))
            return
        self._target.put(one.name, stored)
        if self._read_back:
            self._compare(one.name)
        with self._lock:
            self.moved.append(one.name)
            self.bytes += len(stored)
        self._advance(one.size_bytes, one.name)

    def _compare(self, name: str) -> None:
        try:
            get_verified(self._target, name)
        except (IntegrityError, ObjectNotFound, ShortRead) as error:
            raise IntegrityError(
                f"{self._target.location} does not give back what was just stored there: {error}",
                "do not trust this place: check its disk, or the service",
            ) from error


def problem_of(name: str, error: Exception) -> Problem:
    """Return what is wrong with one object, in the words of ``check``."""
    if isinstance(error, ObjectNotFound):
        return Problem(name, "missing", kind_of(error))
    text = str(error).removeprefix(f"{name}: ").removeprefix("damaged: ")
    return Problem(name, text, kind_of(error))


class Reading:
    """Reads objects and compares them with their names; ``note`` is told of each.

    Attributes:
        bytes: How many were read.
        damaged: What is wrong with those that are not whole, by their names.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        advance: Advance,
        workers: int = WORKERS,
        note: Note = lambda _name, _is_damaged: None,
    ) -> None:
        self._backend = backend
        self._advance = advance
        self._note = note
        self._workers = workers
        self._lock = threading.Lock()
        self.bytes = 0
        self.damaged: dict[str, Problem] = {}

    def run(self, objects: Iterable[StoredObject]) -> None:
        """Read all of them.

        Raises:
            BackendError: the store failed.
        """
        each_object(objects, self._read, workers=self._workers)

    def _read(self, one: StoredObject) -> None:
        try:
            get_verified(self._backend, one.name)
        except ObjectNotFound:
            # Deleted since it was listed.
            return
        except (IntegrityError, ShortRead) as error:
            with self._lock:
                self.damaged[one.name] = problem_of(one.name, error)
        self._note(one.name, one.name in self.damaged)
        with self._lock:
            self.bytes += one.size_bytes
        self._advance(one.size_bytes, one.name)
