"""How large a repository is and what deduplication and compression gave."""

from dataclasses import dataclass

from .catalog import readable_snapshots
from .ids import Kind
from .pack import DATA_PACK
from .repository import Repository


@dataclass(frozen=True, slots=True)
class RepositoryStatistics:
    """Counts, and sizes in bytes.

    Attributes:
        bytes_stored: All packs.
        bytes_raw: The distinct data blobs before compression.
        bytes_processed: All that backups read, over all snapshots that are left.
        compression_ratio: Raw to stored size of the distinct data blobs.
        deduplication_ratio: Processed to raw.
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


def repository_statistics(repository: Repository) -> RepositoryStatistics:
    """Count from the index and the snapshots; no pack is read."""
    repository.load_index()
    snapshots, _ = readable_snapshots(repository)
    packs = repository.cache.packs()
    totals = repository.cache.blob_totals()
    data_blobs, data_stored, data_raw = totals.get(Kind.DATA, (0, 0, 0))
    processed = sum(s.statistics.bytes_processed for s in snapshots)
    in_data_packs = sum(p.size_bytes for p in packs if p.kind == DATA_PACK)
    in_all_packs = sum(p.size_bytes for p in packs)
    return RepositoryStatistics(
        snapshots=len(snapshots),
        packs=len(packs),
        data_blobs=data_blobs,
        metadata_blobs=sum(count for kind, (count, _, _) in totals.items() if kind != Kind.DATA),
        bytes_stored=in_all_packs,
        bytes_data_stored=in_data_packs,
        bytes_metadata_stored=in_all_packs - in_data_packs,
        bytes_raw=data_raw,
        bytes_processed=processed,
        compression_ratio=data_raw / data_stored if data_stored else 1.0,
        deduplication_ratio=processed / data_raw if data_raw else 1.0,
    )
