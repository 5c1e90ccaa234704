"""Opening the repository that the settings mean, and choosing snapshots in it."""

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from snap.backends.base import Backend, BackendError, ObjectNotFound
from snap.backends.location import open_backend
from snap.errors import IntegrityError, SnapError, UsageError
from snap.repo.catalog import (
    FUTURE_NS,
    Problem,
    SnapshotNotFound,
    is_regular,
    readable_snapshots,
    select_snapshot,
)
from snap.repo.config import CONFIG_NAME, RepositoryNotFound
from snap.repo.fallback import Fallback, OtherCopy
from snap.repo.lease import Lease, Owner
from snap.repo.repository import (
    SNAPSHOT_PREFIX,
    Repository,
    RepositoryRemains,
    open_repository,
    refuse_remains,
)
from snap.repo.snapshot import FAILED, QUARANTINED, Snapshot

from .copies import CopyPlace
from .memory import collect_rarely, limit_heap
from .output import print_warning
from .password import read_password
from .settings import Settings
from .times import LOCAL_ZONE, local_time

# A time has colons of its own: its longest form is tried before the colon that ends it.
_SELECTOR = re.compile(
    r"(?P<selector>@\d{4}-\d\d-\d\d"
    r"(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?"
    r"|[^:]*)"
    r"(?::(?P<path>.*))?",
    re.DOTALL,
)


def location_of(settings: Settings) -> str:
    """Return where the repository is.

    Raises:
        UsageError: nothing says it.
    """
    if settings.repository is None:
        raise UsageError("no repository given", "give one with --repo LOCATION or SNAP_REPOSITORY")
    return settings.repository


@contextmanager
def open_session(settings: Settings, copies: Sequence[CopyPlace] = ()) -> Iterator[Repository]:
    """Open the repository; its warnings are printed when it is opened and when it is closed.

    What it does not have whole is taken from ``copies``. Where it cannot be opened at all, the
    first of them that can is taken for it.

    Raises:
        RepositoryNotFound: there is none; said before a password is asked for.
        SnapError: whatever else keeps it from being opened.
    """
    limit_heap()
    others = list(copies)
    try:
        repository = _open(settings, location_of(settings))
    except (BackendError, RepositoryNotFound, IntegrityError) as error:
        repository = _open_first(settings, others, error)
    with repository:
        collect_rarely()
        _print_warnings(repository, settings)
        try:
            with Fallback(repository, other_copies(others, settings)):
                yield repository
        finally:
            _print_warnings(repository, settings)


def open_store(settings: Settings, location: str, *, limited: bool = True) -> Backend:
    """Open a place, and tell while it does not answer; ``limited`` as the line is to be.

    Raises:
        UsageError, BackendError: as `open_backend`.
    """

    def tell(error: BackendError) -> None:
        if not settings.quiet:
            print_warning(f"{error}; trying again", as_json=settings.json)

    return open_backend(location, settings.limits if limited else None, tell=tell)


def _open(settings: Settings, location: str) -> Repository:
    with ExitStack() as opened:
        backend = open_store(settings, location)
        opened.callback(backend.close)
        password = partial(read_password, settings)
        try:
            repository = open_repository(backend, password, cache_dir=settings.cache_dir)
        except RepositoryNotFound as error:
            raise _not_found(backend) from error
        opened.pop_all()
    return repository


def _open_first(settings: Settings, others: list[CopyPlace], error: SnapError) -> Repository:
    """Open the first copy that can be opened, and take it out of the list.

    Raises:
        SnapError: ``error``, where none can.
    """
    while others:
        place = others.pop(0)
        try:
            repository = _open(settings, place.location)
        except SnapError as failure:
            print_warning(f"copy {place.name} cannot help: {failure}", as_json=settings.json)
            continue
        print_warning(f"{error}: reading from copy {place.name} instead", as_json=settings.json)
        return repository
    raise error


def lease_for(repository: Repository, operation: str) -> Lease:
    """Return a lease for this process, to be entered before anything is read that it changes."""
    owner = Owner(operation, socket.gethostname(), os.getpid())
    return Lease(repository.backend, repository.keys, owner, repository.clock)


def other_copies(places: Sequence[CopyPlace], settings: Settings) -> list[OtherCopy]:
    """Return copies as those that are opened when they are needed."""
    return [
        OtherCopy(place.name, partial(open_store, settings, place.location)) for place in places
    ]


def require_repository(backend: Backend) -> None:
    """Refuse a place without a repository.

    Raises:
        RepositoryNotFound: there is none.
    """
    try:
        backend.stat(CONFIG_NAME)
    except ObjectNotFound as error:
        raise _not_found(backend) from error


def _not_found(backend: Backend) -> RepositoryNotFound:
    with suppress(BackendError):
        try:
            refuse_remains(backend)
        except RepositoryRemains as remains:
            return RepositoryNotFound(str(remains), remains.hint)
    return RepositoryNotFound(
        f"no repository at {backend.location}",
        "check the place, or make a repository there with 'snap init'",
    )


def _print_warnings(repository: Repository, settings: Settings) -> None:
    for message in repository.warnings:
        print_warning(message, as_json=settings.json)
    repository.warnings.clear()


def usable_snapshots(repository: Repository, settings: Settings) -> list[Snapshot]:
    """Return the snapshots by time; of each that cannot be read there is a warning."""
    snapshots, problems = readable_snapshots(repository)
    _warn_of(problems, settings)
    return snapshots


def _warn_of(problems: Sequence[Problem], settings: Settings) -> None:
    for problem in problems:
        print_warning(words_of(problem), as_json=settings.json)


def words_of(problem: Problem) -> str:
    """Return a problem as one line."""
    return f"{problem.object}: {problem.problem}"


def find_snapshot(
    repository: Repository, settings: Settings, selector: str, path: str = ""
) -> Snapshot:
    """Return the snapshot that the user means.

    With a ``path``, ``latest`` means the last one that has its component: on the worst day, the
    last backup of what is wanted back may well have failed.

    Raises:
        IntegrityError: the id is that of a damaged one.
        SnapError: none, or several.
    """
    snapshots, problems = readable_snapshots(repository)
    _warn_of(problems, settings)
    name = path.partition("/")[0]
    if name and selector.startswith("latest"):
        regular = [s for s in snapshots if is_regular(s)]
        usable = [s for s in regular if _has(s, name)]
        if usable and usable[-1] is not regular[-1] and selector == "latest":
            print_warning(
                f"{name} is not in snapshot {regular[-1].short_id}, the last one: "
                f"{usable[-1].short_id} is the last that has it",
                as_json=settings.json,
            )
        snapshots = [s for s in snapshots if _has(s, name)] or snapshots
    try:
        found = select_snapshot(snapshots, selector, LOCAL_ZONE)
    except SnapshotNotFound:
        meant = f"{SNAPSHOT_PREFIX}{selector.lower()}"
        damaged = [p for p in problems if selector and p.object.startswith(meant)]
        if not damaged:
            raise
        raise IntegrityError(words_of(damaged[0])) from None
    _mention_newer(snapshots, found, selector, settings)
    if selector.startswith("latest") and found.time_ns > repository.clock() + FUTURE_NS:
        print_warning(
            f"snapshot {found.short_id} says it is of {local_time(found.time_ns)}, which is still "
            "to come: a clock was wrong, or it does not tell the truth; name another by its id",
            as_json=settings.json,
        )
    return found


def _has(snapshot: Snapshot, name: str) -> bool:
    component = snapshot.component(name)
    return component is not None and component.status != FAILED


def _mention_newer(
    snapshots: Sequence[Snapshot], found: Snapshot, selector: str, settings: Settings
) -> None:
    """Say which newer snapshot was passed over because it is in quarantine."""
    newer = [
        s
        for s in snapshots
        if s.time_ns > found.time_ns and s.service == found.service and s.status == QUARANTINED
    ]
    if newer and selector == "latest":
        print_warning(
            f"snapshot {newer[-1].short_id} is newer and in quarantine; this is the last good one, "
            f"{found.short_id}",
            as_json=settings.json,
        )


def split_selector(text: str) -> tuple[str, str]:
    """Split ``SNAP[:COMPONENT[/PATH]]`` into the snapshot's selector and the rest."""
    match = _SELECTOR.fullmatch(text)
    if match is None or not match["selector"]:
        raise UsageError(
            f"no snapshot in {text!r}", "write SNAP:COMPONENT/PATH; SNAP is an id or 'latest'"
        )
    return match["selector"], (match["path"] or "").strip("/")


def filter_snapshots(
    snapshots: Sequence[Snapshot], *, service: str | None, host: str | None, tags: Sequence[str]
) -> list[Snapshot]:
    """Return those that have the service, the host and all of the tags."""
    return [
        s
        for s in snapshots
        if (service is None or s.service == service)
        and (host is None or s.hostname == host)
        and set(tags) <= set(s.tags)
    ]
