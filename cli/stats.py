"""``snap stats``: how large the repository is."""

from dataclasses import asdict

import click

from snap.repo.stats import RepositoryStatistics, repository_statistics

from .options import SnapCommand
from .output import print_json, print_table, shown_size
from .session import open_session
from .settings import Settings


@click.command(cls=SnapCommand)
@click.pass_obj
def command(settings: Settings) -> int:
    """Show how large the repository is and what deduplication and compression save."""
    with open_session(settings) as repository:
        statistics = repository_statistics(repository)
    if settings.json:
        print_json(asdict(statistics))
    else:
        print_table(("what", ">amount"), _rows(statistics))
    return 0


def _rows(s: RepositoryStatistics) -> list[tuple[str, str]]:
    return [
        ("snapshots", f"{s.snapshots:,}"),
        ("packs", f"{s.packs:,}"),
        ("data blobs", f"{s.data_blobs:,}"),
        ("metadata blobs", f"{s.metadata_blobs:,}"),
        ("stored", shown_size(s.bytes_stored)),
        ("  of it data", shown_size(s.bytes_data_stored)),
        ("  of it metadata", shown_size(s.bytes_metadata_stored)),
        ("distinct data before compression", shown_size(s.bytes_raw)),
        ("read by all backups that are kept", shown_size(s.bytes_processed)),
        ("compression", f"{s.compression_ratio:.2f} : 1"),
        ("deduplication", f"{s.deduplication_ratio:.2f} : 1"),
    ]
