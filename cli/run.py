"""``snap run``: the night's work in one command."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import click

from snap.errors import SnapError
from snap.repo.prune import PruneReport
from snap.repo.repository import Repository
from snap.repo.snapshot import Snapshot

from . import backup, check, forget, prune, replicate, status
from .copies import configured_copies, fallback_copies
from .errors import DAMAGED, FAILED, INCOMPLETE, OK, print_error, words_of_os_error, worst
from .options import SnapCommand
from .output import print_json, print_table, shown_duration
from .progress import Ticks, open_reporter
from .session import open_session, other_copies
from .settings import Settings

_RESULTS = {OK: "ok", INCOMPLETE: "incomplete", DAMAGED: "damage or a broken rule"}


@dataclass(slots=True)
class Step:
    """One part of the run, and how it ended."""

    name: str
    code: int = OK
    seconds: float = 0.0
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)


Work = Callable[[Step], int]
"""Does a step, keeps its summary in it, and returns its exit code."""


@click.command(cls=SnapCommand)
@click.option(
    "--read-data-subset",
    metavar="N%",
    default="5%",
    show_default=True,
    help="How large a share of the packs is read and opened.",
)
@click.option("--max-age", metavar="SPAN", help="Read also what was not read for so long: 30d, 6m.")
@click.pass_obj
def command(settings: Settings, *, read_data_subset: str, max_age: str | None) -> int:
    """Do the night's work: backup, sample check, forget, prune, replicate, status.

    Backs up all configured sources, checks the repository and reads a share of it (what was not
    read for longest first), forgets what a configured policy lets go and gives its space back,
    brings all configured copies up to date (and does there as their own policies say), and says
    how things stand. A step that fails does not keep the next from being done; the exit code is
    the worst of theirs.
    """
    sample = check.parse_sample(read_data_subset, max_age)
    planned = backup.PlannedBackup(backup.Request(), settings)
    with open_session(settings) as repository:
        night = _Night(repository, settings)
        night.take("backup", lambda step: _back_up(planned, repository, step))
        night.take("check", lambda step: night.check(sample, step))
        if settings.configuration is not None and "retention" in settings.configuration.values:
            night.take("forget", night.let_go)
            night.take("prune", night.prune)
        if configured_copies(settings):
            night.take("replicate", night.replicate)
            night.take_forgetting_copies()
        night.take("status", night.status)
    code = worst([step.code for step in night.steps])
    if settings.json:
        print_json(_summary(night.steps, code))
    elif not settings.quiet:
        _print_steps(night.steps)
    return code


def _back_up(planned: backup.PlannedBackup, repository: Repository, step: Step) -> int:
    snapshot: Snapshot = planned.run(repository, print_summary=False)
    step.result = backup.summary_of(snapshot, dry_run=False)
    return backup.code_of(snapshot)


class _Night:
    """The steps of one run in one open repository."""

    def __init__(
        self, repository: Repository, settings: Settings, ticks: Ticks = time.monotonic
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._ticks = ticks
        self.steps: list[Step] = []

    def take(self, name: str, work: Work) -> None:
        """Do one step; what goes wrong is said and kept in it."""
        step = Step(name)
        self.steps.append(step)
        begun = self._ticks()
        try:
            step.code = work(step)
        except SnapError as error:
            known = error.exit_code in (INCOMPLETE, DAMAGED)
            self._fail(step, str(error), error.hint, error.exit_code if known else FAILED)
        except OSError as error:
            self._fail(step, words_of_os_error(error), "", FAILED)
        step.seconds = self._ticks() - begun

    def _fail(self, step: Step, message: str, hint: str, code: int) -> None:
        step.code, step.error = code, message
        print_error(f"{step.name}: {message}", hint, code=code, as_json=self._settings.json)

    def check(self, sample: check.Sample, step: Step) -> int:
        others = other_copies(fallback_copies(self._settings, ()), self._settings)
        checked = check.check_repository(self._repository, sample, others, self._settings)
        step.result = check.summary_of(checked)
        if not self._settings.json:
            check.print_checked(checked, self._settings)
        return OK if checked.report.ok else DAMAGED

    def let_go(self, step: Step) -> int:
        return self._told(step, forget.forget_as_configured(self._repository, self._settings))

    def _told(self, step: Step, outcome: forget.Outcome) -> int:
        step.result = forget.record_of(outcome)
        if not self._settings.json:
            forget.print_outcome(outcome, self._settings)
        return forget.code_of(outcome)

    def take_forgetting_copies(self) -> None:
        """Let go in each copy what its own policy lets go."""
        found = self._settings.configuration
        own = {c.location for c in found.copies if c.retention} if found is not None else set()
        for place in configured_copies(self._settings):
            if place.location in own:
                there = replace(self._settings, repository=place.location)
                self.take(f"forget in {place.name}", partial(self._forget_in, there))
                self.take(f"prune in {place.name}", partial(self._prune_in, there))

    def _forget_in(self, there: Settings, step: Step) -> int:
        with open_session(there) as copy:
            return self._told(step, forget.forget_as_configured(copy, there))

    def prune(self, step: Step) -> int:
        return self._pruned(step, prune.prune_repository(self._repository, self._settings))

    def _prune_in(self, there: Settings, step: Step) -> int:
        with open_session(there) as copy:
            return self._pruned(step, prune.prune_repository(copy, there))

    def _pruned(self, step: Step, report: PruneReport) -> int:
        step.result = prune.record_of(report, dry_run=False)
        if not self._settings.json:
            prune.print_report(report, self._settings, dry_run=False)
        return prune.code_of(report)

    def replicate(self, step: Step) -> int:
        options = replicate.replicate_options()
        with open_reporter(self._settings, "copying to") as reporter:
            run = replicate.CopyRun(self._repository, options, self._settings, reporter)
            outcomes = [run.into(place) for place in configured_copies(self._settings)]
        step.result = replicate.summary_of(outcomes, dry_run=False)
        if not self._settings.json and not self._settings.quiet:
            replicate.print_outcomes(outcomes, dry_run=False)
        return replicate.code_of(outcomes)

    def status(self, step: Step) -> int:
        report = status.look(self._repository, self._settings)
        step.result = status.record_of(report)
        if not self._settings.json and not (self._settings.quiet and report.ok):
            status.print_report(report, self._settings)
        return OK if report.ok else DAMAGED


def _summary(steps: list[Step], code: int) -> dict[str, Any]:
    return {
        "message_type": "summary",
        "ok": code == OK,
        "exit_code": code,
        "steps": [
            {
                "step": step.name,
                "exit_code": step.code,
                "duration_seconds": round(step.seconds, 6),
                "error": step.error or None,
                "result": {k: v for k, v in step.result.items() if k != "message_type"},
            }
            for step in steps
        ],
    }


def _print_steps(steps: list[Step]) -> None:
    print()
    print_table(
        ("step", ">time", "~result"),
        [
            (step.name, shown_duration(step.seconds), _RESULTS.get(step.code, "failed"))
            for step in steps
        ],
    )
