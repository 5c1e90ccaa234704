"""``snap stats``: how large the repository is, and what each backup added to it."""

from typing import Any

import click

from snap.repo.stats import Gain, RepositoryStatistics, repository_statistics

from .options import SnapCommand
from .output import print_json, print_table, shown_size
from .records import gain_record
from .session import open_session
from .settings import Settings
from .times import iso_time, local_time


@click.command(cls=SnapCommand)
@click.pass_obj
def command(settings: Settings) -> int:
    """Show how large the repository is and what deduplication and compression save.

    For each source and each snapshot: what was processed, how much of it was new, and what that
    took in the repository.
    """
    with open_session(settings) as repository:
        statistics = repository_statistics(repository)
    if settings.json:
        print_json(_record(statistics))
        return 0
    print_table(("what", ">amount"), _rows(statistics))
    if statistics.snapshots:
        print()
        print_table(
            ("~component", "~service", ">snapshots", *_GAIN_COLUMNS),
            [
                (c.name, c.service, f"{c.snapshots:,}", *_gain_cells(c.gain))
                for c in statistics.by_component
            ],
        )
        print()
        print_table(
            ("snapshot", "time", *_GAIN_COLUMNS),
            [
                (s.snapshot.short_id, local_time(s.snapshot.time_ns), *_gain_cells(s.gain))
                for s in statistics.by_snapshot
            ],
        )
    return 0


_GAIN_COLUMNS = (">processed", ">new", ">stored", ">saved")


def _gain_cells(gain: Gain) -> tuple[str, ...]:
    saved = 1 - gain.bytes_stored / gain.bytes_processed if gain.bytes_processed else 0.0
    return (
        shown_size(gain.bytes_processed),
        shown_size(gain.bytes_new),
        shown_size(gain.bytes_stored),
        # Of a few bytes what belongs to them takes more than they do.
        f"{100 * saved:.1f} %" if saved > 0 else "-",
    )


def _record(s: RepositoryStatistics) -> dict[str, Any]:
    return {
        "snapshots": s.snapshots,
        "packs": s.packs,
        "data_blobs": s.data_blobs,
        "metadata_blobs": s.metadata_blobs,
        "bytes_stored": s.bytes_stored,
        "bytes_data_stored": s.bytes_data_stored,
        "bytes_metadata_stored": s.bytes_metadata_stored,
        "bytes_raw": s.bytes_raw,
        "bytes_processed": s.bytes_processed,
        "compression_ratio": s.compression_ratio,
        "deduplication_ratio": s.deduplication_ratio,
        "by_component": [
            {"name": c.name, "service": c.service, "snapshots": c.snapshots, **gain_record(c.gain)}
            for c in s.by_component
        ],
        "by_snapshot": [
            {
                "id": g.snapshot.id.hex(),
                "time": iso_time(g.snapshot.time_ns),
                **gain_record(g.gain),
                "components": [
                    {
                        "name": c.name,
                        **gain_record(Gain(c.bytes, c.bytes_new, c.bytes_stored)),
                    }
                    for c in g.snapshot.components
                ],
            }
            for g in s.by_snapshot
        ],
    }


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
