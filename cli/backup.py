"""``snap backup``: sources in, one snapshot out."""

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import click

from snap.repo.backup import BackupOptions, run_backup
from snap.repo.catalog import readable_snapshots
from snap.repo.compression import Compression
from snap.repo.repository import Repository
from snap.repo.snapshot import FAILED, QUARANTINED, SUCCESS, Component, Snapshot
from snap.repo.source import Source
from snap.sources.chroma_access import LOCK_SECONDS
from snap.sources.neo4j_access import DOCKER, NATIVE

from .errors import DAMAGED, INCOMPLETE, OK
from .init import username
from .options import SnapCommand, check_tags, tags_of_option
from .output import counted, print_json, print_line, print_table, shown_duration, shown_size
from .places import Wanted, require_unique_names, sources_of
from .progress import open_reporter
from .records import component_record, seconds
from .session import open_session
from .settings import Settings
from .times import parse_time


@dataclass(frozen=True, slots=True)
class Request:
    """The command's arguments, as click names them."""

    sources: tuple[str, ...] = ()
    shell_command: str | None = None
    stdin: bool = False
    name: str | None = None
    service: str | None = None
    host: str | None = None
    tags: tuple[str, ...] = ()
    time: str | None = None
    full: bool = False
    accept_changes: bool = False
    excludes: tuple[str, ...] = ()
    dry_run: bool = False
    no_extra_verify: bool = False
    compression: str | None = None
    database: str | None = None
    skip_unchanged: bool = False
    offline: bool = False
    lock_seconds: float = LOCK_SECONDS

    def wanted(self) -> Wanted:
        """Return what is to be backed up."""
        return Wanted(
            sources=self.sources,
            shell_command=self.shell_command,
            stdin=self.stdin,
            name=self.name,
            excludes=self.excludes,
            database=self.database,
            skip_unchanged=self.skip_unchanged,
            offline=self.offline,
            lock_seconds=self.lock_seconds,
            dry_run=self.dry_run,
        )


@click.command(cls=SnapCommand)
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@click.option("--command", "shell_command", metavar="CMD", help="Store what a program prints.")
@click.option("--stdin", is_flag=True, help="Store what comes on standard input.")
@click.option("--name", metavar="N", help="Name of the component.")
@click.option("--service", metavar="S", help="What this belongs to.  [default: the host's name]")
@click.option("--host", metavar="H", help="Name of this host.  [default: what it says]")
@click.option(
    "--tag", "tags", metavar="T", multiple=True, callback=tags_of_option, help="A tag; repeatable."
)
@click.option("--time", metavar="T", help="Date the snapshot: 2026-11-01T02:00.")
@click.option("--full", is_flag=True, help="Read everything, also what looks unchanged.")
@click.option(
    "--accept-changes", is_flag=True, help="That a database lost most of what it had is meant."
)
@click.option(
    "--exclude", "excludes", metavar="P", multiple=True, help="Leave out files; repeatable."
)
@click.option("--dry-run", is_flag=True, help="Read and count everything, store nothing.")
@click.option("--no-extra-verify", is_flag=True, help="Do not open packs again before storing.")
@click.option(
    "--compression",
    type=click.Choice(list(Compression)),
    help="How hard to compress.  [default: default]",
)
@click.option("--database", metavar="DB", help="Of Neo4j: which, if not the default one.")
@click.option(
    "--skip-unchanged", is_flag=True, help="Do not stop a Neo4j to which nothing was written."
)
@click.option(
    "--offline", is_flag=True, help="Stop a Neo4j Enterprise for its dumps, as Community is."
)
@click.option(
    "--lock-seconds",
    type=click.FloatRange(0, min_open=True),
    default=LOCK_SECONDS,
    show_default=True,
    help="How long who writes to a ChromaDB directory may be held up.",
)
@click.pass_obj
def command(settings: Settings, /, **arguments: Any) -> int:
    """Store a snapshot of databases and files.

    SOURCE is a name in the configuration, or KIND:PLACE (sqlite:events.db, chroma:folder,
    chroma:http://HOST:8000, neo4j:HOME, neo4j-docker:CONTAINER, files:folder), or a path, which
    means files. Without SOURCE all that is configured is stored.
    """
    request = Request(**arguments)
    planned = PlannedBackup(request, settings)
    with open_session(settings) as repository:
        snapshot = planned.run(repository)
    return code_of(snapshot)


class PlannedBackup:
    """A backup of sources that were found; nothing of them was opened yet.

    Raises:
        UsageError: the sources, or how they are to be stored, make no sense.
    """

    def __init__(self, request: Request, settings: Settings) -> None:
        self._settings = settings
        self._last: dict[str, Component] = {}
        self._places = sources_of(request.wanted(), settings, self._last)
        self._sources = sorted((s for p in self._places for s in p.sources), key=_turn)
        require_unique_names(self._sources)
        self._options = _options(request, settings)

    def run(self, repository: Repository, *, print_summary: bool = True) -> Snapshot:
        """Store the snapshot and print what it is."""
        options, settings = self._options, self._settings
        self._last.update(_last_components(repository, options.service))
        expected = {component.name: component.bytes for component in self._last.values()}
        with ExitStack() as held:
            for place in self._places:
                held.enter_context(place.hold())
            with open_reporter(settings, "backing up", expected) as reporter:
                snapshot = run_backup(repository, self._sources, options, reporter)
            if print_summary or not settings.json:
                _print_result(snapshot, settings, dry_run=options.dry_run)
        return snapshot


def code_of(snapshot: Snapshot) -> int:
    """Return the exit code of a backup that stored this."""
    if snapshot.status == QUARANTINED:
        return DAMAGED
    return OK if snapshot.status == SUCCESS else INCOMPLETE


def _turn(source: Source) -> int:
    """Return when a source's turn is: first what holds up its users until it is read."""
    return 0 if source.kind in (NATIVE, DOCKER) else 1


def _options(request: Request, settings: Settings) -> BackupOptions:
    configured = settings.configuration.values if settings.configuration is not None else {}
    hostname = request.host or configured.get("host") or socket.gethostname()
    tags = (*configured.get("tags", ()), *request.tags)
    check_tags(tags)
    return BackupOptions(
        service=request.service or configured.get("service") or hostname,
        hostname=hostname,
        username=username(),
        tags=tags,
        time_ns=None if request.time is None else parse_time(request.time),
        dry_run=request.dry_run,
        extra_verify=not request.no_extra_verify,
        full=request.full,
        accept_changes=request.accept_changes,
        compression=Compression(
            request.compression or configured.get("compression") or Compression.DEFAULT
        ),
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
        print_json(summary_of(snapshot, dry_run=dry_run))
    elif not settings.quiet:
        _print_for_people(snapshot, settings, dry_run=dry_run)


def summary_of(snapshot: Snapshot, *, dry_run: bool) -> dict[str, Any]:
    """Return the summary for programs."""
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
    if snapshot.status == QUARANTINED:
        print_line(
            "It is kept, but never 'latest', so that it cannot take the place of a good one. If "
            "that is how it should be, run the backup again with --accept-changes."
        )


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
