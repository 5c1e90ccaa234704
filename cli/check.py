"""``snap check``: whether all that is stored is whole."""

import click

from snap.errors import UsageError
from snap.repo.check import CheckReport, run_check

from .check_backend import check_backend
from .errors import DAMAGED, OK
from .options import SnapCommand
from .output import counted, print_json, print_line, print_table, shown_size
from .progress import open_reporter
from .session import open_session
from .settings import Settings


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
@click.option("--read-data-subset", metavar="N%", help="Read and open a random share.")
@click.option("--backend", is_flag=True, help="Try what the store promises, instead.")
@click.pass_obj
def command(
    settings: Settings, *, read_data: bool, read_data_subset: str | None, backend: bool
) -> int:
    """Check that all that is stored is whole.

    Without options: the structure, all metadata, and that every pack is there with its size.
    """
    if backend:
        if read_data or read_data_subset is not None:
            raise UsageError("--backend tries the store and reads none of the repository")
        return check_backend(settings)
    fraction = 1.0 if read_data else 0.0
    if read_data_subset is not None:
        if read_data:
            raise UsageError("--read-data and --read-data-subset exclude each other")
        fraction = parse_share(read_data_subset)
    with (
        open_session(settings) as repository,
        open_reporter(settings, "") as reporter,
    ):
        report = run_check(repository, read_fraction=fraction, reporter=reporter)
    if settings.json:
        _print_summary(report)
    else:
        _print_for_people(report, settings)
    return OK if report.ok else DAMAGED


def _print_summary(report: CheckReport) -> None:
    print_json(
        {
            "message_type": "summary",
            "ok": report.ok,
            "errors": [{"object": e.object, "problem": e.problem} for e in report.errors],
            "hints": list(report.hints),
            "snapshots": report.snapshots,
            "packs": report.packs,
            "blobs": report.blobs,
            "bytes_read": report.bytes_read,
        }
    )


def _print_for_people(report: CheckReport, settings: Settings) -> None:
    if report.errors:
        print_table(("object", "~problem"), [(e.object, e.problem) for e in report.errors])
        print()
    if not settings.quiet:
        for hint in report.hints:
            print_line(f"note: {hint}")
        print_line(
            f"checked {counted(report.snapshots, 'snapshot')}, {counted(report.packs, 'pack')}, "
            f"{counted(report.blobs, 'blob')}; read {shown_size(report.bytes_read)}"
        )
    if report.ok:
        if not settings.quiet:
            print_line("no problems found")
    else:
        print_line(f"{counted(len(report.errors), 'problem')} found")
