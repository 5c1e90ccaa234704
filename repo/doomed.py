"""Doomed objects: which packs no snapshot needed, and since when (spec/FORMAT.md §12.1).

A pack named here counts as not held for everything that begins from now on, so that after the
operations that were there before have ended, nothing can come to need it unseen. It never becomes
held again: what is needed of it after all is moved into a new pack.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from snap.backends.base import Backend, BackendError, ObjectNotFound, ShortRead
from snap.errors import IntegrityError

from . import codec
from .catalog import Problem
from .codec import DecodeError
from .crypto import Keys
from .envelope import open_object, seal_object
from .ids import ID_BYTES, NO_ID, Kind, ObjectId, id_of_name, object_id
from .objects import get_verified
from .pack import DATA_PACK, META_PACK

DOOMED_PREFIX = "doomed/"
_NOT_STORED = ObjectId(NO_ID)


class DoomedPack(NamedTuple):
    """What kind of pack it is, and how large."""

    kind: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Doomed:
    """One doomed object.

    Attributes:
        time_ns: When the packs were marked, by the clock of whoever did.
        leases: Those that were there when the mark was already to be seen: their owners may use
            the packs. None where the mark was not finished: then anybody may.
        snapshots: First ids of snapshots that were forgotten.
        replaces: Doomed objects that this one stands for; what they say counts no more.
        stored_ns: When the store got the object, by its own clock.
    """

    time_ns: int
    packs: Mapping[ObjectId, DoomedPack] = field(default_factory=dict)
    leases: frozenset[ObjectId] | None = None
    snapshots: frozenset[ObjectId] = frozenset()
    replaces: frozenset[ObjectId] = frozenset()
    id: ObjectId = _NOT_STORED
    stored_ns: int = 0

    @property
    def name(self) -> str:
        """Return its object name."""
        return DOOMED_PREFIX + self.id.hex()

    @property
    def size_bytes(self) -> int:
        """Return how much its packs take."""
        return sum(pack.size_bytes for pack in self.packs.values())

    def encode(self) -> dict[str, Any]:
        """Return the body."""
        packs = sorted(self.packs.items())
        body: dict[str, Any] = {
            "time": self.time_ns,
            "packs": b"".join(id_ for id_, _ in packs),
            "kinds": bytes(pack.kind for _, pack in packs),
            "sizes": struct.pack(f"<{len(packs)}Q", *(pack.size_bytes for _, pack in packs)),
        }
        if self.leases is not None:
            body["leases"] = b"".join(sorted(self.leases))
        if self.snapshots:
            body["snapshots"] = b"".join(sorted(self.snapshots))
        if self.replaces:
            body["replaces"] = b"".join(sorted(self.replaces))
        return body


def decode_doomed(body: Mapping[str, Any]) -> Doomed:
    """Return what a doomed object says.

    Raises:
        DecodeError: columns are missing or do not fit each other.
    """
    ids = _ids(codec.field(body, "packs", bytes))
    kinds = codec.int_column(body, "kinds", "B", len(ids))
    sizes = codec.int_column(body, "sizes", "Q", len(ids))
    if len(set(ids)) != len(ids):
        raise DecodeError("a pack is named twice")
    if any(kind not in (DATA_PACK, META_PACK) for kind in kinds):
        raise DecodeError("a pack of unknown kind")
    leases = codec.optional(body, "leases", bytes)
    return Doomed(
        codec.field(body, "time", int),
        dict(zip(ids, map(DoomedPack, kinds, sizes), strict=True)),
        None if leases is None else frozenset(_ids(leases)),
        frozenset(_ids(codec.field(body, "snapshots", bytes, b""))),
        frozenset(_ids(codec.field(body, "replaces", bytes, b""))),
    )


def _ids(joined: bytes) -> list[ObjectId]:
    if len(joined) % ID_BYTES:
        raise DecodeError("a list of ids is cut short")
    return [ObjectId(joined[i : i + ID_BYTES]) for i in range(0, len(joined), ID_BYTES)]


@dataclass(slots=True)
class DoomedList:
    """All doomed objects of a store that count, and those that cannot be read."""

    records: list[Doomed] = field(default_factory=list)
    replaced: list[ObjectId] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def pack_ids(self) -> frozenset[ObjectId]:
        """Return the packs that count as not held."""
        return frozenset(id_ for record in self.records for id_ in record.packs)

    def forgotten(self, since_ns: int = 0) -> frozenset[ObjectId]:
        """Return the first ids of snapshots that were forgotten here since then.

        By the clock of the store.
        """
        recent = (record for record in self.records if record.stored_ns >= since_ns)
        return frozenset(id_ for record in recent for id_ in record.snapshots)


def list_doomed(backend: Backend, keys: Keys) -> DoomedList:
    """Return what the doomed objects of a store say; by the time of each the oldest first."""
    found = DoomedList()
    for stat in list(backend.list(DOOMED_PREFIX)):
        id_ = id_of_name(stat.name)
        if id_ is None:
            continue
        try:
            body = open_object(keys, Kind.DOOMED, get_verified(backend, stat.name))
            record = replace(decode_doomed(body), id=id_, stored_ns=stat.modified_ns)
        except ObjectNotFound:
            continue
        except (DecodeError, IntegrityError, ShortRead) as error:
            text = str(error).removeprefix(f"{stat.name}: ").removeprefix("damaged: ")
            found.problems.append(Problem(stat.name, f"damaged: {text}"))
        else:
            found.records.append(record)
    replaced = {id_ for record in found.records for id_ in record.replaces}
    found.replaced = [record.id for record in found.records if record.id in replaced]
    found.records = [record for record in found.records if record.id not in replaced]
    # What another one stands for need not be readable.
    found.problems = [one for one in found.problems if id_of_name(one.object) not in replaced]
    found.records.sort(key=lambda record: (record.stored_ns, record.id))
    return found


def put_doomed(backend: Backend, keys: Keys, record: Doomed) -> Doomed:
    """Store a doomed object; durable on return. Returns it with its id."""
    stored = seal_object(keys, Kind.DOOMED, record.encode())
    id_ = object_id(stored)
    name = DOOMED_PREFIX + id_.hex()
    backend.put(name, stored)
    return replace(record, id=id_, stored_ns=backend.stat(name).modified_ns)


def delete_doomed(backend: Backend, ids: Iterable[ObjectId]) -> list[ObjectId]:
    """Delete doomed objects; return those that the store keeps for now."""
    kept = []
    for id_ in ids:
        try:
            backend.delete(DOOMED_PREFIX + id_.hex())
        except ObjectNotFound:
            continue
        except BackendError:
            kept.append(id_)
    return kept
