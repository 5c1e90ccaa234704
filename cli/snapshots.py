"""``snap snapshots``: the list."""

import click

from snap.repo.catalog import readable_snapshots
from snap.repo.snapshot import Snapshot

from .errors import DAMAGED, OK, print_error
from .options import SnapCommand, filter_options
from .output import counted, print_json, print_line, print_table, shown_size
from .records import snapshot_record
from .session import filter_snapshots, open_session, words_of
from .settings import Settings
from .times import local_time


@click.command(cls=SnapCommand)
@filter_options
@click.option("--latest", type=click.IntRange(1), metavar="N", help="Only the last N of them.")
@click.pass_obj
def command(
    settings: Settings,
    *,
    service: str | None,
    host: str | None,
    tags: tuple[str, ...],
    latest: int | None,
) -> int:
    """List the snapshots, oldest first."""
    with open_session(settings) as repository:
        found, problems = readable_snapshots(repository)
    snapshots = filter_snapshots(found, service=service, host=host, tags=tags)
    if latest is not None:
        snapshots = snapshots[-latest:]
    if settings.json:
        print_json([snapshot_record(s) for s in snapshots])
    else:
        _print_for_people(snapshots, settings)
    for problem in problems:
        print_error(
            words_of(problem),
            "run 'snap check' to see everything that is damaged",
            code=DAMAGED,
            as_json=settings.json,
        )
    return DAMAGED if problems else OK


def _print_for_people(snapshots: list[Snapshot], settings: Settings) -> None:
    if snapshots:
        print_table(
            ("id", "time", "~service", "~host", "status", "~tags", "~components", ">size"),
            [_row(s) for s in snapshots],
        )
    if not settings.quiet:
        print_line(counted(len(snapshots), "snapshot"))


def _row(snapshot: Snapshot) -> tuple[str, ...]:
    return (
        snapshot.short_id,
        local_time(snapshot.time_ns),
        snapshot.service,
        snapshot.hostname,
        snapshot.status,
        ", ".join(snapshot.tags),
        ", ".join(c.name for c in snapshot.components),
        shown_size(snapshot.statistics.bytes_processed),
    )
