"""``snap restore --in-place``: databases back where they live, proven, or as they were."""

import os
import socket
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

from snap.errors import SnapError, SourceError, TargetError, UsageError
from snap.repo.catalog import BEFORE_RESTORE_TAG
from snap.repo.repository import Repository
from snap.repo.restore import run_restore
from snap.repo.snapshot import SUCCESS, Component, Snapshot
from snap.repo.source import Source
from snap.sources.chroma_in_place import ChromaPlace
from snap.sources.folder import FolderTarget
from snap.sources.in_place import LivePlace, replace_in_place
from snap.sources.neo4j_restore import dump_name, how_to_restore, is_backup
from snap.sources.sqlite_in_place import SqlitePlace

from .errors import DAMAGED, INCOMPLETE, OK, worst
from .errors import FAILED as EXIT_FAILED
from .in_place_outcome import Outcome, keep_what_is_there
from .neo4j_in_place import Neo4jRestore, Neo4jServerParts, describe, neo4j_parts
from .output import print_json, print_line, print_warning, raw_name_fields, shown_size
from .progress import open_reporter
from .settings import Settings
from .times import local_time

_HINTS = {
    "files": "restore it with --target FOLDER --overwrite",
    "command": "restore it with --target, or pipe it: snap dump SNAP:COMPONENT/FILE | PROGRAM",
    "stdin": "restore it with --target, or pipe it: snap dump SNAP:COMPONENT/FILE | PROGRAM",
}


def restore_in_place(
    repository: Repository,
    snapshot: Snapshot,
    name: str | None,
    settings: Settings,
    *,
    yes: bool,
) -> int:
    """Replace the named component's database, or all of them, by what the snapshot holds.

    One that fails is left as it was and does not stop the others. Returns the exit code.

    Raises:
        UsageError: what is named has no place to go back to, or nobody can be asked.
    """
    servers, notes = neo4j_parts(snapshot, name)
    parts, left_out = _parts(snapshot, name, servers, notes)
    repository.require_full("restore")
    restores = [Neo4jRestore(repository, snapshot, server, settings) for server in servers]
    if not yes and not _agreed(snapshot, parts, restores, settings):
        print_line("nothing was changed")
        return EXIT_FAILED
    for message in (*notes.values(), *left_out):
        print_warning(message, as_json=settings.json)
    run = _Run(repository, snapshot, settings)
    outcomes = [run.restore(component, place) for component, place in parts]
    outcomes += [outcome for restore in restores for outcome in restore.run()]
    _print_result(snapshot, outcomes, settings)
    return worst([*(o.exit_code for o in outcomes), INCOMPLETE if left_out else OK])


_Parts = list[tuple[Component, LivePlace]]


def _parts(
    snapshot: Snapshot,
    name: str | None,
    servers: Sequence[Neo4jServerParts],
    notes: Collection[str],
) -> tuple[_Parts, list[str]]:
    """Return the components with their places, and why others have none.

    Those of ``servers`` are left out, and those that ``notes`` name.
    """
    parts: _Parts = []
    problems: list[UsageError] = []
    seen = {component.name for server in servers for component in server.components} | set(notes)
    for component in snapshot.components:
        if name in (None, component.name) and component.name not in seen:
            try:
                parts.append((component, _place_of(component)))
            except UsageError as error:
                problems.append(error)
    if not parts and not servers:
        raise problems[0]
    return parts, [f"{problem} ({problem.hint})" for problem in problems]


def _place_of(component: Component) -> LivePlace:
    if component.subtree is None:
        raise UsageError(
            f"{component.name} is not in this snapshot: its backup failed: {component.error}",
            "choose another snapshot",
        )
    if is_backup(component):
        file = f"FOLDER/{component.name}/{dump_name(component)}"
        raise UsageError(
            f"{component.name} was backed up online by Neo4j Enterprise, and only its own program "
            "puts it back",
            f"restore it with --target FOLDER, then {how_to_restore(component, file)}",
        )
    if component.kind == "sqlite":
        return SqlitePlace(Path(component.place), component.statistics)
    if component.kind == "chroma":
        return ChromaPlace(Path(component.place), component.statistics)
    raise UsageError(
        f"{component.name} ({component.kind}:) is not put back into its place",
        _HINTS.get(component.kind, "restore it with --target"),
    )


def _agreed(
    snapshot: Snapshot, parts: _Parts, restores: Sequence[Neo4jRestore], settings: Settings
) -> bool:
    """Say what will be replaced, and ask."""
    if settings.json or not sys.stdin.isatty():
        raise UsageError(
            "--in-place replaces databases, and nobody can be asked here",
            "add --yes if that is what you want",
        )
    host = socket.gethostname()
    if snapshot.hostname != host:
        print_line(f"note: snapshot {snapshot.short_id} was made on {snapshot.hostname}")
    for component, place in parts:
        print_line(
            f"{component.name}: {place.path} ({_shown_state(place)}) will be replaced by its state "
            f"of {local_time(component.point_ns)}"
        )
    describe(restores)
    print_line(f"What is there now is kept in a snapshot tagged {BEFORE_RESTORE_TAG}.")
    return click.confirm("Go on?", default=False)


def _shown_state(place: LivePlace) -> str:
    try:
        found = os.stat(place.path)
    except OSError:
        return "missing"
    return f"{shown_size(found.st_size)}, written {local_time(found.st_mtime_ns)}"


class _Run:
    def __init__(self, repository: Repository, snapshot: Snapshot, settings: Settings) -> None:
        self._repository = repository
        self._snapshot = snapshot
        self._settings = settings

    def restore(self, component: Component, place: LivePlace) -> Outcome:
        outcome = Outcome(component)
        try:
            replaced = replace_in_place(
                place,
                save=lambda: self._save(outcome, place),
                fill=lambda folder: self._fill(component, folder),
            )
            outcome.proofs = replaced.proofs
            outcome.warnings += replaced.warnings
        except (SnapError, OSError) as error:
            outcome.fail(error, self._settings)
        if component.status != SUCCESS and not outcome.error:
            outcome.exit_code = INCOMPLETE
            outcome.warnings.append("some of it could not be read when this was backed up")
        for warning in outcome.warnings:
            print_warning(f"{component.name}: {warning}", as_json=self._settings.json)
        return outcome

    def _save(self, outcome: Outcome, place: LivePlace) -> None:
        component = outcome.component
        try:
            sources = place.sources(component.name, self._settings.spool_dir)
            outcome.safety = self._back_up(sources)
        except SourceError as error:
            # What is damaged cannot be dumped; it is kept as it is, and may hold what is wanted.
            outcome.warnings.append(f"what is there was kept as plain files: {error}")
            outcome.safety = self._back_up(place.plain_files(component.name))

    def _back_up(self, sources: Sequence[Source]) -> Snapshot:
        return keep_what_is_there(self._repository, self._snapshot, sources, self._settings)

    def _fill(self, component: Component, folder: Path) -> None:
        with open_reporter(self._settings, "restoring") as reporter:
            reporter.start(component.name, component.bytes)
            try:
                result = run_restore(
                    self._repository,
                    self._snapshot,
                    component.name,
                    (),
                    FolderTarget(folder, read_back=True),
                    reporter=reporter,
                )
            finally:
                reporter.finish()
            for warning in result.warnings:
                reporter.warn(f"{component.name}: {warning}")
        if result.problems:
            error = TargetError(
                f"{result.problems[0][1]}; nothing was changed",
                "restore an earlier snapshot, or what is whole of this one with --target",
            )
            error.exit_code = DAMAGED
            raise error


def _print_result(snapshot: Snapshot, outcomes: Sequence[Outcome], settings: Settings) -> None:
    if settings.json:
        print_json(_summary(snapshot, outcomes))
    elif not settings.quiet:
        for outcome in outcomes:
            for line in _lines(outcome):
                print_line(line)


def _lines(outcome: Outcome) -> list[str]:
    component = outcome.component
    if outcome.error:
        return [f"{component.name}: not restored"]
    lines = [
        f"{component.name}: {component.place} is as of {local_time(component.point_ns)}",
        *(f"{component.name}: {proof}" for proof in outcome.proofs),
    ]
    if outcome.safety is not None:
        lines.append(
            f"{component.name}: what was there before is snapshot {outcome.safety.short_id}"
        )
    return lines


def _summary(snapshot: Snapshot, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "message_type": "summary",
        "snapshot_id": snapshot.id.hex(),
        "in_place": True,
        "ok": all(o.exit_code == OK for o in outcomes),
        "components": [
            {
                "name": o.component.name,
                "kind": o.component.kind,
                "status": o.status,
                **raw_name_fields("place", os.fsencode(o.component.place)),
                "proofs": o.proofs,
                "safety_snapshot_id": None if o.safety is None else o.safety.id.hex(),
                "warnings": o.warnings,
                "error": o.error,
            }
            for o in outcomes
        ],
    }
