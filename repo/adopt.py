"""Making use of what interrupted backups left: packs that no index object names.

A backup that was killed leaves its lease behind. Only then are the packs listed; those without an
index entry are complete objects (put is all or nothing), so their directories are read and
indexed, and the next backup finds their blobs.
"""

import contextlib

from snap.backends.base import BackendError, ObjectNotFound
from snap.errors import IntegrityError

from .codec import DecodeError
from .ids import id_of_name
from .lease import Lease, end_lease, is_dead, list_leases
from .pack import DATA_PACK, META_PACK, PackSummary, read_directory
from .repository import Repository


def adopt_interrupted(repository: Repository, hostname: str, own: Lease) -> int:
    """Index the packs that dead backups left; return how many. Their leases are removed."""
    store_now_ns = own.renewed_ns
    dead = [
        state
        for state in list_leases(repository.backend, repository.keys)
        if state.id != own.id and is_dead(state, store_now_ns, hostname)
    ]
    if not dead:
        return 0
    adopted = index_orphans(repository)
    for state in dead:
        # If that fails it is dead all the same.
        with contextlib.suppress(BackendError):
            end_lease(repository.backend, state.name)
    return adopted


def index_orphans(repository: Repository) -> int:
    """Write one index object for all packs that no index names and that open; return how many."""
    adopted = []
    for kind, prefix in ((DATA_PACK, "data/"), (META_PACK, "meta/")):
        for stat in repository.backend.list(prefix):
            id_ = id_of_name(stat.name)
            if id_ is None or repository.holdings.is_doomed(id_):
                continue
            if repository.cache.pack(id_) is not None:
                continue
            summary = _read_summary(repository, stat.name, kind, stat.size_bytes)
            if summary is not None:
                adopted.append(summary)
    if adopted:
        repository.store_index(adopted)
    return len(adopted)


def _read_summary(
    repository: Repository, name: str, kind: int, size_bytes: int
) -> PackSummary | None:
    id_ = id_of_name(name)
    try:
        stored = repository.get_object(name)
        header, entries = read_directory(
            repository.keys, size_bytes, lambda offset, length: stored[offset : offset + length]
        )
    except (DecodeError, IntegrityError, ObjectNotFound):
        # Damaged or gone: nothing needs it, `check` will name it.
        return None
    if id_ is None or header.kind != kind:
        return None
    return PackSummary(id_, kind, size_bytes, len(header.table), entries)
