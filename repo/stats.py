"""How large a repository is and what deduplication and compression gave."""

from collections.abc import Sequence
from dataclasses import dataclass

from .catalog import readable_snapshots
from .ids import Kind
from .pack import DATA_PACK
from .repository import Repository
from .snapshot import FAILED, Component, Snapshot
from .totals import blob_totals


@dataclass(frozen=True, slots=True)
class Gain:
    """What one component, or one snapshot, processed, and what of it was new and was stored.

    Sizes in bytes: ``bytes_new`` before compression, ``bytes_stored`` with all that belongs to it.
    """

    bytes_processed: int
    bytes_new: int
    bytes_stored: int


@dataclass(frozen=True, slots=True)
class ComponentGain:
    """The sums over all snapshots of one source."""

    service: str
    name: str
    snapshots: int
    gain: Gain


@dataclass(frozen=True, slots=True)
class SnapshotGain:
    """What one run gave."""

    snapshot: Snapshot
    gain: Gain


@dataclass(frozen=True, slots=True)
class RepositoryStatistics:
    """Counts, and sizes in bytes.

    Attributes:
        bytes_stored: All packs.
        bytes_raw: The distinct data blobs before compression.
        bytes_processed: All that backups read, over all snapshots that are left.
        compression_ratio: Raw to stored size of the distinct data blobs.
        deduplication_ratio: Processed to raw.
        by_component: By service and name.
        by_snapshot: By time.
    """

    snapshots: int
    packs: int
    data_blobs: int
    metadata_blobs: int
    bytes_stored: int
    bytes_data_stored: int
    bytes_metadata_stored: int
    bytes_raw: int
    bytes_processed: int
    compression_ratio: float
    deduplication_ratio: float
    by_component: tuple[ComponentGain, ...]
    by_snapshot: tuple[SnapshotGain, ...]


def repository_statistics(repository: Repository) -> RepositoryStatistics:
    """Count from the index and the snapshots; no pack is read."""
    repository.load_index()
    snapshots, _ = readable_snapshots(repository)
    packs = in_data_packs = in_all_packs = 0
    for pack in repository.cache.packs():
        packs += 1
        in_all_packs += pack.size_bytes
        in_data_packs += pack.size_bytes if pack.kind == DATA_PACK else 0
    totals = blob_totals(repository.cache)
    data_blobs, data_stored, data_raw = totals.get(Kind.DATA, (0, 0, 0))
    processed = sum(s.statistics.bytes_processed for s in snapshots)
    return RepositoryStatistics(
        snapshots=len(snapshots),
        packs=packs,
        data_blobs=data_blobs,
        metadata_blobs=sum(count for kind, (count, _, _) in totals.items() if kind != Kind.DATA),
        bytes_stored=in_all_packs,
        bytes_data_stored=in_data_packs,
        bytes_metadata_stored=in_all_packs - in_data_packs,
        bytes_raw=data_raw,
        bytes_processed=processed,
        compression_ratio=data_raw / data_stored if data_stored else 1.0,
        deduplication_ratio=processed / data_raw if data_raw else 1.0,
        by_component=_by_component(snapshots),
        by_snapshot=tuple(
            SnapshotGain(
                s,
                Gain(
                    s.statistics.bytes_processed,
                    s.statistics.bytes_new,
                    s.statistics.bytes_stored,
                ),
            )
            for s in snapshots
        ),
    )


def _by_component(snapshots: Sequence[Snapshot]) -> tuple[ComponentGain, ...]:
    groups: dict[tuple[str, str], list[Component]] = {}
    for snapshot in snapshots:
        for component in snapshot.components:
            if component.status != FAILED:
                groups.setdefault((snapshot.service, component.name), []).append(component)
    return tuple(
        ComponentGain(
            service,
            name,
            len(parts),
            Gain(
                sum(c.bytes for c in parts),
                sum(c.bytes_new for c in parts),
                sum(c.bytes_stored for c in parts),
            ),
        )
        for (service, name), parts in sorted(groups.items())
    )
