"""``snap check``: whether all that is stored is whole."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from snap.errors import UsageError
from snap.repo.catalog import Problem
from snap.repo.check import CheckReport, run_check
from snap.repo.fallback import Fallback, OtherCopy
from snap.repo.repository import Repository
from snap.repo.retention import Span

from .check_backend import check_backend
from .copies import copy_option, fallback_copies
from .errors import DAMAGED, OK
from .losses import losses_record, print_losses
from .options import SnapCommand
from .output import counted, print_json, print_line, print_table, shown_size
from .progress import open_reporter
from .session import open_session, other_copies
from .settings import Settings
from .verification import moment_before, parse_age, shown_oldest, told_verified


def parse_share(text: str) -> float:
    """Return the fraction that a percentage means.

    Raises:
        UsageError: not a percentage above 0 and up to 100.
    """
    try:
        percent = float(text.removesuffix("%")) if text.endswith("%") else -1.0
    except ValueError:
        percent = -1.0
    if not 0 < percent <= 100:
        raise UsageError(f"not a share: {text!r}", "write a percentage, such as 10%")
    return percent / 100


@click.command(cls=SnapCommand)
@click.option("--read-data", is_flag=True, help="Read and open everything that is stored.")
@click.option(
    "--read-data-subset", metavar="N%", help="Read and open a share: what is most overdue first."
)
@click.option(
    "--max-age", metavar="SPAN", help="Read and open what was not read for so long: 30d, 6m."
)
@click.option("--backend", is_flag=True, help="Try what the store promises, instead.")
@copy_option
@click.pass_obj
def command(
    settings: Settings,
    *,
    read_data: bool,
    read_data_subset: str | None,
    max_age: str | None,
    backend: bool,
    copies: tuple[str, ...],
) -> int:
    """Check that all that is stored is whole.

    Without options: the structure, all metadata, and that every pack is there with its size. Of
    what is damaged it is said which copies have it whole. The repository remembers when each pack
    was read, so that shares that are read night by night cover everything.
    """
    is_sample = read_data_subset is not None or max_age is not None
    if backend:
        if read_data or is_sample:
            raise UsageError("--backend tries the store and reads none of the repository")
        return check_backend(settings)
    if read_data and is_sample:
        other = "--max-age" if read_data_subset is None else "--read-data-subset"
        raise UsageError(f"--read-data and {other} exclude each other")
    sample = Sample(1.0) if read_data else parse_sample(read_data_subset, max_age)
    others = other_copies(fallback_copies(settings, copies), settings)
    with open_session(settings) as repository:
        checked = check_repository(repository, sample, others, settings)
    if settings.json:
        print_json(summary_of(checked))
    else:
        print_checked(checked, settings)
    return OK if checked.report.ok else DAMAGED


@dataclass(frozen=True, slots=True)
class Sample:
    """Which packs are read: a share of them, and those not read for longer than ``max_age``."""

    fraction: float = 0.0
    max_age: Span | None = None


def parse_sample(share: str | None, max_age: str | None) -> Sample:
    """Return what ``--read-data-subset`` and ``--max-age`` mean.

    Raises:
        UsageError: not a share, or not a length of time.
    """
    return Sample(
        0.0 if share is None else parse_share(share),
        None if max_age is None else parse_age(max_age),
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and by object which copies have whole what is damaged."""

    report: CheckReport
    whole_in: Mapping[str, list[str]]


def check_repository(
    repository: Repository, sample: Sample, others: Sequence[OtherCopy], settings: Settings
) -> Checked:
    """Check a repository, remember what was read, then ask copies for what is damaged.

    Not earlier: what copies have must not hide what is damaged here.
    """
    age = sample.max_age
    with open_reporter(settings, "") as reporter:
        report = run_check(
            repository,
            read_fraction=sample.fraction,
            reporter=reporter,
            older_than_ns=None if age is None else moment_before(age, repository.clock()),
            remember=True,
        )
    elsewhere = Fallback(repository, others)
    try:
        return Checked(report, {e.object: elsewhere.whole_in(e.object) for e in report.errors})
    finally:
        elsewhere.close()


def summary_of(checked: Checked) -> dict[str, Any]:
    """Return the summary for programs."""
    report, whole_in = checked.report, checked.whole_in
    return {
        "message_type": "summary",
        "ok": report.ok,
        "errors": [
            {
                "object": e.object,
                "kind": str(e.kind),
                "problem": e.problem,
                "whole_in": whole_in[e.object],
            }
            for e in report.errors
        ],
        **losses_record(report.losses),
        "hints": list(report.hints),
        "snapshots": report.snapshots,
        "packs": report.packs,
        "blobs": report.blobs,
        "bytes_read": report.bytes_read,
        "verified_oldest": shown_oldest(report.verified),
        "never_verified": report.verified.never,
    }


def _rows(errors: Sequence[Problem]) -> list[list[str]]:
    """Return objects with their problems; of the blobs that a file lost only the first."""
    rows, lost = [], Counter[str]()
    for error in errors:
        if error.problem.startswith("needs blob "):
            lost[error.object] += 1
            if lost[error.object] > 1:
                continue
        rows.append([error.object, error.problem])
    for row in rows:
        more = lost[row[0]] - 1
        if more > 0 and row[1].startswith("needs blob "):
            row[1] += f", as {counted(more, 'other is', 'others are')}"
    return rows


def print_checked(checked: Checked, settings: Settings) -> None:
    """Print what a check found, for people."""
    report, whole_in = checked.report, checked.whole_in
    if report.errors:
        columns, rows = ["object", "~problem"], _rows(report.errors)
        if any(whole_in.values()):
            columns.append("~whole in copy")
            for row in rows:
                row.append(", ".join(whole_in[row[0]]) or "-")
        print_table(columns, rows)
        print()
        print_losses(report.losses)
    if not settings.quiet:
        for hint in report.hints:
            print_line(f"note: {hint}")
        print_line(
            f"checked {counted(report.snapshots, 'snapshot')}, {counted(report.packs, 'pack')}, "
            f"{counted(report.blobs, 'blob')}; read {shown_size(report.bytes_read)}"
        )
        if report.verified.packs:
            print_line(told_verified(report.verified))
    if not report.ok:
        _print_verdict(checked, settings)
    elif not settings.quiet:
        print_line("no problems found")


def _print_verdict(checked: Checked, settings: Settings) -> None:
    """Print how much is wrong, and what mends it."""
    healing = sorted({name for names in checked.whole_in.values() for name in names})
    if not healing and not settings.quiet:
        print_line("'snap repair' saves what can be saved ('--dry-run' says what that is)")
    print_line(f"{counted(len(checked.report.errors), 'problem')} found")
    if healing:
        print_line(f"heal it with: snap repair --from {healing[0]}")
