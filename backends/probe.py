"""What a store keeps of what `Backend` promises, found out by trying.

Everything is tried under ``probe/``, where no repository has anything, and taken away again.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from .base import (
    Backend,
    BackendError,
    ObjectExists,
    ObjectNotFound,
    PermissionDenied,
    RetentionUnsupported,
    ShortRead,
)
from .pause import Interrupted

PROBE_PREFIX = "probe/"
PROBE_DATA_PREFIX = "probe/data-"
"""Objects in the storage class of data packs."""

EXCLUSIVE_CREATE = "exclusive-create"
"""The code of the promise that of two that create one object, one wins."""

_CONTENT = bytes(range(256)) * 40
_RACES = 3
_SHOWN_LATE_SECONDS = 30.0
_SKEW_MATTERS_SECONDS = 300
_LOCK_SECONDS = 60
_SECOND_NS = 10**9


class Level(StrEnum):
    """What it means that a promise is broken."""

    ESSENTIAL = "essential"
    """No repository can be kept there."""
    WANTED = "wanted"
    """One can, with care: said as a warning."""
    OPTIONAL = "optional"
    """Nothing needs it; said where it is asked for."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing that was tried.

    Attributes:
        code: What, for programs and for what is recorded: it never changes.
        name: What, in a few words.
        level: What it means that it is broken.
        kept: Whether the store did it.
        words: What was seen; where it is not kept, what that means.
        error: What the store raised, if it did.
    """

    code: str
    name: str
    level: Level
    kept: bool
    words: str = ""
    error: BackendError | None = None


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """All that was tried. ``skew_seconds`` is how far the store's clock is ahead of ours."""

    location: str
    promises: tuple[Promise, ...]
    skew_seconds: float | None

    @property
    def ok(self) -> bool:
        """Return whether a repository can be kept there."""
        return not self.broken(Level.ESSENTIAL)

    @property
    def lacks(self) -> tuple[str, ...]:
        """Return the codes of all that is not kept, sorted."""
        return tuple(sorted(p.code for p in self.promises if not p.kept))

    def broken(self, level: Level) -> list[Promise]:
        """Return the promises of a level that are not kept."""
        return [p for p in self.promises if p.level is level and not p.kept]

    def require(self) -> None:
        """Refuse a store that cannot hold a repository.

        Raises:
            BackendError: what the store raised itself, or which promises it breaks.
        """
        broken = self.broken(Level.ESSENTIAL)
        if not broken:
            return
        if broken[0].error is not None:
            raise broken[0].error
        what = "; ".join(f"{p.name}: {p.words}" for p in broken)
        raise BackendError(
            f"{self.location} cannot hold a repository: {what}",
            "use another store, or another server in front of this one",
        )


class _Broken(Exception):
    """A promise is not kept: in words."""


def probe_store(
    backend: Backend,
    *,
    clock: Callable[[], int],
    sleep: Callable[[float], None] = time.sleep,
) -> ProbeReport:
    """Try everything; some thirty requests. ``clock`` is this machine's, in nanoseconds.

    The object that Object Lock is tried with cannot be removed for a minute; where the store keeps
    old versions it stays as one.
    """
    probe = _Probe(backend, clock, sleep)
    try:
        return ProbeReport(backend.location, tuple(probe.run()), probe.skew_seconds)
    finally:
        probe.clean()


class _Probe:
    def __init__(
        self, backend: Backend, clock: Callable[[], int], sleep: Callable[[float], None]
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._sleep = sleep
        self._id = secrets.token_hex(8)
        self._names: list[str] = []
        self.skew_seconds: float | None = None

    def run(self) -> Iterator[Promise]:
        tries = (
            ("objects", "objects are stored and read", Level.ESSENTIAL, self._put_get),
            ("replacement", "objects are replaced whole", Level.ESSENTIAL, self._overwrite),
            ("ranges", "parts of objects are read", Level.ESSENTIAL, self._ranges),
            ("data-packs", "data packs are stored and read at once", Level.ESSENTIAL, self._data),
            ("listings", "listings are complete", Level.ESSENTIAL, self._listing),
            ("deletion", "objects that are deleted are gone", Level.WANTED, self._delete),
            (
                "new-in-listings",
                "listings show what is new at once",
                Level.WANTED,
                self._listing_at_once,
            ),
            (
                EXCLUSIVE_CREATE,
                "of two that create one object, one wins",
                Level.WANTED,
                self._race,
            ),
            ("clock", "the store's clock is ours", Level.WANTED, self._skew),
            (
                "object-lock",
                "objects can be protected from deletion",
                Level.OPTIONAL,
                self._lock,
            ),
        )
        for code, name, level, attempt in tries:
            promise = _tried(code, name, level, attempt)
            yield promise
            if promise.error is not None and level is Level.ESSENTIAL:
                # A store that refuses or is not there: all else would fail alike.
                return

    def clean(self) -> None:
        for name in self._names:
            with contextlib.suppress(BackendError):
                self._backend.delete(name)

    def _name(self, what: str, prefix: str = PROBE_PREFIX) -> str:
        name = f"{prefix}{self._id}-{what}"
        self._names.append(name)
        return name

    def _put_get(self) -> str:
        for what, content in (("full", _CONTENT), ("empty", b"")):
            name = self._name(what)
            self._backend.put(name, content)
            _require(self._backend.get(name) == content, "what is read is not what was stored")
            size = self._backend.stat(name).size_bytes
            _require(size == len(content), f"{len(content)} bytes were stored, it says {size}")
        return ""

    def _delete(self) -> str:
        name = self._name("deleted")
        self._backend.put(name, _CONTENT)
        try:
            self._backend.delete(name)
        except PermissionDenied as error:
            raise _Broken(
                f"{error}: a key that is removed stays for now, as does the rest"
            ) from error
        try:
            self._backend.get(name)
        except ObjectNotFound:
            return _OLD_VERSIONS if self._backend.keeps_deleted else ""
        raise _Broken("an object that was deleted is still read")

    def _overwrite(self) -> str:
        name = self._name("overwrite")
        self._backend.put(name, _CONTENT)
        self._backend.put(name, b"new")
        _require(self._backend.get(name) == b"new", "the old content is still read")
        return ""

    def _ranges(self) -> str:
        name = self._name("ranges")
        self._backend.put(name, _CONTENT)
        part = self._backend.get(name, 1000, 300)
        _require(part == _CONTENT[1000:1300], "another part came than was asked for")
        try:
            self._backend.get(name, len(_CONTENT) - 10, 20)
        except ShortRead:
            return ""
        raise _Broken("more was read than there is")

    def _data(self) -> str:
        name = self._name("pack", PROBE_DATA_PREFIX)
        self._backend.put(name, _CONTENT)
        _require(self._backend.get(name) == _CONTENT, "what is read is not what was stored")
        return ""

    def _listed(self) -> set[str]:
        listed = {stat.name for stat in self._backend.list(PROBE_PREFIX)}
        return listed & set(self._names)

    def _listing(self) -> str:
        names = {self._name(f"list-{n}") for n in range(3)}
        for name in names:
            self._backend.put(name, b"x")
        waited = 0.0
        while not names <= self._listed():
            _require(waited < _SHOWN_LATE_SECONDS, f"after {waited:.0f} seconds one is missing")
            self._sleep(1)
            waited += 1
        return ""

    def _listing_at_once(self) -> str:
        name = self._name("new")
        self._backend.put(name, b"x")
        late = "a backup may not see yet what another has just stored, and stores it again"
        _require(name in self._listed(), late)
        with contextlib.suppress(PermissionDenied):
            self._backend.delete(name)
            _require(name not in self._listed(), "what was deleted is still listed for a while")
        return ""

    def _race(self) -> str:
        for round_ in range(_RACES):
            name = self._name(f"race-{round_}")
            winners = self._race_for(name)
            _require(
                len(winners) == 1 and self._backend.get(name) == winners[0],
                f"{len(winners)} of 2 won: 'snap init' looks again after some seconds whose "
                "repository it is; do not run it twice at once",
            )
        return ""

    def _race_for(self, name: str) -> list[bytes]:
        start = threading.Barrier(2)
        winners: list[bytes] = []
        errors: list[BackendError] = []

        def create(content: bytes) -> None:
            start.wait()
            try:
                self._backend.put(name, content, exclusive=True)
                winners.append(content)
            except (ObjectExists, Interrupted):
                return
            except BackendError as error:
                errors.append(error)

        threads = [threading.Thread(target=create, args=(c,)) for c in (b"one", b"two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return winners

    def _skew(self) -> str:
        name = self._name("clock")
        before_ns = self._clock()
        self._backend.put(name, b"x")
        after_ns = self._clock()
        stored_ns = self._backend.stat(name).modified_ns
        # Stores tell whole seconds: a time may lie up to one before what it means.
        early, late = stored_ns + _SECOND_NS - before_ns, stored_ns - after_ns
        skew_ns = late if late > 0 else min(early, 0)
        self.skew_seconds = skew_ns / _SECOND_NS
        ahead = "ahead of" if skew_ns > 0 else "behind"
        words = f"it is {abs(self.skew_seconds):.0f} seconds {ahead} this machine's"
        _require(
            abs(self.skew_seconds) < _SKEW_MATTERS_SECONDS,
            f"{words}: set the clock that is wrong, for retention goes by time",
        )
        return words if abs(self.skew_seconds) >= 1 else ""

    def _lock(self) -> str:
        name = self._name("lock")
        until_ns = self._clock() + _LOCK_SECONDS * _SECOND_NS
        if self.skew_seconds is not None and self.skew_seconds > 0:
            until_ns += int(self.skew_seconds * _SECOND_NS)
        try:
            self._backend.put(name, b"x", retain_until_ns=until_ns)
        except RetentionUnsupported as error:
            raise _Broken("the store has no Object Lock") from error
        return ""


_OLD_VERSIONS = (
    "for readers: the bucket keeps them as old versions, which take room and, for who may read "
    "those, hold removed keys, until a lifecycle rule removes them"
)


def _require(condition: bool, words: str) -> None:  # noqa: FBT001 - reads as it is meant
    if not condition:
        raise _Broken(words)


def _tried(code: str, name: str, level: Level, attempt: Callable[[], str]) -> Promise:
    try:
        return Promise(code, name, level, kept=True, words=attempt())
    except _Broken as broken:
        return Promise(code, name, level, kept=False, words=str(broken))
    except BackendError as error:
        return Promise(code, name, level, kept=False, words=str(error), error=error)
