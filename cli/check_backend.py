"""``snap check --backend``: whether the store keeps what it has to promise."""

from snap.backends.base import Backend, BackendError
from snap.backends.probe import Level, ProbeReport, Promise, probe_store
from snap.errors import IntegrityError
from snap.repo.clock import system_clock
from snap.repo.config import CONFIG_NAME, FormatTooNew, StoreRecord, decode_config

from .errors import DAMAGED, OK
from .output import print_json, print_line, print_table
from .session import location_of, open_store, require_repository
from .settings import Settings
from .times import iso_time, local_time


def check_backend(settings: Settings) -> int:
    """Try the store of a repository and say what it does, and did when the repository was made.

    Needs no password: what was recorded is not authenticated, and decides nothing.
    """
    backend = open_store(settings, location_of(settings), limited=False)
    try:
        require_repository(backend)
        recorded = _recorded(backend)
        report = probe_store(backend, clock=system_clock)
    finally:
        backend.close()
    if settings.json:
        _print_summary(report, recorded)
    else:
        _print_for_people(report, recorded, settings)
    return OK if report.ok else DAMAGED


def _recorded(backend: Backend) -> StoreRecord | None:
    try:
        return decode_config(backend.get(CONFIG_NAME)).store
    except (IntegrityError, FormatTooNew, BackendError):
        # A plain 'snap check' complains of it.
        return None


def _print_summary(report: ProbeReport, recorded: StoreRecord | None) -> None:
    print_json(
        {
            "message_type": "summary",
            "ok": report.ok,
            "location": report.location,
            "clock_skew_seconds": report.skew_seconds,
            "promises": [
                {
                    "code": p.code,
                    "name": p.name,
                    "level": p.level,
                    "kept": p.kept,
                    "detail": p.words,
                }
                for p in report.promises
            ],
            "recorded": recorded
            and {"tried": iso_time(recorded.tried_ns), "lacks": list(recorded.lacks)},
        }
    )


def _print_for_people(
    report: ProbeReport, recorded: StoreRecord | None, settings: Settings
) -> None:
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
    if recorded is not None:
        lacked = ", ".join(recorded.lacks) or "nothing"
        same = "as now" if recorded.lacks == report.lacks else "which has changed"
        print_line(f"recorded {local_time(recorded.tried_ns)}: it lacked {lacked}, {same}")


def _verdict(promise: Promise) -> str:
    if promise.kept:
        return "yes"
    return "no" if promise.level is Level.OPTIONAL else "NO"
