"""Changing the tags of a snapshot, which stores it anew."""

from collections.abc import Collection
from dataclasses import replace

from snap.backends.base import BackendError, ObjectNotFound
from snap.errors import UsageError

from .catalog import SnapshotNotFound
from .commit import make_sure_of
from .ids import Kind
from .lease import Lease
from .repository import SNAPSHOT_PREFIX, Repository
from .snapshot import Snapshot, encode_snapshot


def retag(
    repository: Repository,
    snapshot: Snapshot,
    lease: Lease,
    *,
    add: Collection[str] = (),
    remove: Collection[str] = (),
    replace_all: Collection[str] | None = None,
) -> Snapshot:
    """Store the snapshot with other tags, then remove the former object.

    The former object is looked for again once the new one is there: as it was there until then,
    every listing shows one of the two. Dying in between leaves both; the higher revision counts.

    Raises:
        RepositoryLocked: the lease ran out; nothing was changed.
        SnapshotNotFound: the snapshot was forgotten meanwhile; nothing was changed.
    """
    tags = set(snapshot.tags if replace_all is None else replace_all)
    tags = (tags | set(add)) - set(remove)
    if any(not tag or tag != tag.strip() or "," in tag for tag in tags):
        raise UsageError("a tag is empty, has a comma, or begins or ends with a space")
    if tags == set(snapshot.tags):
        return snapshot
    changed = replace(
        snapshot,
        tags=tuple(sorted(tags)),
        original=snapshot.original or snapshot.id,
        revision=snapshot.revision + 1,
    )
    lease.confirm()
    id_ = repository.put_object(SNAPSHOT_PREFIX, Kind.SNAPSHOT, encode_snapshot(changed))
    try:
        repository.backend.stat(SNAPSHOT_PREFIX + snapshot.id.hex())
    except ObjectNotFound as error:
        # What it needs may be about to be deleted.
        repository.backend.delete(SNAPSHOT_PREFIX + id_.hex())
        raise SnapshotNotFound(
            f"snapshot {snapshot.short_id} was forgotten meanwhile, or its tags were changed",
            "see 'snap snapshots'",
        ) from error
    make_sure_of(repository, changed.with_id(id_), lease)
    try:
        repository.backend.delete(SNAPSHOT_PREFIX + snapshot.id.hex())
    except BackendError as error:
        repository.warnings.append(f"the former revision of the snapshot stays: {error}")
    return changed.with_id(id_)
