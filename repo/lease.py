"""Leases: a running operation's sign of life (spec/FORMAT.md §11, design §7)."""

import contextlib
import os
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from snap.backends.base import (
    Backend,
    BackendError,
    ObjectNotFound,
    ObjectStat,
    PermissionDenied,
    StorageFull,
)
from snap.backends.pause import Interrupted
from snap.errors import SnapError

from . import codec
from .clock import MINUTE_NS, Clock
from .codec import DecodeError
from .crypto import Keys
from .envelope import open_object, seal_object
from .ids import ID_BYTES, Kind, ObjectId, id_of_name
from .process import process_exists, process_table

LEASE_PREFIX = "leases/"
RENEW_SECONDS = 180.0
DEAD_AFTER_NS = 30 * MINUTE_NS


class RepositoryLocked(SnapError):
    """Something else uses the repository, or our own lease ran out."""

    exit_code = 11


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lease, and for what."""

    operation: str
    hostname: str
    pid: int


@dataclass(frozen=True, slots=True)
class LeaseState:
    """A lease as found in the store. ``owner`` is None where it cannot be read.

    ``started_ns`` is by the owner's clock, ``renewed_ns`` by the store's. ``processes`` says whose
    process table the owner's number is of, empty where it does not.
    """

    id: ObjectId
    owner: Owner | None
    renewed_ns: int
    started_ns: int = 0
    processes: str = ""

    @property
    def name(self) -> str:
        """Return its object name."""
        return LEASE_PREFIX + self.id.hex()

    @property
    def words(self) -> str:
        """Return who holds it, in words."""
        if self.owner is None:
            return "something whose lease cannot be read"
        return f"{self.owner.operation} on {self.owner.hostname} (process {self.owner.pid})"


class Lease:
    """A lease held by this process; renewed by a thread until the context is left.

    Time is judged by the store's clock only: what counts is the modification time that the store
    gives the object.
    """

    def __init__(self, backend: Backend, keys: Keys, owner: Owner, clock: Clock) -> None:
        self.id = ObjectId(os.urandom(ID_BYTES))
        self._backend = backend
        self._keys = keys
        self._owner = owner
        self._started_ns = clock()
        self._renewals = 0
        self._renewed_ns = 0
        self._ran_out = False
        self._stop = threading.Event()
        self._write_lock = threading.Lock()
        self._thread = threading.Thread(target=self._renew_until_stopped, daemon=True)

    @property
    def name(self) -> str:
        """Return its object name."""
        return LEASE_PREFIX + self.id.hex()

    @property
    def renewed_ns(self) -> int:
        """Return when it was last renewed, by the store's clock."""
        return self._renewed_ns

    def __enter__(self) -> "Lease":
        self._put()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        # If that fails it dies by itself; failing here would hide what the operation achieved.
        with contextlib.suppress(BackendError):
            end_lease(self._backend, self.name)

    def _put(self) -> None:
        with self._write_lock:
            body = {
                "operation": self._owner.operation,
                "hostname": self._owner.hostname,
                "pid": self._owner.pid,
                "started": self._started_ns,
                "renewals": self._renewals,
                "processes": process_table(),
            }
            self._backend.put(self.name, seal_object(self._keys, Kind.LEASE, body, self.id))
            try:
                now_ns = self._stored_ns()
            except ObjectNotFound as error:
                # We slept here, long enough for others to remove it.
                self._ran_out = True
                raise _taken_for_dead() from error
            # Whoever renews after a pause hides it from all others, so it is kept in mind here.
            self._ran_out |= self._renewals > 0 and now_ns - self._renewed_ns > DEAD_AFTER_NS
            self._renewed_ns = now_ns
            self._renewals += 1

    def _stored_ns(self) -> int:
        """Return when the store got it.

        Raises:
            ObjectNotFound: others removed it, or ended it where the store keeps everything.
        """
        stat = self._backend.stat(self.name)
        if _has_ended(stat):
            raise ObjectNotFound(f"{self.name}: was ended")
        return stat.modified_ns

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            try:
                self._renew()
            except (BackendError, RepositoryLocked):
                # Not fatal yet: the next renewal or `confirm` decides.
                continue
            except Interrupted:
                return

    def _renew(self) -> None:
        """Renew, unless others may already have taken us for dead."""
        self._stored_ns()
        self._put()

    def confirm(self) -> None:
        """Make sure, before something is committed, that the lease never ran out.

        Raises:
            RepositoryLocked: it did, or it was removed: others may have worked on the
                assumption that this operation is dead.
        """
        try:
            self._stored_ns()
        except ObjectNotFound as error:
            raise _taken_for_dead() from error
        self._put()
        if self._ran_out:
            raise _taken_for_dead()


@contextlib.contextmanager
def lease_if_allowed(lease: Lease) -> Iterator[Lease | None]:
    """Hold a lease on a store that is only read; none where it is read-only, or full.

    Only for who notices, and tells, what a prune there takes away meanwhile.
    """
    with contextlib.ExitStack() as held:
        entered: Lease | None = None
        with contextlib.suppress(PermissionDenied, StorageFull):
            entered = held.enter_context(lease)
        yield entered


def _taken_for_dead() -> RepositoryLocked:
    return RepositoryLocked(
        "this operation was paused for so long that others took it for dead",
        "run it again; what it stored is reused",
    )


def end_lease(backend: Backend, name: str) -> None:
    """Remove a lease; where the store keeps it, empty it, which says the same.

    Else everybody would have to wait half an hour for what is long done, each time.

    Raises:
        BackendError: it is as before, and dies by itself.
    """
    try:
        backend.delete(name)
    except ObjectNotFound:
        return
    except PermissionDenied:
        backend.put(name, b"")


def _has_ended(stat: ObjectStat) -> bool:
    return stat.size_bytes == 0


def remove_ended(backend: Backend) -> None:
    """Remove leases that the store had to keep when they ended, if it lets them go by now."""
    ended = [stat for stat in backend.list(LEASE_PREFIX) if _has_ended(stat)]
    for stat in sorted(ended, key=lambda stat: stat.modified_ns):
        try:
            backend.delete(stat.name)
        except ObjectNotFound:
            continue
        except PermissionDenied:
            # The others are younger.
            return


def list_leases(backend: Backend, keys: Keys) -> list[LeaseState]:
    """Return all leases that have not ended; one that cannot be read has no owner."""
    states = []
    for stat in backend.list(LEASE_PREFIX):
        id_ = id_of_name(stat.name)
        if id_ is None or _has_ended(stat):
            continue
        try:
            states.append(
                _read_lease(backend, keys, stat.name, LeaseState(id_, None, stat.modified_ns))
            )
        except ObjectNotFound:
            continue
    return states


def _read_lease(backend: Backend, keys: Keys, name: str, state: LeaseState) -> LeaseState:
    try:
        body = open_object(keys, Kind.LEASE, backend.get(name), state.id)
        owner = Owner(
            codec.field(body, "operation", str),
            codec.field(body, "hostname", str),
            codec.field(body, "pid", int),
        )
        started_ns = codec.field(body, "started", int)
        processes = codec.field(body, "processes", str, "")
    except DecodeError:
        return state
    return replace(state, owner=owner, started_ns=started_ns, processes=processes)


def ran_out(state: LeaseState, store_now_ns: int) -> bool:
    """Return whether a lease was not renewed for so long that its owner may not go on."""
    return store_now_ns - state.renewed_ns > DEAD_AFTER_NS


def is_dead(state: LeaseState, store_now_ns: int, hostname: str | None) -> bool:
    """Return whether the owner of a lease seems to be gone.

    On this host, if it is named, the process table tells at once; for others only time does. What
    must be certain asks `ran_out`.
    """
    if ran_out(state, store_now_ns):
        return True
    if state.owner is None or state.owner.hostname != hostname:
        return False
    if state.processes and state.processes != process_table():
        return False
    return not process_exists(state.owner.pid)


def remove_dead(
    backend: Backend, keys: Keys, own: Lease, hostname: str | None, operations: Collection[str]
) -> None:
    """Remove what runs of these kinds that were killed left; without a hostname only time tells.

    For those whose remains tell nobody anything; those of backups do (`adopt_interrupted`).
    """
    store_now_ns = own.renewed_ns
    for state in list_leases(backend, keys):
        is_one = state.owner is not None and state.owner.operation in operations
        if is_one and state.id != own.id and is_dead(state, store_now_ns, hostname):
            with contextlib.suppress(BackendError):
                # Where it stays it is dead all the same.
                end_lease(backend, state.name)
