"""What a backup does at its beginning and its end so that no prune can take away what it uses.

Why each is needed: spec/DESIGN.md, the prune protocol.
"""

from snap.backends.base import Backend, BackendError

from .catalog import Problem
from .crypto import Keys
from .doomed import list_doomed
from .ids import ObjectId
from .lease import Lease, RepositoryLocked, list_leases, ran_out
from .repository import SNAPSHOT_PREFIX, Repository
from .snapshot import Snapshot
from .whole import whole_snapshots

PRUNE = "prune"
"""The operation of a prune's lease."""


def avoid_doomed(repository: Repository, lease: Lease) -> None:
    """Take the packs that are to be deleted as not held, for the rest of this run.

    Called when the own lease can be seen already, and before the index is loaded.

    Raises:
        RepositoryLocked: what is to be deleted cannot be read, and a prune that may know is at
            work.
    """
    doomed, warnings = read_doomed(repository.backend, repository.keys, lease)
    repository.holdings.set_doomed(doomed)
    repository.warnings += warnings


def read_doomed(
    backend: Backend, keys: Keys, lease: Lease
) -> tuple[frozenset[ObjectId], list[str]]:
    """Return the packs that are to be deleted, and warnings of what cannot be read of that.

    Raises:
        RepositoryLocked: as `avoid_doomed`.
    """
    doomed = list_doomed(backend, keys)
    for problem in doomed.problems:
        # Only a prune that read it before it was damaged can still go by it.
        if is_pruned(backend, keys, lease):
            raise RepositoryLocked(
                f"{problem.object}: {problem.problem}, and a prune is at work that may go by it",
                "run it again when the prune has ended; 'snap repair' sets it aside",
            )
    return doomed.pack_ids(), [doomed_warning(problem) for problem in doomed.problems]


def doomed_warning(problem: Problem) -> str:
    """Return what it means for a run that a doomed object cannot be read."""
    return (
        f"{problem.object}: {problem.problem}: what it named counts as held; "
        "'snap repair' sets it aside"
    )


def is_pruned(backend: Backend, keys: Keys, own: Lease) -> bool:
    """Return whether a prune is at work."""
    return any(
        state.owner is not None
        and state.owner.operation == PRUNE
        and state.id != own.id
        and not ran_out(state, own.renewed_ns)
        for state in list_leases(backend, keys)
    )


def make_sure_of(repository: Repository, snapshot: Snapshot, lease: Lease) -> None:
    """Make sure, after a snapshot was stored, that others did not take us for dead before that.

    If they may have, what it needs is looked for; if something is gone, so is the snapshot.

    Raises:
        RepositoryLocked: something was deleted; there is no snapshot.
    """
    try:
        lease.confirm()
    except RepositoryLocked as error:
        # In this order: a pack that goes while we look is named as doomed until it is gone.
        doomed = list_doomed(repository.backend, repository.keys).pack_ids()
        whole = whole_snapshots(
            repository, repository.backend, repository.config, [snapshot], without=doomed
        )
        if whole:
            repository.warnings.append(
                "this backup was paused for so long that others took it for dead; all that it "
                "needs is there"
            )
            return
        repository.backend.delete(SNAPSHOT_PREFIX + snapshot.id.hex())
        raise RepositoryLocked(
            "this backup was paused for so long that others took it for dead, and some of what it "
            "used is gone: its snapshot was removed again",
            "run it again; what it stored is reused",
        ) from error
    except BackendError as error:
        repository.warnings.append(f"the lease could not be looked at after the backup: {error}")
