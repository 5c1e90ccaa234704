"""Copies that are asked for what the repository does not have whole.

A pack has the same name and bytes in every copy, so a blob that cannot be opened here is looked for
at the same place there. Copies are opened when they are first needed.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from snap.backends.base import Backend, BackendError
from snap.errors import IntegrityError, SnapError

from .blobs import BlobReader
from .cache import Location
from .codec import DecodeError
from .copy import COPIED_PREFIXES, open_copy
from .envelope import open_object
from .ids import BlobId, Kind, ObjectId, id_of_name, pack_name
from .index import split_index
from .objects import get_verified, list_sizes
from .repository import INDEX_PREFIX, Repository

_NAMED = 3
"""Objects that a message names; how many more there are is said."""


@dataclass(frozen=True, slots=True)
class OtherCopy:
    """A copy that may help: its name for people, and how to open its store."""

    name: str
    open_backend: Callable[[], Backend]


@dataclass(slots=True)
class _Opened:
    name: str
    backend: Backend
    blobs: BlobReader
    index_names: list[str] | None = None
    taken: set[str] = field(default_factory=set)


class Fallback:
    """Answers for a repository out of its copies. Safe from several threads.

    What was taken from where, and which copies could not be asked, becomes a warning of the
    repository when this is closed.
    """

    def __init__(self, repository: Repository, copies: Sequence[OtherCopy]) -> None:
        self._repository = repository
        self._waiting = list(copies)
        self._opened: list[_Opened] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "Fallback":
        if self._waiting:
            self._repository.set_fallback(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._repository.set_fallback(None)
        self.close()

    def close(self) -> None:
        """Say what was taken from where, and release the copies."""
        for copy in self._opened:
            if copy.taken:
                self._repository.warnings.append(_words_of(copy))
            copy.backend.close()

    def get_object(self, name: str) -> bytes | None:
        """Return an object out of the first copy that has it whole, None where none has."""
        for copy in self._copies():
            try:
                stored = get_verified(copy.backend, name)
            except (IntegrityError, BackendError):
                continue
            self._note(copy, name)
            return stored
        return None

    def whole_in(self, name: str) -> list[str]:
        """Return the names of the copies that have an object whole.

        None for a name that is not that of a content-addressed object.
        """
        if id_of_name(name) is None or not name.startswith(COPIED_PREFIXES):
            return []
        names = []
        for copy in self._copies():
            try:
                get_verified(copy.backend, name)
            except (IntegrityError, BackendError):
                continue
            names.append(copy.name)
        return names

    def read_blob(self, id_: BlobId, kind: Kind) -> bytes | None:
        """Return a blob's plaintext out of the first copy that has it whole."""
        for copy in self._copies():
            locations = self._repository.cache.locate(id_)
            if not locations:
                self._load_index(copy)
                locations = self._repository.cache.locate(id_)
            for location in locations:
                plain = self._try(copy, location, kind)
                if plain is not None:
                    return plain
        return None

    def _try(self, copy: _Opened, location: Location, kind: Kind) -> bytes | None:
        try:
            plain = copy.blobs.read_at(location, kind)
        except (IntegrityError, BackendError):
            return None
        self._note(copy, pack_name(location.pack_kind, location.pack_id))
        return plain

    def _note(self, copy: _Opened, name: str) -> None:
        with self._lock:
            copy.taken.add(name)

    def _copies(self) -> Iterator[_Opened]:
        """Yield the copies that can be asked, those that were asked before first."""
        number = 0
        while True:
            with self._lock:
                while number >= len(self._opened) and self._waiting:
                    self._open(self._waiting.pop(0))
                if number >= len(self._opened):
                    return
                copy = self._opened[number]
            yield copy
            number += 1

    def _open(self, copy: OtherCopy) -> None:
        try:
            backend = copy.open_backend()
            try:
                open_copy(self._repository, backend)
            except BaseException:
                backend.close()
                raise
        except SnapError as error:
            self._repository.warnings.append(f"copy {copy.name} cannot help: {error}")
            return
        blobs = BlobReader(backend, self._repository.keys, self._repository.cache, list)
        self._opened.append(_Opened(copy.name, backend, blobs))

    def _load_index(self, copy: _Opened) -> None:
        """Load the copy's index objects that the repository lost, for this run.

        Again where they were dropped: whatever loads the repository's index does that.
        """
        with self._lock:
            known = self._repository.cache.index_ids()
            try:
                if copy.index_names is None:
                    copy.index_names = sorted(list_sizes(copy.backend, INDEX_PREFIX))
                for name in copy.index_names:
                    if ObjectId(bytes.fromhex(name[-64:])) not in known:
                        self._load_one(copy, name)
            except BackendError:
                # It gives no more; what was loaded so far may do.
                return

    def _load_one(self, copy: _Opened, name: str) -> None:
        try:
            stored = get_verified(copy.backend, name)
            packs = split_index(open_object(self._repository.keys, Kind.INDEX, stored))
        except (IntegrityError, DecodeError):
            return
        self._repository.cache.add_index(ObjectId(bytes.fromhex(name[-64:])), packs)
        copy.taken.add(name)


def _words_of(copy: _Opened) -> str:
    names = sorted(copy.taken)
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"taken from copy {copy.name}, because damaged or missing here: {shown}{more}; "
        f"heal it with 'snap repair --from {copy.name}'"
    )
