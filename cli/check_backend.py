"""``snap check --backend``: whether the store keeps what it has to promise."""

from snap.backends.location import open_backend
from snap.backends.probe import Level, ProbeReport, Promise, probe_store
from snap.repo.clock import system_clock

from .errors import DAMAGED, OK
from .output import print_json, print_line, print_table
from .session import location_of, require_repository
from .settings import Settings


def check_backend(settings: Settings) -> int:
    """Try the store of a repository and say what it does; needs no password."""
    backend = open_backend(location_of(settings))
    try:
        require_repository(backend)
        report = probe_store(backend, clock=system_clock)
    finally:
        backend.close()
    if settings.json:
        _print_summary(report)
    else:
        _print_for_people(report, settings)
    return OK if report.ok else DAMAGED


def _print_summary(report: ProbeReport) -> None:
    print_json(
        {
            "message_type": "summary",
            "ok": report.ok,
            "location": report.location,
            "clock_skew_seconds": report.skew_seconds,
            "promises": [
                {"name": p.name, "level": p.level, "kept": p.kept, "detail": p.words}
                for p in report.promises
            ],
        }
    )


def _print_for_people(report: ProbeReport, settings: Settings) -> None:
    rows = [(p.name, _verdict(p), p.words) for p in report.promises]
    print_table(("what", "kept", "~detail"), rows)
    if settings.quiet:
        return
    print()
    if not report.ok:
        print_line(f"{report.location} cannot hold a repository safely")
    elif report.broken(Level.WANTED):
        print_line(f"{report.location} can hold a repository, with care")
    else:
        print_line(f"{report.location} does all that a repository needs")


def _verdict(promise: Promise) -> str:
    if promise.kept:
        return "yes"
    return "no" if promise.level is Level.OPTIONAL else "NO"
