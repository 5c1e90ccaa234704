"""The snapshot record: one run, its components, their statistics (spec/FORMAT.md §10)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import codec
from .codec import DecodeError
from .ids import ID_BYTES, NO_ID, BlobId, ObjectId
from .source import Attributes, Consistency
from .tree import (
    decode_attributes,
    decode_subtree,
    encode_attributes,
    encode_xattrs,
    is_plain_name,
)

SUCCESS = "success"
PARTIAL = "partial"
FAILED = "failed"
QUARANTINED = "quarantined"

UNSTORED = ObjectId(NO_ID)
"""The id of a snapshot that is not stored yet, or never will be (a dry run)."""

RawPath = bytes
"""A path as the source gave it, components joined by slashes."""


@dataclass(frozen=True, slots=True)
class Component:
    """The part of a snapshot that came from one source. Sizes in bytes, times in ns."""

    name: str
    kind: str
    place: str
    status: str
    subtree: tuple[BlobId, ...] | None = None
    root: Attributes | None = None
    files: int = 0
    bytes: int = 0
    bytes_new: int = 0
    bytes_stored: int = 0
    consistency: str = str(Consistency.CRASH)
    started_ns: int = 0
    point_ns: int = 0
    finished_ns: int = 0
    downtime_ns: int = 0
    statistics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[tuple[RawPath, str], ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotStatistics:
    """What a run processed and stored. ``bytes_new`` is what was not there before, raw."""

    bytes_processed: int = 0
    bytes_new: int = 0
    bytes_stored: int = 0
    blobs_new: int = 0
    duration_ns: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One run's record. ``id`` is zeros until it is stored."""

    time_ns: int
    service: str
    hostname: str
    username: str
    program: str
    status: str
    components: tuple[Component, ...]
    tags: tuple[str, ...] = ()
    skew_ns: int = 0
    original: ObjectId | None = None
    revision: int = 0
    statistics: SnapshotStatistics = SnapshotStatistics()
    id: ObjectId = UNSTORED

    @property
    def short_id(self) -> str:
        """Return the first 8 digits of the id, for people."""
        return self.id.hex()[:8]

    def component(self, name: str) -> Component | None:
        """Return the component of this name."""
        return next((c for c in self.components if c.name == name), None)

    def with_id(self, id_: ObjectId) -> "Snapshot":
        """Return the same record under the id it was stored as."""
        return replace(self, id=id_)


def encode_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """Return the body of a snapshot object."""
    s = snapshot.statistics
    body: dict[str, Any] = {
        "time": snapshot.time_ns,
        "service": snapshot.service,
        "hostname": snapshot.hostname,
        "username": snapshot.username,
        "program": snapshot.program,
        "tags": sorted(snapshot.tags),
        "status": snapshot.status,
        "components": [_encode_component(c) for c in snapshot.components],
        "skew": snapshot.skew_ns,
        "revision": snapshot.revision,
        "statistics": {
            "bytes_processed": s.bytes_processed,
            "bytes_new": s.bytes_new,
            "bytes_stored": s.bytes_stored,
            "blobs_new": s.blobs_new,
            "duration": s.duration_ns,
        },
    }
    if snapshot.original is not None:
        body["original"] = snapshot.original
    return body


def _encode_component(c: Component) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": c.name,
        "kind": c.kind,
        "place": c.place,
        "status": c.status,
        "files": c.files,
        "bytes": c.bytes,
        "bytes_new": c.bytes_new,
        "bytes_stored": c.bytes_stored,
        "consistency": c.consistency,
        "started": c.started_ns,
        "point": c.point_ns,
        "finished": c.finished_ns,
        "downtime": c.downtime_ns,
        "statistics": dict(c.statistics),
        "versions": dict(c.versions),
        "problems": [[path, reason] for path, reason in c.problems],
        "warnings": list(c.warnings),
    }
    if c.root is not None:
        fields["root"] = encode_attributes(c.root) | {"xattrs": encode_xattrs(c.root)}
    if c.subtree is not None:
        fields["subtree"] = b"".join(c.subtree)
    if c.error:
        fields["error"] = c.error
    return fields


def decode_snapshot(body: Mapping[str, Any], id_: ObjectId) -> Snapshot:
    """Return the record in a snapshot object's body.

    Raises:
        DecodeError: it is not as the format says.
    """
    components = tuple(
        _decode_component(fields) for fields in codec.field(body, "components", list)
    )
    names = [c.name for c in components]
    if sorted(set(names), key=str.encode) != names:
        raise DecodeError("a snapshot's components are out of order or there twice")
    original = codec.optional(body, "original", bytes)
    if original is not None and len(original) != ID_BYTES:
        raise DecodeError("a snapshot's original has a wrong length")
    return Snapshot(
        time_ns=codec.field(body, "time", int),
        service=codec.field(body, "service", str),
        hostname=codec.field(body, "hostname", str),
        username=codec.field(body, "username", str),
        program=codec.field(body, "program", str),
        status=codec.field(body, "status", str),
        components=components,
        tags=_texts(body, "tags"),
        skew_ns=codec.field(body, "skew", int),
        original=ObjectId(original) if original is not None else None,
        revision=codec.field(body, "revision", int, default=0),
        statistics=_decode_statistics(codec.field(body, "statistics", dict)),
        id=id_,
    )


def _decode_statistics(fields: Mapping[str, Any]) -> SnapshotStatistics:
    return SnapshotStatistics(
        bytes_processed=codec.field(fields, "bytes_processed", int),
        bytes_new=codec.field(fields, "bytes_new", int),
        bytes_stored=codec.field(fields, "bytes_stored", int),
        blobs_new=codec.field(fields, "blobs_new", int),
        duration_ns=codec.field(fields, "duration", int),
    )


def _decode_component(fields: object) -> Component:
    if not isinstance(fields, dict):
        raise DecodeError("a component is not a map")
    name = codec.field(fields, "name", str)
    if not is_plain_name(name.encode("utf-8", "surrogateescape")):
        raise DecodeError(f"a component with the name {name[:80]!r}, which none can have")
    return Component(
        name=name,
        kind=codec.field(fields, "kind", str),
        place=codec.field(fields, "place", str),
        status=codec.field(fields, "status", str),
        subtree=decode_subtree(fields) if "subtree" in fields else None,
        root=decode_attributes(codec.field(fields, "root", dict)) if "root" in fields else None,
        files=codec.field(fields, "files", int),
        bytes=codec.field(fields, "bytes", int),
        bytes_new=codec.field(fields, "bytes_new", int),
        bytes_stored=codec.field(fields, "bytes_stored", int),
        consistency=codec.field(fields, "consistency", str),
        started_ns=codec.field(fields, "started", int),
        point_ns=codec.field(fields, "point", int),
        finished_ns=codec.field(fields, "finished", int),
        downtime_ns=codec.field(fields, "downtime", int),
        statistics=codec.field(fields, "statistics", dict),
        versions=codec.field(fields, "versions", dict),
        problems=_problems(fields),
        warnings=_texts(fields, "warnings"),
        error=codec.field(fields, "error", str, default=""),
    )


def _texts(fields: Mapping[str, Any], key: str) -> tuple[str, ...]:
    texts = codec.field(fields, key, list)
    if not all(isinstance(text, str) for text in texts):
        raise DecodeError(f"{key!r} holds something that is not text")
    return tuple(texts)


def _problems(fields: Mapping[str, Any]) -> tuple[tuple[bytes, str], ...]:
    problems = []
    for item in codec.field(fields, "problems", list):
        match item:
            case [bytes(path), str(reason)]:
                problems.append((path, reason))
            case _:
                raise DecodeError("a problem is not a path and a reason")
    return tuple(problems)
