"""``snap repair``: what is damaged or lost, from a copy or from what is left."""

import os
import socket
from typing import Any

import click

from snap.errors import IntegrityError, UsageError
from snap.repo.clock import system_clock
from snap.repo.config import CONFIG_NAME
from snap.repo.lease import Owner
from snap.repo.lost import Losses
from snap.repo.mend_config import mend_config
from snap.repo.rebuild import OPERATION, RebuildOptions, RebuildReport, run_rebuild
from snap.repo.repair import RepairReport, run_repair, unlock_either
from snap.repo.slots import KEY_PREFIX

from .copies import CopyPlace, copy_of
from .errors import DAMAGED, OK
from .losses import losses_record, print_losses
from .options import SnapCommand
from .output import counted, print_json, print_line, print_table, print_warning, shown_size
from .password import read_password
from .progress import open_reporter
from .session import location_of, open_session, open_store
from .settings import Settings


@click.command(cls=SnapCommand)
@click.option("--from", "source", metavar="COPY", help="The copy, by its name or place.")
@click.option("--read-data", is_flag=True, help="Without a copy: read all data as well.")
@click.option("--dry-run", is_flag=True, help="Without a copy: change nothing, say what would be.")
@click.pass_obj
def command(settings: Settings, *, source: str | None, read_data: bool, dry_run: bool) -> int:
    """Repair a repository, from a copy or from what it has itself.

    With --from: reads all that the repository has, and restores what is damaged or lost from the
    copy. Objects of every kind are healed: packs, index, snapshots, key slots, config. Works
    either way round: with -r COPY, the copy is healed from the repository.

    Without: names again what no index names, moves what is whole out of damaged packs, and sets
    damaged objects aside, under 'aside/' in the repository. Nothing is deleted. The next backup
    stores again what its sources still have of what is lost, and older snapshots get it back.

    Exits with 4 when something stays damaged or lost.
    """
    if source is None:
        return _rebuild(settings, read_data=read_data, dry_run=dry_run)
    if read_data or dry_run:
        option = "--read-data" if read_data else "--dry-run"
        raise UsageError(
            f"{option} goes without --from", "with a copy everything is read, and put at once"
        )
    return _heal(settings, copy_of(settings, source))


def _owner() -> Owner:
    return Owner(OPERATION, socket.gethostname(), os.getpid())


# From a copy


def _heal(settings: Settings, place: CopyPlace) -> int:
    target = open_store(settings, location_of(settings))
    copy = open_store(settings, place.location)
    try:
        secrets = unlock_either(target, copy, read_password(settings))
        with open_reporter(settings, "") as reporter:
            report = run_repair(target, copy, secrets, reporter, owner=_owner(), clock=system_clock)
    finally:
        copy.close()
        target.close()
    for warning in report.warnings:
        print_warning(warning, as_json=settings.json)
    for name in report.returned:
        print_warning(
            f"{name} was not there and was brought back"
            + (
                "; if it had been removed on purpose, remove it again"
                if name.startswith(KEY_PREFIX)
                else ""
            ),
            as_json=settings.json,
        )
    if settings.json:
        print_json(_summary(report, place))
    else:
        _print_for_people(report, place, settings)
    return OK if report.ok else DAMAGED


def _summary(report: RepairReport, place: CopyPlace) -> dict[str, Any]:
    return {
        "message_type": "summary",
        "ok": report.ok,
        "copy": place.name,
        "healed": [{"object": p.object, "problem": p.problem} for p in report.healed],
        "returned": list(report.returned),
        "errors": [{"object": p.object, "problem": p.problem} for p in report.left],
        "bytes_read": report.bytes_read,
        "bytes": report.bytes,
    }


def _print_for_people(report: RepairReport, place: CopyPlace, settings: Settings) -> None:
    rows = [(p.object, p.problem, f"healed from {place.name}") for p in report.healed]
    rows = rows if not settings.quiet else []
    rows += [(p.object, p.problem, "STILL DAMAGED") for p in report.left]
    if rows:
        print_table(("object", "~problem", "~now"), rows)
        print()
    if not settings.quiet:
        print_line(
            f"read {shown_size(report.bytes_read)}, healed "
            f"{counted(len(report.healed), 'object')} ({shown_size(report.bytes)})"
        )
    if report.left:
        print_line(
            f"{counted(len(report.left), 'object')} still damaged: try another copy; what no copy "
            "has whole, 'snap repair --read-data' sets aside, and the next backup stores again"
        )
    elif not settings.quiet:
        print_line("everything is whole")


# From what is left


def _rebuild(settings: Settings, *, read_data: bool, dry_run: bool) -> int:
    options = RebuildOptions(_owner(), read_data=read_data, dry_run=dry_run)
    try:
        return _rebuild_opened(settings, options)
    except IntegrityError as error:
        if not str(error).startswith(f"{CONFIG_NAME}: "):
            raise
        _mend_config(settings, error, dry_run=dry_run)
    return _rebuild_opened(settings, options)


def _mend_config(settings: Settings, error: IntegrityError, *, dry_run: bool) -> None:
    """Write ``config`` anew where that is why the repository could not be opened."""
    backend = open_store(settings, location_of(settings))
    try:
        is_mended = mend_config(backend, read_password(settings), system_clock, dry_run=dry_run)
    finally:
        backend.close()
    if not is_mended:
        raise error
    if dry_run:
        raise IntegrityError(
            f"{error}: it would be written anew",
            "run 'snap repair': nothing else can be looked at before",
        )
    print_warning(f"{error}: it was written anew, the damaged one kept", as_json=settings.json)


def _rebuild_opened(settings: Settings, options: RebuildOptions) -> int:
    with open_session(settings) as repository:
        with open_reporter(settings, "") as reporter:
            report = run_rebuild(repository, options, reporter)
        # What the index said before it was repaired is in the report.
        repository.warnings.clear()
    if settings.json:
        print_json(_rebuild_summary(report, dry_run=options.dry_run))
    else:
        _print_rebuilt(report, settings, dry_run=options.dry_run)
    return OK if report.ok else DAMAGED


def _rebuild_summary(report: RebuildReport, *, dry_run: bool) -> dict[str, Any]:
    def records(name: str) -> list[dict[str, str]]:
        return [{"object": p.object, "problem": p.problem} for p in getattr(report, name)]

    return {
        "message_type": "summary",
        "ok": report.ok,
        "dry_run": dry_run,
        "copy": None,
        "healed": records("healed"),
        "returned": [],
        "indexed": list(report.indexed),
        "indexed_unread": report.unread,
        "gone": records("gone"),
        "aside": records("aside"),
        "errors": records("left"),
        "blobs_saved": report.blobs_saved,
        "blobs_lost": report.blobs_lost,
        **losses_record(report.losses),
        "snapshots": report.snapshots,
        "bytes_read": report.bytes_read,
        "bytes": report.bytes,
    }


def _print_rebuilt(report: RebuildReport, settings: Settings, *, dry_run: bool) -> None:
    rows: list[tuple[str, str, str]] = []
    if not settings.quiet:
        rows += [(name, "in no index", "indexed") for name in report.indexed]
        rows += [(p.object, p.problem, "healed") for p in report.healed]
        rows += [(p.object, p.problem, "indexed no more") for p in report.gone]
        rows += [(p.object, p.problem, "set aside") for p in report.aside]
    rows += [(p.object, p.problem, "STILL DAMAGED") for p in report.left]
    if rows:
        print_table(("object", "~problem", "~would be" if dry_run else "~now"), rows)
        print()
    print_losses(report.losses)
    if not settings.quiet:
        _print_totals(report, dry_run=dry_run)
    _print_advice(report.losses, report, settings)


def _print_totals(report: RebuildReport, *, dry_run: bool) -> None:
    if report.unread:
        print_line(
            f"note: {counted(report.unread, 'data pack')} joined the index unread: "
            "'snap check --read-data' reads them, as 'snap repair --read-data' would"
        )
    if report.blobs_saved or report.blobs_lost:
        print_line(
            f"of damaged packs {counted(report.blobs_saved, 'blob')} "
            f"{'would be' if dry_run else 'were'} saved, {report.blobs_lost:,} are lost"
        )
    print_line(
        f"read {shown_size(report.bytes_read)} of packs, followed "
        f"{counted(report.snapshots, 'snapshot')}"
    )


def _print_advice(losses: Losses, report: RebuildReport, settings: Settings) -> None:
    if losses.count:
        print_line(
            f"{counted(losses.count, 'path')} lost: the rest of these snapshots can be restored; "
            "'snap repair --from COPY' heals them from a copy, and a backup of a source that still "
            "has the data does"
        )
    if any(p.object.startswith("snapshots/") for p in report.aside):
        print_line(
            "a damaged snapshot no longer keeps what only it needs from the next prune: heal it "
            "from a copy before, if there is one"
        )
    if report.left:
        print_line(f"{counted(len(report.left), 'object')} still damaged")
    if report.ok and not settings.quiet:
        print_line("everything that the snapshots need is there")
