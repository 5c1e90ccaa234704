"""``snap restore``: components of a snapshot into a folder or their places, and proven there."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from snap.errors import SnapError, UsageError
from snap.repo.browse import Place, require_tree, resolve_path, walk
from snap.repo.repository import Repository
from snap.repo.restore import RestoreResult, run_restore
from snap.repo.snapshot import SUCCESS, Component, Snapshot
from snap.sources.folder import FolderTarget
from snap.sources.verify import verify_component

from .copies import copy_option, fallback_copies
from .errors import DAMAGED, INCOMPLETE, OK, print_error, words_of_os_error, worst
from .errors import FAILED as EXIT_FAILED
from .losses import Gaps
from .memory import keep_large_blocks
from .options import SnapCommand
from .output import (
    counted,
    print_json,
    print_line,
    print_warning,
    raw_name_fields,
    shown,
    shown_path,
    shown_size,
)
from .progress import ShownReporter, open_reporter
from .session import find_snapshot, open_session, split_selector
from .settings import Settings


@dataclass(frozen=True, slots=True)
class _Request:
    """The command's arguments, as click names them."""

    snapshot: str
    target: str | None
    in_place: bool
    yes: bool
    overwrite: bool
    verify: bool
    dry_run: bool
    copies: tuple[str, ...]


@dataclass(slots=True)
class _Outcome:
    """What became of one component."""

    component: Component
    target: Path
    result: RestoreResult = field(default_factory=RestoreResult)
    proofs: list[str] = field(default_factory=list)
    error: str = ""
    exit_code: int = OK

    @property
    def status(self) -> str:
        if self.error:
            return "failed"
        return "success" if self.exit_code == OK else "partial"


@click.command(cls=SnapCommand)
@click.argument("snapshot", metavar="SNAP[:COMPONENT[/PATH]]")
@click.option("--target", metavar="DIR", help="Write into this folder.")
@click.option("--in-place", is_flag=True, help="Replace the databases where they live.")
@click.option("--yes", is_flag=True, help="Do not ask before replacing.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option(
    "--verify",
    is_flag=True,
    help="Read all files again from the disk and compare, before anything is replaced.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written, write nothing.")
@copy_option
@click.pass_obj
def command(settings: Settings, /, **arguments: Any) -> int:
    """Put a snapshot, or a part of it, back and prove that it is whole.

    With --target each component goes into a folder of its own: DIR/COMPONENT/... With --in-place
    databases are replaced where they live: staged beside, proven, exchanged; what was there is kept
    in a snapshot, and comes back if anything is wrong. SNAP is an id or its beginning, 'latest', or
    @2026-11-01[T02:00]: the last one not after it.
    """
    request = _Request(**arguments)
    selector, place = split_selector(request.snapshot)
    others = fallback_copies(settings, request.copies)
    if request.in_place:
        # It needs every kind of source, which takes as long to load as all else.
        from .in_place import restore_in_place  # noqa: PLC0415 - as said

        _check_in_place(request, place)
        with open_session(settings, others) as repository:
            chosen = find_snapshot(repository, settings, selector, place)
            name = resolve_path(chosen, place)[0] if place else None
            return restore_in_place(repository, chosen, name, settings, yes=request.yes)
    if not request.target:
        raise UsageError("nothing says where to restore to", "add --target FOLDER, or --in-place")
    root = Path(request.target)
    with open_session(settings, others) as repository:
        keep_large_blocks()
        chosen = find_snapshot(repository, settings, selector, place)
        components, path = _chosen_components(chosen, place)
        if request.dry_run:
            gaps = Gaps(settings)
            parts = [_plan(repository, chosen, c, path, gaps) for c in components]
            return worst([_print_plan(chosen, parts, root, settings), gaps.exit_code])
        repository.require_full("restore")
        _make_folder(root)
        run = _Run(
            repository,
            chosen,
            settings,
            overwrite=request.overwrite,
            verify=request.verify,
        )
        with open_reporter(settings, "restoring") as reporter:
            outcomes = [run.restore(c, path, root / c.name, reporter) for c in components]
    _print_result(chosen, outcomes, root, settings)
    return worst([outcome.exit_code for outcome in outcomes])


def _check_in_place(request: _Request, place: str) -> None:
    if request.target is not None:
        raise UsageError("--target and --in-place exclude each other", "choose one")
    if request.overwrite or request.dry_run:
        raise UsageError("--overwrite and --dry-run go with --target only")
    if "/" in place:
        raise UsageError(
            "--in-place replaces whole databases", "restore a part of one with --target"
        )


def _chosen_components(snapshot: Snapshot, place: str) -> tuple[list[Component], Place]:
    if not place:
        return list(snapshot.components), ()
    name, path = resolve_path(snapshot, place)
    return [require_tree(snapshot, name)], path


def _make_folder(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SnapError(
            f"cannot make the target folder: {words_of_os_error(error)}",
            "choose another one with --target",
        ) from error


class _Run:
    """Restores one component after the other; one that fails does not stop the others."""

    def __init__(
        self,
        repository: Repository,
        snapshot: Snapshot,
        settings: Settings,
        *,
        overwrite: bool,
        verify: bool,
    ) -> None:
        self._repository = repository
        self._snapshot = snapshot
        self._settings = settings
        self._overwrite = overwrite
        self._verify = verify

    def restore(
        self, component: Component, path: Place, folder: Path, reporter: ShownReporter
    ) -> _Outcome:
        outcome = _Outcome(component, folder)
        if component.subtree is None:
            outcome.error = _not_there(component)
            outcome.exit_code = INCOMPLETE
            reporter.warn(f"{component.name}: {outcome.error}")
            return outcome
        try:
            self._write(outcome, path, reporter)
        except (SnapError, OSError) as error:
            self._fail(outcome, error)
        return outcome

    def _write(self, outcome: _Outcome, path: Place, reporter: ShownReporter) -> None:
        component = outcome.component
        if component.kind.startswith("neo4j") and not path and self._write_dump(outcome, reporter):
            return
        reporter.start(component.name, component.bytes if not path else None)
        try:
            outcome.result = run_restore(
                self._repository,
                self._snapshot,
                component.name,
                path,
                FolderTarget(outcome.target, overwrite=self._overwrite, read_back=self._verify),
                reporter=reporter,
            )
        finally:
            reporter.finish()
        for warning in outcome.result.warnings:
            reporter.warn(f"{component.name}: {warning}")
        if outcome.result.problems:
            outcome.exit_code = DAMAGED
        elif path:
            return
        else:
            outcome.proofs = verify_component(component.kind, outcome.target, component.statistics)
            self._mention_gaps(outcome, reporter)

    def _write_dump(self, outcome: _Outcome, reporter: ShownReporter) -> bool:
        """Write a Neo4j database as the dump that its own program loads; false if it is none."""
        # All that knows Neo4j takes as long to load as a fifth of what a restore of files needs.
        from snap.sources import neo4j_restore as neo4j  # noqa: PLC0415 - as said

        from .neo4j_dump import neo4j_dump  # noqa: PLC0415 - as said

        component = outcome.component
        if not neo4j.is_dump(component):
            return False
        path = outcome.target / neo4j.dump_name(component)
        digests: neo4j.FileDigests = {}
        reporter.start(component.name, None)
        try:
            pieces = neo4j_dump(self._repository, self._snapshot, component, digests)
            written = neo4j.write_dump(
                pieces, path, overwrite=self._overwrite, advance=reporter.advance
            )
        finally:
            reporter.finish()
        outcome.result.files, outcome.result.bytes = 1, written
        outcome.proofs = neo4j.verify_dump(path, component, digests)
        if neo4j.is_backup(component):
            how = neo4j.how_to_restore(component, str(path.absolute()))
            told = f"its server takes it with {how}"
            outcome.result.warnings.append(told)
            reporter.warn(f"{component.name}: {told}")
        self._mention_gaps(outcome, reporter)
        return True

    @staticmethod
    def _mention_gaps(outcome: _Outcome, reporter: ShownReporter) -> None:
        """Say what the backup could not read: it is not here, though all that is, is whole."""
        component = outcome.component
        if component.status == SUCCESS:
            return
        outcome.exit_code = INCOMPLETE
        missing = counted(len(component.problems), "entry", "entries")
        reporter.warn(f"{component.name}: {missing} could not be read when this was backed up")

    def _fail(self, outcome: _Outcome, error: SnapError | OSError) -> None:
        if isinstance(error, SnapError):
            message, hint, code = str(error), error.hint, error.exit_code
        else:
            message, hint, code = words_of_os_error(error), "", EXIT_FAILED
        outcome.error, outcome.exit_code = message, code
        print_error(
            f"{outcome.component.name}: {message}", hint, code=code, as_json=self._settings.json
        )


def _print_result(
    snapshot: Snapshot, outcomes: list[_Outcome], root: Path, settings: Settings
) -> None:
    if settings.json:
        print_json(_summary(snapshot, outcomes, root))
        return
    for outcome in outcomes:
        for path, problem in outcome.result.problems:
            print_error(
                f"{outcome.component.name}/{shown(path)}: not restored: {problem}",
                code=DAMAGED,
                as_json=False,
            )
    if not settings.quiet:
        for outcome in outcomes:
            _print_outcome(outcome)


def _print_outcome(outcome: _Outcome) -> None:
    name = outcome.component.name
    if outcome.error:
        print_line(f"{name}: not restored")
        return
    result = outcome.result
    print_line(
        f"{name}: {counted(result.files, 'file')}, {shown_size(result.bytes)} "
        f"restored to {outcome.target}"
    )
    if result.problems:
        print_line(f"{name}: {counted(len(result.problems), 'file')} could not be restored")
    for proof in outcome.proofs:
        print_line(f"{name}: {proof}")


def _summary(snapshot: Snapshot, outcomes: list[_Outcome], root: Path) -> dict[str, Any]:
    return {
        "message_type": "summary",
        "snapshot_id": snapshot.id.hex(),
        **raw_name_fields("target", os.fsencode(root)),
        "ok": all(o.exit_code == OK for o in outcomes),
        "components": [
            {
                "name": o.component.name,
                "kind": o.component.kind,
                "status": o.status,
                **raw_name_fields("target", os.fsencode(o.target)),
                "files": o.result.files,
                "bytes": o.result.bytes,
                "proofs": o.proofs,
                "problems": [
                    {**raw_name_fields("path", path), "problem": problem}
                    for path, problem in o.result.problems
                ],
                "warnings": o.result.warnings,
                "error": o.error,
            }
            for o in outcomes
        ],
    }


@dataclass(frozen=True, slots=True)
class _PlannedPart:
    """What a restore of one component would write."""

    component: Component
    files: int
    bytes: int


def _plan(
    repository: Repository,
    snapshot: Snapshot,
    component: Component,
    path: Place,
    gaps: Gaps,
) -> _PlannedPart:
    settings = gaps.settings
    files = size = 0
    for name, place, node in walk(repository, snapshot, component.name, path, gaps.tell):
        if settings.verbosity and not settings.json:
            print_line(shown_path(name, place))
        if node.content is not None:
            files += 1
            size += node.content.size_bytes
    return _PlannedPart(component, files, size)


def _print_plan(
    snapshot: Snapshot, parts: list[_PlannedPart], root: Path, settings: Settings
) -> int:
    there = [p for p in parts if p.component.subtree is not None]
    for part in parts:
        if part not in there:
            message = f"{part.component.name}: {_not_there(part.component)}"
            print_warning(message, as_json=settings.json)
    if settings.json:
        print_json(
            {
                "message_type": "summary",
                "dry_run": True,
                "snapshot_id": snapshot.id.hex(),
                **raw_name_fields("target", os.fsencode(root)),
                "components": [
                    {
                        "name": p.component.name,
                        "kind": p.component.kind,
                        **raw_name_fields("target", os.fsencode(root / p.component.name)),
                        "files": p.files,
                        "bytes": p.bytes,
                    }
                    for p in there
                ],
            }
        )
    else:
        for line in _plan_lines(there, root):
            print_line(line)
    return OK if len(parts) == len(there) else INCOMPLETE


def _plan_lines(parts: list[_PlannedPart], root: Path) -> Iterator[str]:
    for part in parts:
        name = part.component.name
        amount = f"{counted(part.files, 'file')}, {shown_size(part.bytes)}"
        there = " (there is something already)" if os.path.lexists(root / name) else ""
        yield f"{name}: {amount} would be written to {root / name}{there}"
    yield "dry run: nothing was written"


def _not_there(component: Component) -> str:
    return f"not in this snapshot: its backup failed: {component.error}"
