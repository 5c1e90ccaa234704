"""``snap replicate``: copies brought up to date."""

import os
import shlex
import socket
import time
from dataclasses import dataclass, field, replace
from typing import Any

import click

from snap.backends.base import Backend
from snap.backends.memory import MemoryBackend
from snap.errors import SnapError
from snap.repo.config import RepositoryNotFound
from snap.repo.copy import create_copy, open_copy, refuse_taken
from snap.repo.lease import Owner
from snap.repo.replicate import OPERATION, ReplicateOptions, ReplicateReport, run_replicate
from snap.repo.repository import Repository

from .copies import CopyPlace, chosen_copies
from .errors import DAMAGED, FAILED, INCOMPLETE, OK, print_error
from .options import SnapCommand
from .output import counted, print_json, print_line, print_table, shown_duration, shown_size
from .progress import ShownReporter, Ticks, open_reporter
from .retention import keeps_of_copy
from .session import open_session, open_store, words_of
from .settings import Settings


@dataclass(slots=True)
class Outcome:
    """What became of one copy; ``error`` where it could not be brought up to date."""

    copy: CopyPlace
    report: ReplicateReport = field(default_factory=ReplicateReport)
    seconds: float = 0.0
    error: str = ""
    error_code: int = OK
    made: bool = False

    @property
    def ok(self) -> bool:
        """Return whether the copy has all that the repository has."""
        return not self.error and self.report.ok


@click.command(cls=SnapCommand)
@click.argument("copies", metavar="[COPY]...", nargs=-1)
@click.option("--init", "make", is_flag=True, help="Make copies that do not exist yet.")
@click.option("--verify", is_flag=True, help="Read again all that the copies hold.")
@click.option("--dry-run", is_flag=True, help="Say what would be put, put nothing.")
@click.pass_obj
def command(
    settings: Settings, /, *, copies: tuple[str, ...], make: bool, verify: bool, dry_run: bool
) -> int:
    """Bring the copies of the repository up to date.

    COPY is a name in the configuration or a place; without COPY all that are configured. Packs go
    as they are, so no key that reads content is needed; what was cut short is taken up again. A
    copy that cannot be reached does not stop the others.
    """
    places = chosen_copies(settings, copies)
    options = replicate_options(verify=verify, dry_run=dry_run)
    with open_session(settings) as repository, open_reporter(settings, "copying to") as reporter:
        run = CopyRun(repository, options, settings, reporter, make)
        outcomes = [run.into(place) for place in places]
    if settings.json:
        print_json(summary_of(outcomes, dry_run=dry_run))
    elif not settings.quiet:
        print_outcomes(outcomes, dry_run=dry_run)
    return code_of(outcomes)


def replicate_options(*, verify: bool = False, dry_run: bool = False) -> ReplicateOptions:
    """Return the options of a run by this process."""
    owner = Owner(OPERATION, socket.gethostname(), os.getpid())
    return ReplicateOptions(owner, verify=verify, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class CopyRun:
    """Brings one copy after the other up to date; one that fails does not stop the others.

    ``make``: also make those that do not exist yet.
    """

    repository: Repository
    options: ReplicateOptions
    settings: Settings
    reporter: ShownReporter
    make: bool = False
    ticks: Ticks = time.monotonic

    def into(self, place: CopyPlace) -> Outcome:
        """Bring one copy up to date; what goes wrong is said and kept in the outcome."""
        outcome = Outcome(place)
        begun = self.ticks()
        try:
            self._replicate(outcome)
        except SnapError as error:
            outcome.error, outcome.error_code = str(error), error.exit_code
            print_error(
                f"{place.name}: {error}",
                self._hint(place, error),
                code=error.exit_code,
                as_json=self.settings.json,
            )
        outcome.seconds = self.ticks() - begun
        _warn(outcome, self.reporter)
        return outcome

    def _hint(self, place: CopyPlace, error: SnapError) -> str:
        if not isinstance(error, RepositoryNotFound):
            return error.hint
        # As it can be typed; a store's own words for its place cannot.
        places = map(shlex.quote, (self.settings.repository or "", place.location))
        return "make it: snap init --copy-of {} -r {}".format(*places)

    def _replicate(self, outcome: Outcome) -> None:
        backend = open_store(self.settings, outcome.copy.location)
        try:
            if self.make and _is_missing(self.repository, backend):
                outcome.made = True
                if self.options.dry_run:
                    refuse_taken(self.repository, backend)
                    backend.close()
                    backend = MemoryBackend()
                create_copy(self.repository, backend)
            keeps = keeps_of_copy(self.settings, outcome.copy.location)
            outcome.report = run_replicate(
                self.repository,
                backend,
                replace(self.options, keeps=keeps),
                self.reporter,
                name=outcome.copy.name,
            )
        finally:
            backend.close()


def _is_missing(repository: Repository, backend: Backend) -> bool:
    try:
        open_copy(repository, backend)
    except RepositoryNotFound:
        return True
    return False


def _warn(outcome: Outcome, reporter: ShownReporter) -> None:
    name, report = outcome.copy.name, outcome.report
    for problem in report.problems:
        reporter.warn(f"{name}: not copied, or damaged there: {words_of(problem)}")
    for snapshot in report.held_back:
        reporter.warn(
            f"{name}: snapshot {snapshot.short_id} was not copied: what it needs is not whole "
            "here; see 'snap check' and 'snap repair'"
        )
    for slot in report.extra_slots:
        reporter.warn(
            f"{name}: has the key slot {slot.rpartition('/')[2][:8]}, which the repository does "
            f"not have: was it removed, remove it there as well: snap -r {name} key remove"
        )
    for warning in report.warnings:
        reporter.warn(f"{name}: {warning}")


def code_of(outcomes: list[Outcome]) -> int:
    """Return the exit code: damage, all failed, some failed, none."""
    if any(o.error_code == DAMAGED or not (o.error or o.report.ok) for o in outcomes):
        return DAMAGED
    failed = [outcome for outcome in outcomes if outcome.error]
    if not failed:
        return OK
    return FAILED if len(failed) == len(outcomes) else INCOMPLETE


def summary_of(outcomes: list[Outcome], *, dry_run: bool) -> dict[str, Any]:
    """Return the summary for programs."""
    return {
        "message_type": "summary",
        "ok": all(outcome.ok for outcome in outcomes),
        "dry_run": dry_run,
        "copies": [_record(outcome) for outcome in outcomes],
    }


def _record(outcome: Outcome) -> dict[str, Any]:
    report = outcome.report
    return {
        "name": outcome.copy.name,
        "location": outcome.copy.location,
        "ok": outcome.ok,
        "packs": report.packs,
        "bytes": report.bytes,
        "snapshots": report.snapshots,
        "bytes_read": report.bytes_read,
        "ahead": report.ahead,
        "made": outcome.made,
        "duration_seconds": round(outcome.seconds, 6),
        "held_back": [snapshot.id.hex() for snapshot in report.held_back],
        "problems": [{"object": p.object, "problem": p.problem} for p in report.problems],
        "error": outcome.error or None,
    }


def print_outcomes(outcomes: list[Outcome], *, dry_run: bool) -> None:
    """Print what was put into each copy."""
    print_table(
        ("~copy", ">snapshots", ">packs", ">size", ">time", "~result"),
        [
            (
                outcome.copy.name,
                f"{outcome.report.snapshots:,}",
                f"{outcome.report.packs:,}",
                shown_size(outcome.report.bytes),
                shown_duration(outcome.seconds),
                _result(outcome, dry_run=dry_run),
            )
            for outcome in outcomes
        ],
    )
    if dry_run:
        print_line("dry run: nothing was copied")


def _result(outcome: Outcome, *, dry_run: bool) -> str:
    if outcome.error:
        return "failed"
    report = outcome.report
    words = "would be up to date" if dry_run else "up to date"
    if not report.ok:
        words = "incomplete"
    if outcome.made:
        words += ", new"
    if report.ahead:
        words += f", with {counted(report.ahead, 'snapshot')} that the repository does not have"
    return words
