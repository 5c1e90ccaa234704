"""``snap status``: whether what should be backed up is, and what needs somebody's hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from snap.errors import SnapError
from snap.repo.catalog import BEFORE_RESTORE_TAG, Problem, is_regular, readable_snapshots
from snap.repo.clock import SECOND_NS, system_clock
from snap.repo.repository import Repository
from snap.repo.snapshot import QUARANTINED, SUCCESS, Component, Snapshot
from snap.repo.verified import Coverage
from snap.sources.neo4j_downtime import StoppedServer, stopped_servers
from snap.sources.neo4j_exchange import Exchange, left_exchanges
from snap.sources.neo4j_place import neo4j_service

from .errors import DAMAGED, OK
from .neo4j_access import access_to
from .options import SnapCommand
from .output import counted, print_json, print_line, print_table, print_warning
from .session import open_session, words_of
from .settings import Settings
from .standing import Copies, copies_record, examine_copies, look_at_verified, print_copies
from .times import iso_time, local_time, shown_age
from .verification import told_verified, verified_record


@click.command(cls=SnapCommand)
@click.option(
    "--mend", is_flag=True, help="Start servers left stopped; finish or undo restores cut short."
)
@click.pass_obj
def command(settings: Settings, /, *, mend: bool) -> int:
    """Say what was backed up when, where its copies are, and what needs a hand.

    With copies configured: what each of them has, how far it is behind, and whether every snapshot
    is in enough copies, on enough media, off-site. Exits with 4 when something is broken: that
    rule, a copy, a snapshot that cannot be read, one in quarantine, a server that a killed backup
    or restore left stopped.
    """
    if mend:
        _mend(settings)
    try:
        with open_session(settings) as repository:
            report = look(repository, settings)
    except (SnapError, OSError) as error:
        _tell_without_repository(settings, error)
        raise
    if settings.json:
        print_json(record_of(report))
    else:
        print_report(report, settings)
    return OK if report.ok else DAMAGED


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What needs somebody's hand, and what does not.

    Attributes:
        last: The last whole component of each source, with its snapshot.
        quarantined: Snapshots that are newer than these.
        copies: None where none is configured.
        verified: How far the repository's packs were read.
        overdue: Where no copy is configured: why that is not as the rule asks.
    """

    now_ns: int
    last: list[tuple[Snapshot, Component]]
    quarantined: list[Snapshot]
    problems: list[Problem]
    stopped: Sequence[StoppedServer]
    cut_short: Sequence[Exchange]
    copies: Copies | None
    verified: Coverage | None
    overdue: list[str]

    @property
    def ok(self) -> bool:
        """Return whether nothing is broken."""
        found = (self.stopped, self.cut_short, self.problems, self.quarantined, self.overdue)
        return not any(found) and (self.copies is None or self.copies.ok)


def look(repository: Repository, settings: Settings) -> StatusReport:
    """Return how things stand."""
    snapshots, problems = readable_snapshots(repository)
    last = _last_good(snapshots)
    repository.load_readable_index()
    copies = examine_copies(repository, snapshots, settings)
    overdue: list[str] = []
    if copies is not None:
        verified = copies.statuses[0].place.standing.verified
    else:
        verified, overdue = look_at_verified(repository, settings)
    return StatusReport(
        now_ns=system_clock(),
        last=last,
        quarantined=_quarantined_since(snapshots, last),
        problems=problems,
        stopped=stopped_servers(settings.state_dir),
        cut_short=left_exchanges(settings.state_dir),
        copies=copies,
        verified=verified,
        overdue=overdue,
    )


def record_of(report: StatusReport) -> dict[str, Any]:
    """Return the report for programs."""
    now_ns, copies = report.now_ns, report.copies
    return {
        "ok": report.ok,
        "sources": [_source_record(s, c, now_ns) for s, c in report.last],
        "stopped_servers": [_stopped_record(server, now_ns) for server in report.stopped],
        "quarantined": [snapshot.id.hex() for snapshot in report.quarantined],
        "interrupted_restores": [_cut_short_record(e) for e in report.cut_short],
        "problems": [words_of(problem) for problem in report.problems],
        "verified": verified_record(report.verified),
        "overdue": list(report.overdue),
        **({} if copies is None else copies_record(copies, now_ns)),
    }


def print_report(report: StatusReport, settings: Settings) -> None:
    """Print the report for people."""
    _print_sources(report.last, report.now_ns)
    _print_stopped(report.stopped, report.now_ns)
    for snapshot in report.quarantined:
        print_line(
            f"QUARANTINED: snapshot {snapshot.short_id} of {local_time(snapshot.time_ns)}: "
            + "; ".join(f"{c.name}: {w}" for c in snapshot.components for w in c.warnings)
        )
    _print_cut_short(report.cut_short)
    for problem in report.problems:
        print_warning(words_of(problem), as_json=False)
    if report.copies is not None:
        print_copies(report.copies, settings, report.now_ns)
    elif report.verified is not None and report.verified.packs:
        print_line(told_verified(report.verified))
    for reason in report.overdue:
        print_line(f"OVERDUE: {reason}; read it with 'snap check --max-age'")


def _tell_without_repository(settings: Settings, error: Exception) -> None:
    """Say what this machine knows by itself: a server stands still whether a store answers or not.

    What is not known is null in JSON, not an empty list.
    """
    now_ns = system_clock()
    stopped = stopped_servers(settings.state_dir)
    cut_short = left_exchanges(settings.state_dir)
    if settings.json:
        print_json(
            {
                "ok": False,
                "sources": None,
                "stopped_servers": [_stopped_record(server, now_ns) for server in stopped],
                "quarantined": None,
                "interrupted_restores": [_cut_short_record(e) for e in cut_short],
                "problems": [str(error)],
            }
        )
        return
    _print_stopped(stopped, now_ns)
    _print_cut_short(cut_short)


def _mend(settings: Settings) -> None:
    folder = settings.state_dir
    servers = {(exchange.kind, exchange.place) for exchange in left_exchanges(folder)}
    servers |= {(note.kind, note.place) for note in stopped_servers(folder)}
    for kind, place in sorted(servers):
        service = neo4j_service(
            kind,
            place,
            name=None,
            access=access_to(settings, kind, place),
            state_folder=folder,
            previous=lambda _name: None,
        )
        done = service.mend()
        if done and not settings.json:
            print_line(done)


def _last_good(snapshots: Sequence[Snapshot]) -> list[tuple[Snapshot, Component]]:
    """Return, by service and name, the last whole component of each source with its snapshot."""
    found: dict[tuple[str, str], tuple[Snapshot, Component]] = {}
    for snapshot in snapshots:
        if not is_regular(snapshot):
            continue
        for component in snapshot.components:
            if component.status == SUCCESS:
                found[snapshot.service, component.name] = (snapshot, component)
    return [found[key] for key in sorted(found)]


def _quarantined_since(
    snapshots: Sequence[Snapshot], last: Sequence[tuple[Snapshot, Component]]
) -> list[Snapshot]:
    """Return the snapshots in quarantine that are newer than the last good one of their service."""
    good = {service: time for service, time in sorted((s.service, s.time_ns) for s, _ in last)}
    return [
        s
        for s in snapshots
        if s.status == QUARANTINED
        and BEFORE_RESTORE_TAG not in s.tags
        and s.time_ns > good.get(s.service, 0)
    ]


def _print_sources(last: Sequence[tuple[Snapshot, Component]], now_ns: int) -> None:
    if last:
        print_table(
            ("~source", "~service", "kind", "last good snapshot", "time", ">age"),
            [
                (
                    component.name,
                    snapshot.service,
                    component.kind,
                    snapshot.short_id,
                    local_time(component.point_ns),
                    shown_age(now_ns - component.point_ns),
                )
                for snapshot, component in last
            ],
        )
    else:
        print_line("no snapshots yet: make one with 'snap backup'")


def _print_stopped(stopped: Sequence[StoppedServer], now_ns: int) -> None:
    for server in stopped:
        print_line(
            f"STOPPED: {server.kind}:{server.place} was stopped by a backup or restore that was "
            f"killed, {counted(server.minutes(now_ns), 'minute')} ago; start it with 'snap status "
            "--mend', or back it up again: the next backup starts it"
        )


def _print_cut_short(cut_short: Sequence[Exchange]) -> None:
    for exchange in cut_short:
        print_line(
            f"CUT SHORT: a restore into {exchange.kind}:{exchange.place} was killed; leave the "
            "server as it is and run 'snap status --mend'"
        )


def _source_record(snapshot: Snapshot, component: Component, now_ns: int) -> dict[str, Any]:
    return {
        "name": component.name,
        "service": snapshot.service,
        "kind": component.kind,
        "snapshot_id": snapshot.id.hex(),
        "time": iso_time(component.point_ns),
        "age_seconds": max(0, now_ns - component.point_ns) // SECOND_NS,
    }


def _stopped_record(server: StoppedServer, now_ns: int) -> dict[str, Any]:
    return {
        "kind": server.kind,
        "place": server.place,
        "since": iso_time(server.since_ns),
        "minutes": server.minutes(now_ns),
    }


def _cut_short_record(exchange: Exchange) -> dict[str, Any]:
    return {"kind": exchange.kind, "place": exchange.place}
