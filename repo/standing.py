"""How the copies stand: which snapshots each has, and whether that is enough.

Told from listings, so it is quick; that the bytes are what they were, ``check --read-data`` and
``replicate --verify`` say.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby

from snap.backends.base import Backend, BackendError, ObjectNotFound, ShortRead
from snap.errors import IntegrityError, SnapError

from .catalog import snapshot_at
from .codec import DecodeError
from .config import RepositoryNotFound
from .copy import open_copy
from .envelope import open_object
from .holdings import StoredPacks
from .ids import Kind, ObjectId
from .index import PackColumns, split_index
from .objects import get_verified, list_sizes
from .replicate import first_id
from .repository import INDEX_PREFIX, SNAPSHOT_PREFIX, Repository
from .snapshot import Snapshot
from .verified import Coverage, examine_coverage


class CopyState(StrEnum):
    """What can be said of a copy. Only one that is whole counts."""

    WHOLE = "whole"
    INCOMPLETE = "incomplete"
    DAMAGED = "damaged"
    UNREACHABLE = "unreachable"
    MISSING = "missing"
    FOREIGN = "foreign"


_STATES = (
    (RepositoryNotFound, CopyState.MISSING),
    (IntegrityError, CopyState.DAMAGED),
    (BackendError, CopyState.UNREACHABLE),
    (SnapError, CopyState.FOREIGN),
)
"""What each error says of a copy; the first that fits counts."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one place has.

    Attributes:
        first_ids: Of the snapshots that it shows, the ids that they had first.
        extra: Those of them that the repository does not have.
        problem: Why it is not whole, in words.
        verified: How far its packs were read; None where that could not be looked at.
    """

    state: CopyState
    first_ids: frozenset[ObjectId] = frozenset()
    problem: str = ""
    extra: tuple[Snapshot, ...] = ()
    verified: Coverage | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """How many copies a snapshot needs, the repository being one of them."""

    copies: int = 3
    media: int = 2
    offsite: int = 1


@dataclass(frozen=True, slots=True)
class Place:
    """A copy, or the repository itself, with what is known of it."""

    name: str
    media: str
    is_offsite: bool
    standing: Standing

    def holds(self, snapshot: Snapshot) -> bool:
        """Return whether the snapshot can be restored from here, as far as listings tell."""
        standing = self.standing
        return standing.state is CopyState.WHOLE and first_id(snapshot) in standing.first_ids


@dataclass(frozen=True, slots=True)
class Spread:
    """Where a snapshot is."""

    snapshot: Snapshot
    places: tuple[Place, ...]

    @property
    def media(self) -> int:
        """Return on how many media it is."""
        return len({place.media for place in self.places})

    @property
    def offsite(self) -> int:
        """Return how many of its copies are off-site."""
        return sum(place.is_offsite for place in self.places)

    def meets(self, rule: Rule) -> bool:
        """Return whether that is enough."""
        return (
            len(self.places) >= rule.copies
            and self.media >= rule.media
            and self.offsite >= rule.offsite
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all snapshots are where they should be; ``reasons`` why not."""

    spreads: list[Spread]
    reasons: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Return whether the rule is kept."""
        return not self.reasons


def judge(snapshots: Iterable[Snapshot], places: Sequence[Place], rule: Rule) -> Verdict:
    """Return where each snapshot is, and what the rule says of all of them."""
    spreads = [Spread(s, tuple(p for p in places if p.holds(s))) for s in snapshots]
    total = len(spreads)
    offsite = "not off-site" if rule.offsite == 1 else f"off-site fewer than {rule.offsite} times"
    lacks: tuple[tuple[str, Callable[[Spread], bool]], ...] = (
        (f"in fewer than {rule.copies} copies", lambda s: len(s.places) < rule.copies),
        (f"on fewer than {rule.media} media", lambda s: s.media < rule.media),
        (offsite, lambda s: s.offsite < rule.offsite),
    )
    reasons = []
    for words, is_lacking in lacks:
        lacking = sum(map(is_lacking, spreads))
        if lacking:
            verb = "is" if lacking == 1 else "are"
            reasons.append(f"{lacking} of {total} snapshots {verb} {words}")
    return Verdict(spreads, reasons)


def lacks_verification(name: str, verified: Coverage | None, within: str) -> list[str]:
    """Return, where packs of a place are overdue to be read, the reason in words."""
    if verified is None or not verified.overdue:
        return []
    verb = "was" if verified.overdue == 1 else "were"
    return [
        f"{name}: {verified.overdue} of {verified.packs} packs {verb} not read and found whole "
        f"within {within}"
    ]


def examine_verified(repository: Repository, since_ns: int | None = None) -> Coverage:
    """Return how far the repository's own packs were read; its index has to be loaded.

    ``since_ns``: see `examine_coverage`.
    """
    named = (pack.id for pack in repository.cache.packs())
    found, problems = examine_coverage(
        repository.backend,
        repository.keys,
        named,
        now_ns=repository.clock(),
        since_ns=since_ns,
    )
    repository.warnings += problems
    return found


def examine_repository(
    repository: Repository, snapshots: Iterable[Snapshot], since_ns: int | None = None
) -> Standing:
    """Return how the repository itself stands; its index has to be loaded."""
    stored = StoredPacks(repository.backend)
    packs = repository.cache.packs()
    absent = sum(1 for p in packs if stored.size_bytes(p.kind, p.id) != p.size_bytes)
    standing = _standing(map(first_id, snapshots), absent)
    return replace(standing, verified=examine_verified(repository, since_ns))


def examine_copy(
    repository: Repository,
    open_backend: Callable[[], Backend],
    snapshots: Collection[Snapshot],
    since_ns: int | None = None,
) -> Standing:
    """Return how a copy stands; whatever keeps it from being looked at is part of that.

    ``snapshots`` are the repository's, whose index has to be loaded.
    """
    try:
        backend = open_backend()
    except SnapError as error:
        return Standing(CopyState.UNREACHABLE, problem=str(error))
    try:
        open_copy(repository, backend)
        return _examine(repository, backend, snapshots, since_ns)
    except SnapError as error:
        state = next(state for class_, state in _STATES if isinstance(error, class_))
        return Standing(state, problem=str(error))
    finally:
        backend.close()


def _examine(
    repository: Repository,
    backend: Backend,
    snapshots: Collection[Snapshot],
    since_ns: int | None,
) -> Standing:
    known = {SNAPSHOT_PREFIX + s.id.hex(): first_id(s) for s in snapshots}
    listed = list_sizes(backend, SNAPSHOT_PREFIX)
    firsts, extra = [known[name] for name in listed if name in known], []
    for name in listed.keys() - known.keys():
        try:
            extra.append(snapshot_at(repository.keys, backend, name))
        except (ObjectNotFound, ShortRead):
            continue
    firsts += map(first_id, extra)
    index = list_sizes(backend, INDEX_PREFIX)
    own_index = list_sizes(repository.backend, INDEX_PREFIX)
    own = own_index | list_sizes(repository.backend, SNAPSHOT_PREFIX)
    cut = sum(1 for name, size in (listed | index).items() if own.get(name, size) != size)
    stored = StoredPacks(backend)
    absent, only_there = _absent_packs(repository, backend, stored, own_index.keys(), index.keys())
    verified, problems = examine_coverage(
        backend,
        repository.keys,
        _present(repository, stored, only_there),
        now_ns=repository.clock(),
        since_ns=since_ns,
    )
    repository.warnings += [f"{backend.location}: {problem}" for problem in problems]
    standing = _standing(firsts, len(absent), cut)
    return replace(standing, extra=tuple(extra), verified=verified)


def _present(
    repository: Repository, stored: StoredPacks, only_there: Iterable[ObjectId]
) -> Iterator[ObjectId]:
    """Yield the packs that a copy has and that an index object names, ascending."""
    packs = repository.cache.packs()
    here = (p.id for p in packs if stored.size_bytes(p.kind, p.id) is not None)
    return (id_ for id_, _ in groupby(heapq.merge(here, sorted(only_there))))


def _standing(firsts: Iterable[ObjectId], absent: int, cut: int = 0) -> Standing:
    problems = []
    if absent:
        problems.append(f"{absent} of the packs that its index names are missing or cut short")
    if cut:
        problems.append(f"{cut} of its snapshots and index objects are not as long as they were")
    state = CopyState.INCOMPLETE if problems else CopyState.WHOLE
    return Standing(state, frozenset(firsts), "; ".join(problems))


def _absent_packs(
    repository: Repository, backend: Backend, stored: StoredPacks, here: Set[str], there: Set[str]
) -> tuple[set[ObjectId], set[ObjectId]]:
    """Return the packs that a copy's index names and that it does not have in full.

    And those that it has and that only its own index objects name. ``here`` and ``there`` are the
    names of the index objects of the repository and of the copy. Those that they share are known;
    the others are read.
    """
    only_there: set[ObjectId] = set()

    def is_absent(kind: int, id_: ObjectId, size_bytes: int) -> bool:
        return stored.size_bytes(kind, id_) != size_bytes

    packs = repository.cache.packs()
    absent = {p.id for p in packs if is_absent(p.kind, p.id, p.size_bytes)}
    if absent:
        # What the copy's index does not name yet is for the next `replicate`.
        for name in here - there:
            absent.difference_update(p.id for p in _packs_of(repository, repository.backend, name))
    for name in there - here:
        for pack in _packs_of(repository, backend, name):
            if is_absent(pack.kind, pack.id, pack.size_bytes):
                absent.add(pack.id)
            else:
                only_there.add(pack.id)
    return absent, only_there


def _packs_of(repository: Repository, backend: Backend, name: str) -> list[PackColumns]:
    try:
        return split_index(open_object(repository.keys, Kind.INDEX, get_verified(backend, name)))
    except ObjectNotFound:
        return []
    except ShortRead as error:
        raise IntegrityError(str(error)) from error
    except DecodeError as error:
        raise IntegrityError(f"{name}: damaged: {error}") from error
