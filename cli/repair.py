"""``snap repair``: what is damaged or lost, from a copy."""

import os
import socket
from typing import Any

import click

from snap.backends.location import open_backend
from snap.errors import UsageError
from snap.repo.clock import system_clock
from snap.repo.lease import Owner
from snap.repo.repair import RepairReport, run_repair, unlock_either

from .copies import CopyPlace, copy_of
from .errors import DAMAGED, OK
from .options import SnapCommand
from .output import counted, print_json, print_line, print_table, print_warning, shown_size
from .password import read_password
from .progress import open_reporter
from .session import location_of
from .settings import Settings


@click.command(cls=SnapCommand)
@click.option("--from", "source", metavar="COPY", help="The copy, by its name or place.")
@click.pass_obj
def command(settings: Settings, *, source: str | None) -> int:
    """Restore damaged and lost objects of the repository from a copy.

    Reads all that the repository has. Objects of every kind are healed: packs, index, snapshots,
    key slots, config. Works either way round: with -r COPY, the copy is healed from the
    repository. Exits with 4 when something stays damaged because the copy does not have it whole.
    """
    location = location_of(settings)
    if source is None:
        raise UsageError("nothing says what to repair from", "name a copy: snap repair --from COPY")
    place = copy_of(settings, source)
    target = open_backend(location, settings.limits)
    copy = open_backend(place.location, settings.limits)
    try:
        secrets = unlock_either(target, copy, read_password(settings))
        owner = Owner("repair", socket.gethostname(), os.getpid())
        with open_reporter(settings, "") as reporter:
            report = run_repair(target, copy, secrets, reporter, owner=owner, clock=system_clock)
    finally:
        copy.close()
        target.close()
    for warning in report.warnings:
        print_warning(warning, as_json=settings.json)
    for name in report.returned:
        print_warning(
            f"{name} was not there and was brought back; if it had been removed on purpose, "
            "remove it again",
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
            "has whole, the next backup stores again once the damaged pack is deleted"
        )
    elif not settings.quiet:
        print_line("everything is whole")
