"""A repository that is open: objects by name, blobs by id.

It knows the format's objects and how to open them; what is done with them (backup, restore, check)
lives in the engines beside it.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from snap.backends.base import Backend, BackendError, ObjectExists, ObjectNotFound, PermissionDenied
from snap.errors import IntegrityError, SnapError, UsageError

from . import keys as key_slots
from .blobs import BlobReader, Elsewhere
from .cache import Cache
from .clock import Clock, system_clock
from .codec import DecodeError
from .config import (
    CONFIG_NAME,
    Parameters,
    RepositoryConfig,
    RepositoryNotFound,
    StoreRecord,
    check_config,
    decode_config,
    put_config,
)
from .crypto import KEY_BYTES, DataPrivateKey, Keys, derive
from .envelope import open_object, seal_object
from .holdings import Holdings
from .ids import BlobId, Kind, ObjectId, id_of_name, object_id
from .index import PackColumns, join_columns, split_index
from .keys import Capability, FullKeyRequired, KdfCost, KeySlot, SlotRequest
from .objects import get_verified
from .pack import PackSummary
from .readme import README_TEXT
from .slots import KEY_PREFIX, open_any_slot, sealed_slots, store_slot

INDEX_PREFIX = "index/"
SNAPSHOT_PREFIX = "snapshots/"
_CACHE_REBUILT = "the local cache was damaged or outdated and is built anew"
_LOAD_BLOBS = 500_000
"""Blobs of index objects that go into the cache together: 52 bytes each in memory."""


class ObjectsElsewhere(Elsewhere, Protocol):
    """Where objects are looked for that a repository does not have whole."""

    def get_object(self, name: str) -> bytes | None:
        """Return an object, compared with its name; None where it is not there either."""
        ...


class RepositoryRemains(SnapError):
    """Here are objects of a repository whose ``config`` is gone."""


class Repository:
    """An open repository under one capability.

    Attributes:
        backend: The store that holds it.
        config: What it says of itself.
        keys: All that this capability can derive.
        slot: The key slot that opened it.
        cache: Blob locations, synchronised by `load_index`.
        blobs: Reads blobs by id.
        holdings: Says which blobs the store really has.
        warnings: What the user should know, once.
        kept: Key slots that were removed and that the store keeps for now: they still open it.
    """

    def __init__(
        self,
        backend: Backend,
        config: RepositoryConfig,
        keys: Keys,
        slot: KeySlot,
        *,
        cache: Cache,
        clock: Clock,
    ) -> None:
        self.backend = backend
        self.config = config
        self.keys = keys
        self.slot = slot
        self.cache = cache
        self.clock = clock
        self.warnings: list[str] = []
        self.kept: list[ObjectId] = []
        self._index_warnings: set[str] = set()
        self.blobs = BlobReader(backend, keys, cache, self.load_readable_index)
        self.holdings = Holdings(backend, cache, self._warn)
        cache.set_reload(self._reload_cache)
        self._fallback: ObjectsElsewhere | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "Repository":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the cache and the store's connections."""
        self.cache.close()
        self.backend.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    def set_fallback(self, fallback: "ObjectsElsewhere | None") -> None:
        """Say where objects and blobs are looked for that this store does not have whole."""
        self._fallback = fallback
        self.blobs.set_elsewhere(fallback)

    @property
    def capability(self) -> Capability:
        """Return what the key in use can do."""
        return Capability.FULL if self.keys.private is not None else Capability.WRITER

    def require_full(self, what: str) -> None:
        """Refuse early what a writer key cannot do.

        Raises:
            FullKeyRequired: the key in use is a writer's.
        """
        if self.capability is not Capability.FULL:
            raise FullKeyRequired(
                f"a writer key cannot {what}: it stores and lists, and reads no file content",
                "use the passphrase of a full key, or the recovery key",
            )

    # Objects

    def get_object(self, name: str) -> bytes:
        """Return a content-addressed object, checked against its name.

        Raises:
            IntegrityError: its bytes do not have the hash that its name says.
            ObjectNotFound: there is none.
        """
        try:
            return get_verified(self.backend, name)
        except (IntegrityError, BackendError):
            stored = self._fallback.get_object(name) if self._fallback is not None else None
            if stored is None:
                raise
            return stored

    def put_object(self, prefix: str, kind: Kind, body: dict[str, object]) -> ObjectId:
        """Seal and store an object; durable on return."""
        stored = seal_object(self.keys, kind, body)
        id_ = object_id(stored)
        self.backend.put(prefix + id_.hex(), stored)
        return id_

    def open_named(self, name: str, kind: Kind) -> dict[str, object]:
        """Return the body of a sealed object.

        Raises:
            IntegrityError: damaged, or not of this kind.
            ObjectNotFound: there is none.
        """
        try:
            return open_object(self.keys, kind, self.get_object(name))
        except DecodeError as error:
            raise IntegrityError(f"{name}: damaged: {error}") from error

    def names(self, prefix: str) -> list[str]:
        """Return the names of the content-addressed objects under ``prefix``, sorted."""
        listed = (stat.name for stat in self.backend.list(prefix))
        return sorted(name for name in listed if id_of_name(name) is not None)

    # Index

    def load_index(self) -> None:
        """Bring the cache up to what the index objects in the store say.

        Raises:
            IntegrityError: an index object is damaged; the others are loaded.
        """
        problems = self.load_readable_index()
        if problems:
            raise problems[0]

    def load_readable_index(self) -> list[IntegrityError]:
        """Load all index objects that can be read; return a problem for each that cannot.

        For what only reads: most of what is stored can be had without the damaged one. Each
        problem also becomes a warning, once.
        """
        problems = []
        listed = {ObjectId(bytes.fromhex(name[-64:])): name for name in self.names(INDEX_PREFIX)}
        known = self.cache.index_ids()
        waiting: list[tuple[ObjectId, list[PackColumns]]] = []
        for id_ in listed.keys() - known:
            try:
                packs = self.read_index(listed[id_])
            except ObjectNotFound:
                continue
            except IntegrityError as error:
                problems.append(error)
                continue
            waiting.append((id_, packs))
            if sum(pack.count for _, packs in waiting for pack in packs) >= _LOAD_BLOBS:
                self.cache.add_indexes(waiting)
                waiting = []
        self.cache.add_indexes(waiting)
        self.holdings.forget()
        gone = known - listed.keys()
        if gone:
            self.cache.drop_indexes(gone)
        new = [str(problem) for problem in problems if str(problem) not in self._index_warnings]
        self.warnings += new
        self._index_warnings.update(new)
        return problems

    def _warn(self, message: str) -> None:
        self.warnings.append(message)

    def _reload_cache(self) -> None:
        if _CACHE_REBUILT not in self.warnings:
            self._warn(_CACHE_REBUILT)
        self.load_readable_index()

    def read_index(self, name: str) -> list[PackColumns]:
        """Return what one index object says.

        Raises:
            IntegrityError: it is damaged.
        """
        try:
            return split_index(self.open_named(name, Kind.INDEX))
        except DecodeError as error:
            raise IntegrityError(f"{name}: damaged: {error}") from error

    def store_index(self, packs: list[PackSummary]) -> ObjectId:
        """Store one index object that names ``packs``, and load it."""
        return self.store_columns([PackColumns.of(pack) for pack in packs])

    def store_columns(self, packs: list[PackColumns]) -> ObjectId:
        """Do the same with packs in the form of the index, a seventh of the size in memory."""
        id_ = self.put_object(INDEX_PREFIX, Kind.INDEX, join_columns(packs))
        self.cache.add_index(id_, packs)
        self.holdings.add(pack.id for pack in packs)
        return id_

    def forget_content(self) -> None:
        """Read trees and packs from the store again, whatever was kept of them."""
        self.cache.forget_metadata()
        self.blobs.forget()

    def load_blob(self, id_: BlobId, kind: Kind) -> bytes:
        """Return a blob's plaintext; see `BlobReader.read`."""
        return self.blobs.read(id_, kind)

    # Key slots

    def key_slots(self) -> list[KeySlot]:
        """Return all key slots, oldest first.

        Raises:
            IntegrityError: one cannot be read.
        """
        slots = [sealed.slot for sealed in sealed_slots(self.backend)]
        return sorted(slots, key=lambda slot: (slot.created_ns, slot.id))

    def add_passphrase_slot(
        self, passphrase: str, *, capability: Capability, label: str, cost: KdfCost
    ) -> KeySlot:
        """Add a key slot; durable on return."""
        request = SlotRequest(capability, label, self.clock())
        stored = key_slots.seal_with_passphrase(self.keys, request, passphrase, cost)
        return store_slot(self.backend, stored)

    def add_recovery_slot(self, *, label: str) -> tuple[KeySlot, str]:
        """Add a key slot for a new recovery key; return it with the key as text."""
        request = SlotRequest(Capability.FULL, label, self.clock())
        stored, text = key_slots.seal_with_recovery_key(self.keys, request)
        return store_slot(self.backend, stored), text

    def remove_slot(self, slot_id_prefix: str) -> KeySlot:
        """Remove a key slot; one that the store does not let go yet joins `kept`.

        Raises:
            UsageError: no slot, or several, begin so; or it is the last full one, without
                which nobody could restore.
        """
        slots = self.key_slots()
        found = [slot for slot in slots if slot.id.hex().startswith(slot_id_prefix.lower())]
        if len(found) != 1:
            problem = "several key slots begin" if found else "no key slot begins"
            raise UsageError(f"{problem} with {slot_id_prefix!r}", "see 'snap key list'")
        slot = found[0]
        others = [s for s in slots if s.id != slot.id and s.capability is Capability.FULL]
        if slot.capability is Capability.FULL and not others:
            raise UsageError(
                "this is the last full key: without it nothing can ever be restored",
                "add another full key first with 'snap key add'",
            )
        self._delete_slot(slot)
        return slot

    def _delete_slot(self, slot: KeySlot) -> None:
        try:
            self.backend.delete(KEY_PREFIX + slot.id.hex())
        except PermissionDenied as error:
            self.kept.append(slot.id)
            self._warn(f"the key is not removed yet and still opens the repository: {error}")
        else:
            if self.backend.keeps_deleted:
                self._warn(
                    "the store keeps the removed key as an old version: for who may read those it "
                    "still opens the repository, until a lifecycle rule removes them"
                )

    def change_passphrase(self, passphrase: str, *, cost: KdfCost) -> KeySlot:
        """Replace the slot in use by one with another passphrase; the new one is stored first."""
        old = self.slot
        if old.kind != "passphrase":
            raise UsageError(
                "the repository was opened with a recovery key, which has no passphrase",
                "add a passphrase with 'snap key add', then remove the lost one's slot",
            )
        self.slot = self.add_passphrase_slot(
            passphrase, capability=old.capability, label=old.label, cost=cost
        )
        self._delete_slot(old)
        return self.slot


def create_repository(  # noqa: PLR0913 - named, and each with its usual value
    backend: Backend,
    passphrase: str,
    *,
    label: str,
    cost: KdfCost,
    clock: Clock = system_clock,
    parameters: Parameters | None = None,
    store: StoreRecord | None = None,
) -> tuple[RepositoryConfig, str]:
    """Make a new repository; return its configuration and the recovery key as text.

    ``config`` is written last and exclusively: until then there is no repository, and of two that
    are made at once in one place, one wins and the other fails. ``store`` is what the place was
    found to lack, which is recorded.

    Raises:
        UsageError: there is a repository already, or the passphrase is empty.
    """
    refuse_existing(backend)
    private = DataPrivateKey.generate()
    config = RepositoryConfig(
        repository_id=os.urandom(16),
        instance_id=os.urandom(16),
        created_ns=clock(),
        parameters=parameters or Parameters.for_requests(backend.parallel_requests),
        store=store,
    )
    keys = Keys(config.repository_id, os.urandom(KEY_BYTES), private.public(), private)
    request = SlotRequest(Capability.FULL, label, config.created_ns)
    passphrase_slot = key_slots.seal_with_passphrase(keys, request, passphrase, cost)
    recovery_slot, recovery_text = key_slots.seal_with_recovery_key(
        keys, replace(request, label="recovery key")
    )
    backend.put("README", README_TEXT.encode())
    stored = [store_slot(backend, slot) for slot in (passphrase_slot, recovery_slot)]
    try:
        put_config(backend, config.encode(keys.config_key), store)
    except ObjectExists:
        for slot in stored:
            # Where a slot of the one that lost has to stay, it opens nothing.
            with contextlib.suppress(BackendError):
                backend.delete(KEY_PREFIX + slot.id.hex())
        refuse_existing(backend)
        raise
    return config, recovery_text


def refuse_existing(backend: Backend) -> None:
    """Refuse a place where a repository is, or was.

    Raises:
        UsageError: there is one.
        SnapError: it has lost its ``config``.
    """
    try:
        backend.stat(CONFIG_NAME)
    except ObjectNotFound:
        pass
    else:
        raise UsageError(
            f"there is a repository already at {backend.location}",
            "choose another place; 'snap snapshots' shows what this one holds",
        )
    refuse_remains(backend)


def refuse_remains(backend: Backend) -> None:
    """Refuse a place that has the objects of a repository and no ``config``.

    Raises:
        RepositoryRemains: it is such a place.
    """
    if any(True for _ in backend.list(SNAPSHOT_PREFIX)) or any(
        True for _ in backend.list(INDEX_PREFIX)
    ):
        raise RepositoryRemains(
            f"{backend.location} holds the remains of a repository that has lost its 'config'",
            "restore it with 'snap repair --from COPY', or choose another place",
        )


def open_repository(
    backend: Backend,
    credential: str | Callable[[], str],
    *,
    cache_dir: Path | None,
    clock: Clock = system_clock,
) -> Repository:
    """Open a repository with a passphrase or a recovery key, or what is called to ask for one.

    It is asked for once there is a repository. ``cache_dir`` is the folder for cache files; None
    keeps the cache in a temporary folder.

    Raises:
        RepositoryNotFound: there is none here.
        FormatTooNew: it was written by a later version.
        WrongPassword: the credential opens no key slot.
        IntegrityError: what is needed to open it is damaged.
    """
    warnings: list[str] = []
    config, keys, slot = unlock(backend, credential, warnings)
    scratch = None
    if cache_dir is None:
        scratch = tempfile.TemporaryDirectory(prefix="snap-cache-")
        cache_dir = Path(scratch.name)
    cache = Cache(
        cache_dir / f"{config.instance_id.hex()}.sqlite",
        config.instance_id,
        derive("cache", keys.metadata_secret),
    )
    repository = Repository(backend, config, keys, slot, cache=cache, clock=clock)
    repository.warnings += warnings
    repository._scratch = scratch
    if cache.rebuilt:
        repository.warnings.append(_CACHE_REBUILT)
    return repository


def unlock(
    backend: Backend, credential: str | Callable[[], str], warnings: list[str]
) -> tuple[RepositoryConfig, Keys, KeySlot]:
    """Return what opens a repository; raises as `open_repository`, which does the rest."""
    try:
        stored_config = backend.get(CONFIG_NAME)
    except ObjectNotFound as error:
        raise RepositoryNotFound(
            f"no repository at {backend.location}",
            "check the place, or make a repository there with 'snap init'",
        ) from error
    config = decode_config(stored_config)
    if not isinstance(credential, str):
        credential = credential()
    keys, slot = open_any_slot(backend, credential, config.repository_id, warnings)
    check_config(stored_config, keys.config_key)
    return config, keys, slot
