"""Snapshots and their parts as JSON (the fields of spec/CLI.md)."""

from collections.abc import Sequence
from typing import Any

from snap.repo.clock import SECOND_NS
from snap.repo.forget import is_held
from snap.repo.snapshot import Component, Snapshot
from snap.repo.stats import Gain
from snap.repo.tree import Node

from .output import raw_name_fields
from .times import iso_time


def seconds(duration_ns: int) -> float:
    """Return a duration in seconds, to the microsecond."""
    return round(duration_ns / SECOND_NS, 6)


def gain_record(gain: Gain) -> dict[str, int]:
    """Return what was processed, what of it was new, and what that took."""
    return {
        "bytes_processed": gain.bytes_processed,
        "bytes_new": gain.bytes_new,
        "bytes_stored": gain.bytes_stored,
    }


def component_record(component: Component) -> dict[str, Any]:
    """Return one component of a snapshot."""
    return {
        "name": component.name,
        "kind": component.kind,
        "place": component.place,
        "status": component.status,
        "files": component.files,
        **gain_record(Gain(component.bytes, component.bytes_new, component.bytes_stored)),
        "consistency": component.consistency,
        "time": iso_time(component.point_ns),
        "duration_seconds": seconds(component.finished_ns - component.started_ns),
        "downtime_seconds": seconds(component.downtime_ns),
        "statistics": dict(component.statistics),
        "versions": dict(component.versions),
        "problems": [
            {**raw_name_fields("path", path), "problem": reason}
            for path, reason in component.problems
        ],
        "warnings": list(component.warnings),
        "error": component.error,
    }


def snapshot_record(snapshot: Snapshot) -> dict[str, Any]:
    """Return one snapshot as ``snapshots`` lists it."""
    return {
        "id": snapshot.id.hex(),
        "short_id": snapshot.short_id,
        "original": None if snapshot.original is None else snapshot.original.hex(),
        "time": iso_time(snapshot.time_ns),
        "service": snapshot.service,
        "hostname": snapshot.hostname,
        "username": snapshot.username,
        "program": snapshot.program,
        "tags": list(snapshot.tags),
        "status": snapshot.status,
        "held": is_held(snapshot),
        "skew_seconds": seconds(snapshot.skew_ns),
        "components": [component_record(c) for c in snapshot.components],
    }


def node_record(component: str, path: Sequence[bytes], node: Node) -> dict[str, Any]:
    """Return one entry of a snapshot."""
    a = node.attributes
    record: dict[str, Any] = {
        "component": component,
        **raw_name_fields("path", b"/".join(path)),
        **raw_name_fields("name", node.name),
        "type": str(node.type),
        "size": node.content.size_bytes if node.content is not None else None,
        "mode": a.mode,
        "uid": a.uid,
        "gid": a.gid,
        "user": a.user,
        "group": a.group,
        "mtime": iso_time(a.mtime_ns),
        "changed_while_read": node.changed,
    }
    if node.target:
        record |= raw_name_fields("target", node.target)
    return record
