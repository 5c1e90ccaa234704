"""``snap prune``: give the space back of what no snapshot needs."""

import os
import re
import socket
from dataclasses import replace
from typing import Any

import click

from snap.errors import UsageError
from snap.repo.commit import PRUNE
from snap.repo.lease import Owner
from snap.repo.prune import PruneOptions, PruneReport, Waiting, run_prune
from snap.repo.prune_plan import Limits
from snap.repo.repository import Repository

from .check import parse_share
from .errors import DAMAGED, INCOMPLETE, OK
from .options import SnapCommand
from .output import counted, print_json, print_line, print_warning, shown_size
from .progress import open_reporter
from .session import open_session
from .settings import Settings
from .times import iso_time, local_time

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>[KMGT]?)(i?B)?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _size_of_option(ctx: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Return bytes."""
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{parameter.opts[0]}: not a size: {text!r}", "write bytes, or 500M, 20G")
    return int(float(match["number"]) * _UNITS[match["unit"].upper()])


@click.command(cls=SnapCommand)
@click.option("--dry-run", "-n", is_flag=True, help="Change nothing; say what would be done.")
@click.option(
    "--now", is_flag=True, help="Delete at once what is marked; only if nothing else is at work."
)
@click.option(
    "--max-unused",
    metavar="N%",
    default="10%",
    show_default=True,
    help="Move packs until no more than this share lies unused.",
)
@click.option(
    "--max-repack", metavar="SIZE", callback=_size_of_option, help="Move at most so much: 20G."
)
@click.pass_obj
def command(
    settings: Settings, *, dry_run: bool, now: bool, max_unused: str, max_repack: int | None
) -> int:
    """Give the space back of what no snapshot needs.

    In two steps, so that nothing that a backup just uses can go: what is not needed is marked, and
    deleted by a later run, half an hour after at the earliest, when everything has ended that was
    at work at the mark. Backups, checks and restores may run at the same time.
    """
    share = 0.0 if max_unused in ("0", "0%") else parse_share(max_unused)
    options = _options(Limits(share, max_repack))
    with open_session(settings) as repository:
        report = _run(repository, replace(options, now=now, dry_run=dry_run), settings)
    if settings.json:
        print_json(record_of(report, dry_run=dry_run))
    else:
        print_report(report, settings, dry_run=dry_run)
    return code_of(report)


def prune_repository(repository: Repository, settings: Settings) -> PruneReport:
    """Prune as usual."""
    return _run(repository, _options(Limits()), settings)


def _options(limits: Limits) -> PruneOptions:
    return PruneOptions(Owner(PRUNE, socket.gethostname(), os.getpid()), limits=limits)


def _run(repository: Repository, options: PruneOptions, settings: Settings) -> PruneReport:
    with open_reporter(settings, "") as reporter:
        report = run_prune(repository, options, reporter)
    for warning in report.warnings:
        print_warning(warning, as_json=settings.json)
    return report


def code_of(report: PruneReport) -> int:
    """Return the exit code."""
    if report.lost:
        return DAMAGED
    return INCOMPLETE if report.refused else OK


def record_of(report: PruneReport, *, dry_run: bool) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "message_type": "summary",
        "dry_run": dry_run,
        "deleted": {"packs": report.deleted, "bytes": report.deleted_bytes},
        "old_versions_stay": report.keeps_deleted,
        "marked": {"packs": report.marked, "bytes": report.marked_bytes},
        "moved": {
            "packs": report.repack_packs if dry_run else len(report.repacked.sources),
            "bytes_read": report.repack_bytes if dry_run else report.repacked.read_bytes,
            "bytes_written": report.repacked.written_bytes,
        },
        "rescued": {"packs": report.rescued},
        "waiting": [
            {
                "packs": waiting.packs,
                "bytes": waiting.size_bytes,
                "reason": waiting.reason,
                "until": iso_time(waiting.until_ns) if waiting.until_ns else None,
            }
            for waiting in report.waiting
        ],
        "index_objects": {
            "replaced": report.reindexed.replaced,
            "written": report.reindexed.written,
        },
        "refused": [{"object": name, "problem": str(error)} for name, error in report.refused],
        "lost": report.lost,
        "kept_bytes": report.kept_bytes,
        "unused_bytes": report.unused_bytes,
    }


def print_report(report: PruneReport, settings: Settings, *, dry_run: bool) -> None:
    """Print for people what was freed, what will be, when, and why not yet."""
    for name, error in report.refused:
        print_warning(f"{name} stays for now: {error}; a later prune tries again", as_json=False)
    for lost in report.lost:
        print_warning(f"lost: {lost}; see 'snap check'", as_json=False)
    if settings.quiet:
        return
    would = "would be " if dry_run else ""
    _print_deleted(report, would)
    moved = report.repack_bytes if dry_run else report.repacked.read_bytes
    if moved:
        print_line(
            f"{shown_size(moved)} of partly used packs {would}read"
            + ("" if dry_run else f", {shown_size(report.repacked.written_bytes)} written anew")
        )
    if report.marked:
        print_line(
            f"{counted(report.marked, 'pack')} {would}marked, {shown_size(report.marked_bytes)}"
        )
    for waiting in report.waiting:
        print_line(
            f"{shown_size(waiting.size_bytes)} in {counted(waiting.packs, 'pack')} not deleted "
            f"yet: {waiting.reason}{_when(waiting)}"
        )
    if report.rescued:
        print_line(f"{counted(report.rescued, 'marked pack')} needed again and kept")
    print_line(
        f"{shown_size(report.kept_bytes - report.unused_bytes)} in use, "
        f"{shown_size(report.unused_bytes)} unused in the same packs"
    )


def _print_deleted(report: PruneReport, would: str) -> None:
    size = shown_size(report.deleted_bytes)
    packs = f"{counted(report.deleted, 'pack')} {would}deleted"
    if not report.keeps_deleted:
        print_line(f"{packs}, {size} {would}freed")
    elif report.deleted:
        print_line(f"{packs}: the store keeps them as old versions")
        print_line(f"{size} come back when a lifecycle rule of the bucket removes those")
    else:
        print_line(packs)


def _when(waiting: Waiting) -> str:
    if not waiting.is_marked:
        return "; the first prune after that marks it"
    if not waiting.until_ns:
        return "; the first prune after that deletes it"
    return f"; the first prune after {local_time(waiting.until_ns)} deletes it"
