"""Healing by blobs: where a prune has put them into packs that the copy does not have by name."""

import tempfile
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from snap.backends.base import Backend

from .cache import Cache
from .catalog import Problem, readable_snapshots
from .clock import Clock
from .config import RepositoryConfig
from .copy_needs import CopyIndex
from .crypto import Keys, derive
from .holdings import StoredPacks
from .ids import ObjectId, pack_name
from .keys import KeySlot
from .objects import StoredObject
from .repository import Repository
from .transfer import Transfer
from .whole import whole_snapshots


@dataclass(frozen=True, slots=True)
class Secrets:
    """What both the repository and its copy are opened with."""

    config: RepositoryConfig
    keys: Keys
    slot: KeySlot


@dataclass(slots=True)
class HealedBlobs:
    """What was put.

    Attributes:
        names: Packs and index objects of the copy, put as they are.
        packs: New packs, of blobs whose packs must not come back under their names.
        is_whole: Whether the snapshots now have all that they need.
    """

    names: list[str] = field(default_factory=list)
    packs: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What the damaged place has.

    Attributes:
        there: Its objects that are whole, with their sizes.
        doomed: Packs that a prune may delete.
    """

    there: Mapping[str, int]
    doomed: Set[ObjectId]


def heal_blobs(
    stores: tuple[Backend, Backend],
    secrets: Secrets,
    clock: Clock,
    standing: Standing,
    advance: Callable[[int, str], None],
) -> HealedBlobs:
    """Put what the snapshots of a place need and no whole pack there has.

    ``stores`` are that of the place and that of the copy.

    Raises:
        BackendError: one of the stores failed; what was put stays.
    """
    target, source = stores
    with tempfile.TemporaryDirectory(prefix="snap-cache-") as folder:
        here = _open(target, secrets, Path(folder) / "here.sqlite", clock)
        copy = _open(source, secrets, Path(folder) / "copy.sqlite", clock)
        # The place that is healed may have no `config` yet: the id only names its cache.
        index = CopyIndex(copy, target, replace(secrets.config, instance_id=bytes(16)))
        try:
            for repository in (here, copy):
                repository.load_readable_index()
            index.load()
            return _Healing(here, copy, index, advance).run(standing)
        finally:
            index.close()
            for repository in (here, copy):
                repository.cache.close()


def _open(backend: Backend, secrets: Secrets, path: Path, clock: Clock) -> Repository:
    keys = secrets.keys
    cache = Cache(path, secrets.config.instance_id, derive("cache", keys.metadata_secret))
    return Repository(backend, secrets.config, keys, secrets.slot, cache=cache, clock=clock)


class _Healing:
    def __init__(
        self,
        here: Repository,
        copy: Repository,
        index: CopyIndex,
        advance: Callable[[int, str], None],
    ) -> None:
        self._here = here
        self._copy = copy
        self._index = index
        self._advance = advance
        self._found = HealedBlobs()

    def run(self, standing: Standing) -> HealedBlobs:
        found, there, doomed = self._found, dict(standing.there), standing.doomed
        snapshots, problems = readable_snapshots(self._here)
        before = self._index.named()
        needs = self._index.needs(snapshots, there, doomed)
        self._put(needs.packs)
        if needs.moved:
            moved = self._index.move(needs, self._advance)
            found.packs, found.bytes = moved.packs, found.bytes + moved.written_bytes
        there |= {pack.name: pack.size_bytes for pack in needs.packs if pack.name in found.names}
        names, own = self._index.lacking_index(there, doomed)
        self._put([StoredObject(name, 0) for name in names])
        found.bytes += self._index.put_index(own)
        lost = (self._damaged(there) - (self._index.named() - before)) | doomed
        here = self._here
        whole = whole_snapshots(here, here.backend, here.config, snapshots, without=lost)
        found.is_whole = not problems and len(whole) == len(snapshots)
        return found

    def _damaged(self, there: Mapping[str, int]) -> set[ObjectId]:
        """Return the packs that are there and were not found whole."""
        listed = StoredPacks(self._here.backend).all()
        return {id_ for id_, kind, _ in listed if pack_name(kind, id_) not in there}

    def _put(self, objects: list[StoredObject]) -> None:
        transfer = Transfer(self._copy.backend, self._here.backend, advance=self._advance)
        transfer.run(objects)
        self._found.names += transfer.moved
        self._found.bytes += transfer.bytes
        self._found.problems += transfer.problems
