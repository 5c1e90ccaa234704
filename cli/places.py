"""From the arguments of ``snap backup`` and the configuration to the sources of a run."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snap.errors import SnapError, UsageError
from snap.repo.clock import system_clock
from snap.repo.snapshot import Component
from snap.repo.source import Source
from snap.repo.tree import is_plain_name
from snap.sources.chroma_access import LOCK_SECONDS
from snap.sources.command import CommandSource, StdinSource
from snap.sources.neo4j_access import DOCKER, NATIVE
from snap.sources.place import OpenedPlace, Surroundings, open_place, parse_place
from snap.sources.unavailable import UnavailableSource

from .neo4j_access import configured_access, neo4j_access
from .settings import Settings

if TYPE_CHECKING:
    from .config_file import Configuration, SourceTable

_NAME_LIMIT_BYTES = 255
"""The longest name of a folder on the usual file systems."""
_PLACE_KEYS = ("path", "url", "home", "container", "command")
_PATH_KEYS = frozenset({"path", "home"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be backed up, as the command line says it."""

    sources: tuple[str, ...] = ()
    shell_command: str | None = None
    stdin: bool = False
    name: str | None = None
    excludes: tuple[str, ...] = ()
    database: str | None = None
    skip_unchanged: bool = False
    offline: bool = False
    lock_seconds: float = LOCK_SECONDS
    dry_run: bool = False


def sources_of(
    wanted: Wanted, settings: Settings, last: Mapping[str, Component]
) -> list[OpenedPlace]:
    """Return what is to be backed up; nothing of it is opened yet.

    ``last`` holds, when a source is opened, each component as it was stored last.

    Raises:
        UsageError: nothing, too much, or not clear what.
    """
    _check_name(wanted.name)
    ways = [bool(wanted.sources), wanted.shell_command is not None, wanted.stdin]
    if sum(ways) > 1:
        raise UsageError("SOURCE, --command and --stdin exclude each other", "run snap once each")
    if wanted.shell_command is not None or wanted.stdin:
        return [OpenedPlace([_printed(wanted)])]
    configured = _configured(settings)
    if not wanted.sources and not configured:
        raise UsageError(
            "nothing to back up",
            "name a SOURCE such as sqlite:events.db, --command or --stdin, or write a "
            "configuration: snap config example",
        )
    places = _Places(wanted, settings, last)
    if not wanted.sources:
        return [places.configured(table) for table in configured.values()]
    if wanted.name is not None and len(wanted.sources) > 1:
        raise UsageError("--name is for a single source", "back up the others in runs of their own")
    return [
        places.configured(configured[text]) if text in configured else places.said(text)
        for text in wanted.sources
    ]


def _configured(settings: Settings) -> dict[str, "SourceTable"]:
    found = settings.configuration
    return {} if found is None else {table.name: table for table in found.sources}


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


def _printed(wanted: Wanted) -> Source:
    if not wanted.name:
        raise UsageError("--command and --stdin need --name", "add --name NAME")
    if wanted.excludes:
        raise UsageError("--exclude is for files only")
    if wanted.shell_command is not None:
        return CommandSource(wanted.shell_command, name=wanted.name, clock=system_clock)
    if sys.stdin.isatty():
        raise UsageError("--stdin reads a pipe or a file, not a terminal")
    return StdinSource(sys.stdin.buffer, name=wanted.name, clock=system_clock)


class _Places:
    def __init__(self, wanted: Wanted, settings: Settings, last: Mapping[str, Component]) -> None:
        self._wanted = wanted
        self._settings = settings
        self._around = Surroundings(
            spool_dir=settings.spool_dir,
            state_dir=settings.state_dir,
            lock_seconds=wanted.lock_seconds,
            neo4j=neo4j_access(
                settings,
                database=wanted.database or "",
                skip_unchanged=wanted.skip_unchanged,
                offline=wanted.offline,
            ),
            previous=lambda name: last[name].statistics if name in last else None,
            clock=system_clock,
        )

    def said(self, text: str) -> OpenedPlace:
        """Return the sources at a place that the command line names."""
        self._refuse_dry_run(parse_place(text)[0])
        wanted = self._wanted
        return open_place(text, name=wanted.name, excludes=wanted.excludes, around=self._around)

    def configured(self, table: "SourceTable") -> OpenedPlace:
        """Return the sources that the configuration names; one that cannot be had stands for them.

        Raises:
            UsageError: the command line says something that is not for them.
        """
        self._refuse_dry_run(table.kind)
        if self._wanted.excludes or self._wanted.database:
            raise UsageError("--exclude and --database are for places, not for configured sources")
        found = self._settings.configuration
        if found is None:
            raise UsageError(f"{table.name} is not configured")
        name = self._wanted.name or table.name
        place = _place_of(table, found)
        try:
            if table.kind == "command":
                source = CommandSource(place, name=name, clock=system_clock)
                return OpenedPlace([source])
            return open_place(
                f"{table.kind}:{place}",
                name=name,
                excludes=tuple(table.values.get("exclude", ())),
                around=self._around_of(table, found),
            )
        except SnapError as error:
            return OpenedPlace([UnavailableSource(table.kind, place, name, error)])

    def _around_of(self, table: "SourceTable", found: "Configuration") -> Surroundings:
        return replace(
            self._around,
            neo4j=configured_access(self._around.neo4j, table, found),
            lock_seconds=float(table.values.get("lock_seconds", self._around.lock_seconds)),
        )

    def _refuse_dry_run(self, kind: str) -> None:
        if self._wanted.dry_run and kind in (NATIVE, DOCKER):
            raise UsageError(
                "--dry-run of a Neo4j would stop its server", "leave it out, or back it up for real"
            )


def _place_of(table: "SourceTable", found: "Configuration") -> str:
    key = next((key for key in _PLACE_KEYS if key in table.values), None)
    if key is None:
        return ""
    text = str(table.values[key])
    return found.path_of(text) if key in _PATH_KEYS else text


def require_unique_names(sources: Sequence[Source]) -> None:
    """Refuse two sources of one name.

    Raises:
        UsageError: there are; both places are named.
    """
    places: dict[str, str] = {}
    for source in sources:
        if source.name in places:
            raise UsageError(
                f"two sources have the name {source.name!r}: "
                f"{places[source.name]} and {source.place}",
                "back up one of them in a run of its own, with --name",
            )
        places[source.name] = source.place
