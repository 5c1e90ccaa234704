"""``snap backup``: sources in, one snapshot out."""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import click

from snap.errors import UsageError
from snap.repo.backup import BackupOptions, run_backup
from snap.repo.catalog import readable_snapshots
from snap.repo.clock import system_clock
from snap.repo.compression import Compression
from snap.repo.repository import Repository
from snap.repo.snapshot import FAILED, SUCCESS, Component, Snapshot
from snap.repo.source import Source
from snap.repo.tree import is_plain_name
from snap.sources.command import CommandSource, StdinSource
from snap.sources.neo4j_place import DOCKER, NATIVE
from snap.sources.place import OpenedPlace, Surroundings, open_place, parse_place

from .errors import INCOMPLETE, OK
from .init import username
from .neo4j_access import neo4j_access
from .options import SnapCommand, check_tags
from .output import counted, print_json, print_line, print_table, shown_duration, shown_size
from .progress import open_reporter
from .records import component_record, seconds
from .session import open_session
from .settings import Settings
from .times import parse_time

_NAME_LIMIT_BYTES = 255
"""The longest name of a folder on the usual file systems."""


@dataclass(frozen=True, slots=True)
class _Request:
    """The command's arguments, as click names them."""

    sources: tuple[str, ...]
    shell_command: str | None
    stdin: bool
    name: str | None
    service: str | None
    host: str | None
    tags: tuple[str, ...]
    time: str | None
    full: bool
    excludes: tuple[str, ...]
    dry_run: bool
    no_extra_verify: bool
    compression: str
    database: str | None
    skip_unchanged: bool


@click.command(cls=SnapCommand)
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@click.option("--command", "shell_command", metavar="CMD", help="Store what a program prints.")
@click.option("--stdin", is_flag=True, help="Store what comes on standard input.")
@click.option("--name", metavar="N", help="Name of the component.")
@click.option("--service", metavar="S", help="What this belongs to.  [default: the host's name]")
@click.option("--host", metavar="H", help="Name of this host.  [default: what it says]")
@click.option(
    "--tag", "tags", metavar="T", multiple=True, callback=check_tags, help="A tag; repeatable."
)
@click.option("--time", metavar="T", help="Date the snapshot: 2026-11-01T02:00.")
@click.option("--full", is_flag=True, help="Read everything, also what looks unchanged.")
@click.option(
    "--exclude", "excludes", metavar="P", multiple=True, help="Leave out files; repeatable."
)
@click.option("--dry-run", is_flag=True, help="Read and count everything, store nothing.")
@click.option("--no-extra-verify", is_flag=True, help="Do not open packs again before storing.")
@click.option(
    "--compression",
    type=click.Choice(list(Compression)),
    default=Compression.DEFAULT,
    show_default=True,
    help="How hard to compress.",
)
@click.option("--database", metavar="DB", help="Of Neo4j: which, if not the default one.")
@click.option(
    "--skip-unchanged", is_flag=True, help="Do not stop a Neo4j to which nothing was written."
)
@click.pass_obj
def command(settings: Settings, /, **arguments: Any) -> int:
    """Store a snapshot of databases and files.

    SOURCE is KIND:PLACE (sqlite:events.db, neo4j:HOME, neo4j-docker:CONTAINER, files:folder) or a
    path, which means files.
    """
    request = _Request(**arguments)
    _check_name(request.name)
    last: dict[str, Component] = {}
    places = _sources(request, settings, last)
    sources = sorted((s for p in places for s in p.sources), key=_turn)
    _require_unique_names(sources)
    options = _options(request)
    with open_session(settings) as repository:
        last.update(_last_components(repository, options.service))
        expected = {component.name: component.bytes for component in last.values()}
        with ExitStack() as held:
            for place in places:
                held.enter_context(place.hold())
            with open_reporter(settings, "backing up", expected) as reporter:
                snapshot = run_backup(repository, sources, options, reporter)
            _print_result(snapshot, settings, dry_run=options.dry_run)
    return OK if snapshot.status == SUCCESS else INCOMPLETE


def _turn(source: Source) -> int:
    """Return when a source's turn is: first what holds up its users until it is read."""
    return 0 if source.kind in (NATIVE, DOCKER) else 1


def _check_name(name: str | None) -> None:
    """Refuse a name that could not be a folder in which a restore puts the component."""
    if name is None:
        return
    raw = os.fsencode(name)
    if not is_plain_name(raw) or len(raw) > _NAME_LIMIT_BYTES:
        raise UsageError(
            f"not a name for a component: {name!r}",
            f"a name has no slash, is not '.' or '..', and has at most {_NAME_LIMIT_BYTES} bytes",
        )


def _sources(
    request: _Request, settings: Settings, last: Mapping[str, Component]
) -> list[OpenedPlace]:
    """Return what is to be backed up; nothing of it is opened yet.

    Raises:
        UsageError: nothing, too much, or not clear what.
    """
    ways = [bool(request.sources), request.shell_command is not None, request.stdin]
    if sum(ways) > 1:
        raise UsageError("SOURCE, --command and --stdin exclude each other", "run snap once each")
    if not any(ways):
        raise UsageError(
            "nothing to back up", "name a SOURCE such as sqlite:events.db, --command or --stdin"
        )
    if request.sources:
        return _places(request, settings, last)
    if not request.name:
        raise UsageError("--command and --stdin need --name", "add --name NAME")
    if request.excludes:
        raise UsageError("--exclude is for files only")
    if request.shell_command is not None:
        command_source = CommandSource(request.shell_command, name=request.name, clock=system_clock)
        return [OpenedPlace([command_source])]
    if sys.stdin.isatty():
        raise UsageError("--stdin reads a pipe or a file, not a terminal")
    return [OpenedPlace([StdinSource(sys.stdin.buffer, name=request.name, clock=system_clock)])]


def _places(
    request: _Request, settings: Settings, last: Mapping[str, Component]
) -> list[OpenedPlace]:
    if request.name is not None and len(request.sources) > 1:
        raise UsageError("--name is for a single source", "back up the others in runs of their own")
    if request.dry_run and any(
        parse_place(text)[0] in (NATIVE, DOCKER) for text in request.sources
    ):
        raise UsageError(
            "--dry-run of a Neo4j would stop its server", "leave it out, or back it up for real"
        )
    around = Surroundings(
        spool_dir=settings.spool_dir,
        state_dir=settings.state_dir,
        neo4j=neo4j_access(
            settings, database=request.database or "", skip_unchanged=request.skip_unchanged
        ),
        previous=lambda name: last[name].statistics if name in last else None,
        clock=system_clock,
    )
    return [
        open_place(text, name=request.name, excludes=request.excludes, around=around)
        for text in request.sources
    ]


def _require_unique_names(sources: Sequence[Source]) -> None:
    places: dict[str, str] = {}
    for source in sources:
        if source.name in places:
            raise UsageError(
                f"two sources have the name {source.name!r}: "
                f"{places[source.name]} and {source.place}",
                "back up one of them in a run of its own, with --name",
            )
        places[source.name] = source.place


def _options(request: _Request) -> BackupOptions:
    hostname = request.host or socket.gethostname()
    return BackupOptions(
        service=request.service or hostname,
        hostname=hostname,
        username=username(),
        tags=request.tags,
        time_ns=None if request.time is None else parse_time(request.time),
        dry_run=request.dry_run,
        extra_verify=not request.no_extra_verify,
        full=request.full,
        compression=Compression(request.compression),
    )


def _last_components(repository: Repository, service: str) -> dict[str, Component]:
    """Return by name each component of the service as it was stored last."""
    snapshots, _ = readable_snapshots(repository)
    return {
        component.name: component
        for snapshot in snapshots
        if snapshot.service == service
        for component in snapshot.components
        if component.status != FAILED
    }


def _print_result(snapshot: Snapshot, settings: Settings, *, dry_run: bool) -> None:
    if settings.json:
        print_json(_summary(snapshot, dry_run=dry_run))
    elif not settings.quiet:
        _print_for_people(snapshot, settings, dry_run=dry_run)


def _summary(snapshot: Snapshot, *, dry_run: bool) -> dict[str, Any]:
    statistics = snapshot.statistics
    return {
        "message_type": "summary",
        "snapshot_id": None if dry_run else snapshot.id.hex(),
        "dry_run": dry_run,
        "status": snapshot.status,
        "duration_seconds": seconds(statistics.duration_ns),
        "bytes_processed": statistics.bytes_processed,
        "bytes_new": statistics.bytes_new,
        "bytes_stored": statistics.bytes_stored,
        "components": [component_record(c) for c in snapshot.components],
    }


def _print_for_people(snapshot: Snapshot, settings: Settings, *, dry_run: bool) -> None:
    print_table(
        ("~component", "kind", "status", ">files", ">processed", ">new", ">stored"),
        [_row(c) for c in snapshot.components],
    )
    if settings.verbosity:
        for component in snapshot.components:
            for key, value in sorted(component.statistics.items()):
                print_line(f"  {component.name}: {key}: {value}")
    statistics = snapshot.statistics
    processed, stored = statistics.bytes_processed, statistics.bytes_stored
    print()
    print_line(
        f"{counted(sum(c.files for c in snapshot.components), 'file')}, "
        f"{shown_size(processed)} processed, {shown_size(stored)} "
        f"{'would be stored' if dry_run else 'stored'}, "
        f"in {shown_duration(seconds(statistics.duration_ns))}"
    )
    incomplete = "" if snapshot.status == SUCCESS else f" ({snapshot.status}: see the warnings)"
    if dry_run:
        print_line(f"dry run: nothing was stored{incomplete}")
    else:
        print_line(f"snapshot {snapshot.short_id} stored{incomplete}")


def _row(component: Component) -> tuple[str, ...]:
    return (
        component.name,
        component.kind,
        component.status,
        f"{component.files:,}",
        shown_size(component.bytes),
        shown_size(component.bytes_new),
        shown_size(component.bytes_stored),
    )
