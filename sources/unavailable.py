"""A source of which it is known before it is opened that it cannot be."""

from collections.abc import Iterator
from contextlib import contextmanager

from snap.errors import SnapError, SourceError
from snap.repo.source import View


class UnavailableSource:
    """Stands for a source among others, so that its component fails and theirs are stored."""

    can_wait = False

    def __init__(self, kind: str, place: str, name: str, error: SnapError) -> None:
        self.kind = kind
        self.place = place
        self.name = name
        self._error = error

    @contextmanager
    def open(self) -> Iterator[View]:
        """Raise the error.

        Raises:
            SourceError: always.
        """
        raise SourceError(str(self._error), self._error.hint) from self._error
        yield
