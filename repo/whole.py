"""Which snapshots a copy could restore: of those that it does not show yet."""

import tempfile
from collections.abc import Sequence, Set
from pathlib import Path

from snap.backends.base import Backend, ObjectNotFound, ShortRead
from snap.errors import IntegrityError, SnapError

from .cache import Cache
from .config import RepositoryConfig
from .crypto import derive
from .holdings import StoredPacks
from .ids import ObjectId
from .live import LiveBlobs
from .repository import INDEX_PREFIX, Repository
from .snapshot import Snapshot


def whole_snapshots(
    repository: Repository,
    backend: Backend,
    config: RepositoryConfig,
    snapshots: Sequence[Snapshot],
    *,
    without: Set[ObjectId] = frozenset(),
) -> list[Snapshot]:
    """Return those of which ``backend`` has every blob in a pack that is as long as it should be.

    Packs in ``without`` count as not there. Their trees are read from there. Takes as long as
    `check` for each of them, so it is asked only where something is known to be missing.

    Raises:
        BackendError: the store failed.
    """
    keys = repository.keys
    with tempfile.TemporaryDirectory(prefix="snap-cache-") as folder:
        cache = Cache(
            Path(folder) / "cache.sqlite", config.instance_id, derive("cache", keys.metadata_secret)
        )
        try:
            copy = Repository(
                backend, config, keys, repository.slot, cache=cache, clock=repository.clock
            )
            _load_present(copy, without)
            return [s for s in snapshots if _is_whole(copy, s)]
        finally:
            cache.close()


def _load_present(copy: Repository, without: Set[ObjectId]) -> None:
    """Load what the index objects say of packs that are there."""
    stored = StoredPacks(copy.backend)
    for name in copy.names(INDEX_PREFIX):
        try:
            packs = copy.read_index(name)
        except (IntegrityError, ObjectNotFound, ShortRead):
            # What only this one names counts as missing.
            packs = []
        present = [
            p
            for p in packs
            if stored.size_bytes(p.kind, p.id) == p.size_bytes and p.id not in without
        ]
        copy.cache.add_index(ObjectId(bytes.fromhex(name[-64:])), present)


def _is_whole(copy: Repository, snapshot: Snapshot) -> bool:
    missing: list[str] = []

    def report(where: str, error: SnapError) -> None:
        missing.append(f"{where}: {error}")

    # Each anew: what two share is followed once only, and would be missed in the second.
    live = LiveBlobs(copy, report)
    for component in snapshot.components:
        if component.subtree is not None:
            live.follow(component.name, component.subtree)
    return not missing
