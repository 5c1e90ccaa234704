"""Noticing that a database collapsed since it was backed up last (spec/DESIGN.md, "Quarantine").

A dump of what was emptied by mistake is a good dump. Were it counted as one, it would in time push
the last snapshots that still have the data out of retention.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .catalog import BEFORE_RESTORE_TAG
from .snapshot import FAILED, QUARANTINED, Component, Snapshot

_LEAST_BYTES = 1 << 20
_LEAST_RECORDS = 100
"""What is smaller may well lose half of itself in a day."""
_SHARE = 10
"""A part of the records that had less than a tenth of them may come and go: queues are emptied."""


class Part(NamedTuple):
    """A table, collection, label or type; ``is_lasting`` if it exists also without records."""

    what: str
    records: int
    is_lasting: bool


def last_good(
    snapshots: Sequence[Snapshot], service: str, name: str, kind: str
) -> Component | None:
    """Return the component as it was stored last in a snapshot that counts."""
    for snapshot in reversed(snapshots):
        if (
            snapshot.service != service
            or snapshot.status == QUARANTINED
            or BEFORE_RESTORE_TAG in snapshot.tags
        ):
            continue
        found = snapshot.component(name)
        if found is not None and found.kind == kind and found.status != FAILED:
            return found
    return None


def collapses(before: Component, now: Component) -> list[str]:
    """Return in sentences what collapsed: more than half of the bytes or records, or all of a part.

    Only a table or collection that is gone counts however small it was.
    """
    found = []
    if before.bytes >= _LEAST_BYTES and now.bytes < before.bytes / 2:
        found.append(f"{now.bytes:,} bytes, {before.bytes:,} before")
    then = {part.what: part for part in parts_of(before.statistics)}
    today = {part.what: part for part in parts_of(now.statistics)}
    if not then or (not today and not now.statistics):
        return found
    total = _records(then)
    if _is_halved(total, _records(today)):
        found.append(f"{_records(today):,} records, {total:,} before")
    for what, part in then.items():
        is_here = what in today
        count = today[what].records if is_here else 0
        if part.is_lasting and not is_here:
            found.append(f"{what} is gone ({part.records:,} before)")
        elif part.records * _SHARE >= total and _is_halved(part.records, count):
            found.append(f"{what} has {count:,} records, {part.records:,} before")
    return found


def _is_halved(before: int, now: int) -> bool:
    return before >= _LEAST_RECORDS and now < before / 2


def _records(parts: Mapping[str, Part]) -> int:
    """Return how many records there are; what lasts is counted, else nodes would count twice."""
    return sum(part.records for part in parts.values() if part.is_lasting) or sum(
        part.records for part in parts.values()
    )


def parts_of(statistics: Mapping[str, Any]) -> Iterator[Part]:
    """Yield what the statistics of a component count, whatever kind it is."""
    for table, count in _map(statistics, "tables"):
        yield Part(f"table {table}", count, is_lasting=True)
    for key, what in (("labels", "label"), ("relationship_types", "relationship type")):
        for name, count in _map(statistics, key):
            yield Part(f"{what} {name}", count, is_lasting=False)
    collections = statistics.get("collections")
    for collection in collections if isinstance(collections, list) else ():
        match collection:
            case {"name": str(name), "count": int(count)}:
                yield Part(f"collection {name}", count, is_lasting=True)


def _map(statistics: Mapping[str, Any], key: str) -> Iterator[tuple[str, int]]:
    found = statistics.get(key)
    for name, count in found.items() if isinstance(found, dict) else ():
        if isinstance(count, int):
            yield str(name), count
