"""What a place remembers of its packs being read: ``checks/`` (spec/FORMAT.md §12.2).

Whoever reads packs whole notes the result in `PackReadings`, and `remember` merges it into one new
check object. It is about what could be lost and harms nothing: a store that does not take it, or
gives it back damaged, costs a warning, and then packs count as never read.
"""

import contextlib
import math
import random
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import tee

from snap.backends.base import Backend, BackendError, ObjectNotFound, ShortRead
from snap.errors import IntegrityError

from .check_object import (
    ROW_BYTES,
    CheckObject,
    decode_check,
    each_row,
    encode_check,
    merge_rows,
    row_of,
    rows_of,
    time_of,
)
from .clock import MINUTE_NS, Clock
from .codec import DecodeError
from .crypto import Keys
from .envelope import open_object, seal_object
from .ids import ID_BYTES, Kind, ObjectId, id_of_name, object_id
from .objects import get_verified
from .repository import Repository

CHECK_PREFIX = "checks/"
PACK_PREFIXES = ("data/", "meta/")
KEEP_EVERY_NS = 10 * MINUTE_NS
"""How much reading a run that is killed may forget."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far the packs of one place were read whole.

    Attributes:
        packs: How many there are.
        never: How many were never read whole, or were damaged when they were read last.
        damaged: How many of these were damaged.
        oldest_ns: Of the others, when the one was read that was not read for longest.
        overdue: How many were not found whole since the moment that was asked for, and were not
            put since then either; all that are damaged.
    """

    packs: int = 0
    never: int = 0
    damaged: int = 0
    oldest_ns: int | None = None
    overdue: int = 0


class PackReadings:
    """The packs that this process has read whole. Safe from several threads.

    Attributes:
        damaged: How many were found damaged.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rows = bytearray()
        self._forgotten: set[ObjectId] = set()
        self.damaged = 0

    def note(self, id_: ObjectId, *, is_damaged: bool) -> None:
        """Note that a pack was read just now."""
        row = row_of(id_, self._clock(), is_damaged=is_damaged)
        with self._lock:
            self._rows += row
            self.damaged += is_damaged

    def note_name(self, name: str, is_damaged: bool) -> None:  # noqa: FBT001 - a `Note`
        """Note that an object was read just now, if it is a pack."""
        id_ = id_of_name(name)
        if id_ is not None and name.startswith(PACK_PREFIXES):
            self.note(id_, is_damaged=is_damaged)

    def forget(self, name: str) -> None:
        """Note that an object was put anew and not read since."""
        id_ = id_of_name(name)
        if id_ is not None:
            self._forgotten.add(id_)

    def __len__(self) -> int:
        """Return how many times a pack was read."""
        return len(self._rows) // ROW_BYTES

    def is_empty(self) -> bool:
        """Return whether nothing was read and nothing put anew."""
        return not self._rows and not self._forgotten

    def contradict(self, rows: bytes) -> bool:
        """Return whether rows say something of an object that was put anew since."""
        return any(row[:ID_BYTES] in self._forgotten for row in each_row(rows))

    def merged_into(self, rows: bytes, named: Iterable[ObjectId]) -> bytes:
        """Return rows with these over them, of those packs that are named; the ids ascend."""
        with self._lock:
            own = b"".join(sorted(each_row(self._rows)))
        found = rows_of(merge_rows([rows], own), named)
        return b"".join(r for r in found if r is not None and r[:ID_BYTES] not in self._forgotten)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the check objects of a place say.

    Attributes:
        rows: Of each pack the row that counts (`check_object`).
        names: The objects that say it, and those that cannot be read or are replaced.
        problems: Why something is not known.
    """

    rows: bytes = b""
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def coverage(
    rows: bytes,
    named: Iterable[ObjectId],
    *,
    since_ns: int | None = None,
    fresh: Set[ObjectId] = frozenset(),
) -> Coverage:
    """Return how far packs were read, by the rows of them; ids and rows ascend.

    ``since_ns`` is the moment by which packs are overdue, but for those that are ``fresh``.
    """
    packs = never = damaged = overdue = 0
    oldest_ns: int | None = None
    ids, again = tee(named)
    for id_, row in zip(ids, rows_of(each_row(rows), again), strict=True):
        packs += 1
        if row is None or row[-1]:
            never += 1
            damaged += row is not None
            overdue += since_ns is not None and (row is not None or id_ not in fresh)
        else:
            read_ns = time_of(row)
            oldest_ns = read_ns if oldest_ns is None else min(oldest_ns, read_ns)
            overdue += since_ns is not None and read_ns < since_ns
    return Coverage(packs, never, damaged, oldest_ns, overdue)


def examine_coverage(
    backend: Backend,
    keys: Keys,
    named: Iterable[ObjectId],
    *,
    now_ns: int,
    since_ns: int | None = None,
) -> tuple[Coverage, list[str]]:
    """Return how far a place's packs were read, and why something of that is not known.

    ``named`` ascend. ``since_ns`` is the moment by which packs are overdue: with it the store is
    listed, for packs that were put since.

    Raises:
        BackendError: the store cannot be listed.
    """
    recalled = recall(backend, keys, now_ns)
    fresh: set[ObjectId] = set()
    if since_ns is not None:
        for stat in (stat for prefix in PACK_PREFIXES for stat in backend.list(prefix)):
            id_ = id_of_name(stat.name) if stat.modified_ns >= since_ns else None
            if id_ is not None:
                fresh.add(id_)
    found = coverage(recalled.rows, named, since_ns=since_ns, fresh=fresh)
    return found, recalled.problems


def recall(backend: Backend, keys: Keys, now_ns: int) -> Recalled:
    """Return what the check objects of a place say.

    Never fails. What is said of a time after ``now_ns`` does not count: a clock that was ahead
    must not make a pack count as read for ever.
    """
    recalled = Recalled()
    try:
        listed = [s for s in backend.list(CHECK_PREFIX) if id_of_name(s.name) is not None]
    except BackendError as error:
        recalled.problems.append(f"when packs were last read is not known: {error}")
        return recalled
    found: dict[ObjectId, CheckObject] = {}
    replaced: set[ObjectId] = set()
    # The newest first: those that it replaces need not be read.
    for stat in sorted(listed, key=lambda s: (-s.modified_ns, s.name)):
        id_ = ObjectId(bytes.fromhex(stat.name[-2 * ID_BYTES :]))
        if id_ not in replaced:
            try:
                one = _read(backend, keys, stat.name, recalled.problems)
            except BackendError as error:
                # It may be whole: not to be replaced by what is known without it.
                recalled.problems.append(f"when packs were last read is not known: {error}")
                continue
            if one is not None:
                found[id_] = one
                replaced |= one.replaces
        recalled.names.append(stat.name)
    counting = [one for id_, one in found.items() if id_ not in replaced]
    past = [_until(one.rows, now_ns) for one in counting]
    return Recalled(
        rows=past[0] if len(past) == 1 else b"".join(merge_rows(past)),
        names=recalled.names,
        problems=recalled.problems,
    )


def damaged_packs(backend: Backend, keys: Keys, now_ns: int) -> frozenset[ObjectId]:
    """Return the packs that were damaged when they were read last."""
    rows = each_row(recall(backend, keys, now_ns).rows)
    return frozenset(ObjectId(row[:ID_BYTES]) for row in rows if row[-1])


def _read(backend: Backend, keys: Keys, name: str, problems: list[str]) -> CheckObject | None:
    try:
        return decode_check(open_object(keys, Kind.CHECK, get_verified(backend, name)))
    except ObjectNotFound:
        # Merged by another process since it was listed.
        return None
    except (IntegrityError, DecodeError, ShortRead) as error:
        text = str(error).removeprefix(f"{name}: ").removeprefix("damaged: ")
        problems.append(
            f"{name}: damaged: {text}; it only says when packs were last read, and the next check "
            "that reads data replaces it"
        )
    return None


def _until(rows: bytes, now_ns: int) -> bytes:
    if all(time_of(row) <= now_ns for row in each_row(rows)):
        return rows
    return b"".join(row for row in each_row(rows) if time_of(row) <= now_ns)


def remember(
    backend: Backend,
    keys: Keys,
    readings: PackReadings,
    named: Iterable[ObjectId],
    *,
    now_ns: int,
    errors: int,
) -> list[str]:
    """Put a check object with what is known and what was read, and delete those it replaces.

    ``named``: the ids of the packs that an index object names, ascending; others are left out.
    Returns what could not be done, in words; never fails.
    """
    if readings.is_empty():
        return []
    recalled = recall(backend, keys, now_ns)
    if not len(readings) and not readings.contradict(recalled.rows):
        return []
    replaces = frozenset(ObjectId(bytes.fromhex(n[-2 * ID_BYTES :])) for n in recalled.names)
    rows = readings.merged_into(recalled.rows, named)
    body = encode_check(CheckObject(now_ns, errors, replaces, rows))
    stored = seal_object(keys, Kind.CHECK, body)
    try:
        backend.put(CHECK_PREFIX + object_id(stored).hex(), stored)
    except BackendError as error:
        return [f"that packs were read could not be noted in the repository: {error}"]
    for name in recalled.names:
        with contextlib.suppress(BackendError):
            # One that stays is replaced all the same.
            backend.delete(name)
    return []


def remember_named(
    backend: Backend, keys: Keys, readings: PackReadings, names: Iterable[str], *, clock: Clock
) -> list[str]:
    """Put down what was read in a place without a cache; of the packs among ``names``.

    Returns and never fails as `remember`; 33 bytes of memory a pack, and those of its name.
    """
    packs = (id_of_name(name) for name in names if name.startswith(PACK_PREFIXES))
    named = sorted(id_ for id_ in packs if id_ is not None)
    return remember(backend, keys, readings, named, now_ns=clock(), errors=readings.damaged)


def choose(
    rows: bytes,
    ids: Iterable[ObjectId],
    *,
    fraction: float,
    older_than_ns: int | None,
    chance: random.Random,
) -> Sequence[int]:
    """Return which packs to read, as numbers into ``ids``, which ascend: the most overdue first.

    At least ``fraction`` of them, and all that were not found whole since ``older_than_ns``. Those
    never read go first, then those not read for longest; ``chance`` decides between equal ones. So
    a fraction read again and again reads all packs in 1 / ``fraction`` runs.
    """
    times = array("Q", _times(rows, ids))
    count = min(len(times), math.ceil(len(times) * max(0.0, fraction)))
    if older_than_ns is not None:
        count = max(count, sum(time < older_than_ns for time in times))
    if not count:
        return ()
    order = list(range(len(times)))
    chance.shuffle(order)
    order.sort(key=times.__getitem__)
    return order[:count]


def _times(rows: bytes, ids: Iterable[ObjectId]) -> Iterator[int]:
    for row in rows_of(each_row(rows), ids):
        yield 0 if row is None or row[-1] else time_of(row)


class CheckMemory:
    """What is known of a repository's packs being read: before a check, and by it.

    Without ``is_kept`` nothing is put down.
    """

    def __init__(self, repository: Repository, *, is_kept: bool) -> None:
        self._repository = repository
        self._is_kept = is_kept
        self._unkept = 0
        self._kept_ns = repository.clock()
        self._readings = PackReadings(repository.clock)
        self.known = recall(repository.backend, repository.keys, self._kept_ns)

    def note(self, id_: ObjectId, *, is_damaged: bool, errors: int) -> None:
        """Note that a pack was read; every ten minutes all is put down."""
        self._readings.note(id_, is_damaged=is_damaged)
        self._unkept += 1
        if self._repository.clock() - self._kept_ns > KEEP_EVERY_NS:
            self.keep(errors)

    def note_absent(self, ids: Iterable[ObjectId]) -> None:
        """Have packs that are not there count as damaged; by itself that is not put down."""
        for id_ in ids:
            self._readings.note(id_, is_damaged=True)

    def keep(self, errors: int) -> None:
        """Put down what was read, where any was; what fails becomes the repository's warning."""
        if not self._is_kept or not self._unkept:
            return
        self._unkept = 0
        self._kept_ns = self._repository.clock()
        told = remember(
            self._repository.backend,
            self._repository.keys,
            self._readings,
            self._named(),
            now_ns=self._kept_ns,
            errors=errors,
        )
        # Once, though it may fail every ten minutes.
        warnings = self._repository.warnings
        warnings += [text for text in told if text not in warnings]

    def coverage(self) -> Coverage:
        """Return how far the packs that the index names were read."""
        return coverage(self._readings.merged_into(self.known.rows, self._named()), self._named())

    def _named(self) -> Iterator[ObjectId]:
        return (pack.id for pack in self._repository.cache.packs())
