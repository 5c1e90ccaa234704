"""``snap find``: entries by name in many snapshots."""

import click

from snap.repo.catalog import select_snapshot
from snap.repo.find import find

from .losses import Gaps
from .ls import long_line
from .options import SnapCommand, filter_options
from .output import counted, print_json, print_line
from .records import node_record
from .session import filter_snapshots, open_session, usable_snapshots
from .settings import Settings
from .times import LOCAL_ZONE, iso_time, local_time


@click.command(cls=SnapCommand)
@click.argument("pattern", metavar="PATTERN")
@click.option("--snapshot", "selector", metavar="SNAP", help="Only in this snapshot.")
@filter_options
@click.pass_obj
def command(
    settings: Settings,
    *,
    pattern: str,
    selector: str | None,
    service: str | None,
    host: str | None,
    tags: tuple[str, ...],
) -> int:
    """Find files by name in the snapshots, oldest first.

    PATTERN has the wildcards * ? [abc]. Without a slash it is compared with the last part of the
    path, with one with the whole of COMPONENT/PATH. Quote it, or the shell takes it.
    """
    matches = 0
    gaps = Gaps(settings)
    with open_session(settings) as repository:
        snapshots = usable_snapshots(repository, settings)
        if selector is not None:
            snapshots = [select_snapshot(snapshots, selector, LOCAL_ZONE)]
        chosen = filter_snapshots(snapshots, service=service, host=host, tags=tags)
        last = None
        for snapshot, component, path, node in find(repository, chosen, pattern, gaps.tell_of):
            matches += 1
            if settings.json:
                print_json(
                    {
                        "message_type": "match",
                        "snapshot_id": snapshot.id.hex(),
                        "snapshot_time": iso_time(snapshot.time_ns),
                        **node_record(component, path, node),
                    }
                )
                continue
            if snapshot is not last:
                print_line(f"snapshot {snapshot.short_id} of {local_time(snapshot.time_ns)}")
                last = snapshot
            print_line(f"  {long_line(component, path, node)}")
    if settings.json:
        print_json({"message_type": "summary", "matches": matches, "snapshots": len(chosen)})
    elif not settings.quiet:
        print_line(f"{counted(matches, 'match', 'matches')} in {counted(len(chosen), 'snapshot')}")
    return gaps.exit_code
