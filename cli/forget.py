"""``snap forget``: snapshots go, by a policy or by their ids."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import click

from snap.backends.base import BackendError
from snap.errors import SnapError, UsageError
from snap.repo.catalog import FUTURE_NS, readable_snapshots
from snap.repo.clock import MINUTE_NS
from snap.repo.forget import (
    Forgotten,
    Judged,
    PolicyOf,
    forget,
    is_held,
    judge,
    last_good_ones,
    stored_times,
)
from snap.repo.ids import ObjectId
from snap.repo.lease import Lease
from snap.repo.prune import PruneReport
from snap.repo.repository import Repository
from snap.repo.snapshot import Snapshot

from . import prune
from .errors import INCOMPLETE, OK, worst
from .options import SnapCommand
from .output import counted, print_json, print_line, print_table, print_warning
from .retention import configured_policies, keep_options, one_for_all, policy_of
from .session import find_snapshot, lease_for, open_session, words_of
from .settings import Settings
from .times import LOCAL_ZONE, iso_time, local_time, shown_age

_SKEW_NS = 10 * MINUTE_NS
"""Between this machine's clock and the store's, before it is worth a warning."""
_TOLD_TIMES = 3
_SPACE = (
    "their space comes back by 'snap prune': what nothing else needs is marked by the first, and "
    "deleted by one that runs half an hour later or more"
)


@dataclass(frozen=True)
class _Plan:
    """What is to go, and why what stays does."""

    judged: list[Judged]

    @property
    def removed(self) -> list[Snapshot]:
        return [j.snapshot for j in self.judged if not j.keep]


@dataclass(frozen=True)
class Outcome:
    """What was to go, and what became of it."""

    plan: _Plan
    done: Forgotten
    dry_run: bool = False


def code_of(outcome: Outcome) -> int:
    """Return the exit code."""
    return INCOMPLETE if outcome.done.refused else OK


@click.command(cls=SnapCommand)
@click.argument("snapshots", metavar="[SNAP...]", nargs=-1)
@keep_options
@click.option("--service", metavar="S", help="Only of this service.")
@click.option("--dry-run", "-n", is_flag=True, help="Remove nothing; say what would go, and why.")
@click.option("--explain", metavar="SNAP", help="Only say why this one would stay or go.")
@click.option("--prune", "then_prune", is_flag=True, help="Then do as 'snap prune' does.")
@click.option(
    "--allow-last", is_flag=True, help="With SNAP: also the last good one of a source may go."
)
@click.pass_obj
def command(
    settings: Settings,
    /,
    *,
    snapshots: tuple[str, ...],
    service: str | None,
    dry_run: bool,
    explain: str | None,
    allow_last: bool,
    **rules: object,
) -> int:
    """Drop snapshots from the list: those named, or those that a policy lets go.

    Without ids and --keep-...: 7 days, the Sundays of 4 weeks, the 1sts of 3 months. Held
    snapshots and the last good one of every source always stay.
    """
    then_prune = bool(rules.pop("then_prune")) and not dry_run
    policy = policy_of(rules)
    if snapshots and (policy is not None or explain is not None or service is not None):
        raise UsageError("ids exclude --keep-..., --explain and --service")
    if allow_last and not snapshots:
        raise UsageError("--allow-last is for snapshots that are named")
    if explain is not None and then_prune:
        raise UsageError("--explain changes nothing, so it excludes --prune")
    done = Forgotten([], [])
    with open_session(settings) as repository:
        wanted = None if explain is None else find_snapshot(repository, settings, explain)
        with _leased(repository, settings, only_look=dry_run or wanted is not None) as lease:
            if snapshots:
                plan = _named(repository, settings, snapshots, allow_last=allow_last)
            else:
                policies = configured_policies(settings) if policy is None else one_for_all(policy)
                plan = _by_policy(
                    repository, settings, policies, lease, service=service, wanted=wanted
                )
            if wanted is not None:
                return _explain(plan, wanted, settings)
            if plan.removed and not dry_run and lease is not None:
                done = forget(repository, plan.removed, lease)
        outcome = Outcome(plan, done, dry_run=dry_run)
        pruned = prune.prune_repository(repository, settings) if then_prune else None
    _print(outcome, pruned, settings)
    return worst([code_of(outcome), OK if pruned is None else prune.code_of(pruned)])


def _print(outcome: Outcome, pruned: PruneReport | None, settings: Settings) -> None:
    if settings.json:
        record = record_of(outcome)
        if pruned is not None:
            record["prune"] = prune.record_of(pruned, dry_run=False)
        print_json(record)
        return
    print_outcome(outcome, settings)
    if pruned is not None:
        prune.print_report(pruned, settings, dry_run=False)
    elif outcome.plan.removed and not settings.quiet:
        print_line(_SPACE)


def forget_as_configured(repository: Repository, settings: Settings) -> Outcome:
    """Forget what the configuration's policy lets go.

    Raises:
        SnapError: a snapshot cannot be read, or the policy keeps nothing.
    """
    with lease_for(repository, "forget") as lease:
        plan = _by_policy(repository, settings, configured_policies(settings), lease)
        return Outcome(plan, forget(repository, plan.removed, lease))


@contextmanager
def _leased(
    repository: Repository, settings: Settings, *, only_look: bool
) -> Iterator[Lease | None]:
    """Hold a lease; none, with a warning, where who only looks may not write."""
    lease: Lease | None = None
    with ExitStack() as held:
        try:
            lease = held.enter_context(lease_for(repository, "forget"))
        except BackendError as error:
            if not only_look:
                raise
            print_warning(
                f"the store's time is not known, and this machine's counts: {error}",
                as_json=settings.json,
            )
        yield lease


def _by_policy(
    repository: Repository,
    settings: Settings,
    policy_of_source: PolicyOf,
    lease: Lease | None,
    *,
    service: str | None = None,
    wanted: Snapshot | None = None,
) -> _Plan:
    """Judge all snapshots, and warn of what is odd about their times and services.

    ``wanted``: the only one whose time is asked about.
    """
    now_ns = repository.clock()
    if lease is not None:
        now_ns = _earlier(now_ns, lease.renewed_ns, settings)
    stored = stored_times(repository)
    snapshots = _readable(repository)
    if service is not None:
        everything = {s.service for s in snapshots}
        snapshots = [s for s in snapshots if s.service == service]
        if not snapshots:
            print_warning(
                f"no snapshot is of the service {service!r}; there are: "
                f"{', '.join(sorted(everything)) or 'none'}",
                as_json=settings.json,
            )
    asked = snapshots if wanted is None else [s for s in snapshots if s.id == wanted.id]
    _warn_of_times(asked, stored, settings)
    _warn_of_hosts(snapshots, settings)
    judged = judge(snapshots, stored, policy_of_source, now_ns, LOCAL_ZONE)
    return _Plan(judged)


def _warn_of_times(
    snapshots: Sequence[Snapshot], stored: Mapping[ObjectId, int], settings: Settings
) -> None:
    """Warn of snapshots that are older in the store than they say they are."""
    ahead = [s for s in snapshots if s.id in stored and s.time_ns > stored[s.id] + FUTURE_NS]
    shown = ahead[:_TOLD_TIMES]
    for snapshot in shown:
        print_warning(
            f"snapshot {snapshot.short_id} says it is of {local_time(snapshot.time_ns)}, but "
            f"the store had it at {local_time(stored[snapshot.id])}: it displaces no other",
            as_json=settings.json,
        )
    if len(ahead) > len(shown):
        print_warning(
            f"{counted(len(ahead) - len(shown), 'more snapshot')} with such a time: they displace "
            "no other",
            as_json=settings.json,
        )


def _readable(repository: Repository) -> list[Snapshot]:
    """Return the snapshots.

    Raises:
        SnapError: one cannot be read. It may be the good one of its day, so nothing goes now.
    """
    snapshots, problems = readable_snapshots(repository)
    if problems:
        raise SnapError(
            f"{words_of(problems[0])}; nothing was forgotten",
            "repair it first: what it holds is not known, so others must not go for it",
        )
    return snapshots


def _earlier(ours: int, store: int, settings: Settings) -> int:
    """Return the earlier of this machine's time and the store's, so that nothing goes too early."""
    if abs(ours - store) > _SKEW_NS:
        apart = shown_age(abs(ours - store))
        print_warning(
            f"the clocks of this machine and of the store differ by {apart}: the "
            f"earlier one counts, {local_time(min(ours, store))}",
            as_json=settings.json,
        )
    return min(ours, store)


def _warn_of_hosts(snapshots: Sequence[Snapshot], settings: Settings) -> None:
    """Warn of services that may be one: named by hosts, each with few snapshots of one source."""
    by_sources: dict[tuple[str, ...], set[str]] = {}
    for snapshot in snapshots:
        if snapshot.service == snapshot.hostname:
            names = tuple(c.name for c in snapshot.components)
            by_sources.setdefault(names, set()).add(snapshot.service)
    for names, services in by_sources.items():
        if len(services) > 1:
            print_warning(
                f"{', '.join(names)}: {counted(len(services), 'service')} differ by nothing but "
                "the host's name, and each keeps its own snapshots; if they are one, give it a "
                "name with 'snap backup --service'",
                as_json=settings.json,
            )


def _named(
    repository: Repository, settings: Settings, selectors: Sequence[str], *, allow_last: bool
) -> _Plan:
    """Return the plan to remove what is named.

    Raises:
        SnapError: one is held, or the last good one of a source.
    """
    everything = _readable(repository)
    found = {s.id: s for s in (find_snapshot(repository, settings, text) for text in selectors)}
    for snapshot in found.values():
        if is_held(snapshot):
            raise SnapError(
                f"snapshot {snapshot.short_id} is held",
                f"let go of it first: snap hold remove {snapshot.short_id}",
            )
    for id_, names in last_good_ones(everything).items():
        if id_ in found and not allow_last:
            raise SnapError(
                f"snapshot {found[id_].short_id} is the last good one of {', '.join(names)}",
                "make another backup first, or say --allow-last",
            )
    judged = [Judged(s, keep=s.id not in found, reasons=["named"]) for s in everything]
    return _Plan([j for j in judged if not j.keep])


def _explain(plan: _Plan, wanted: Snapshot, settings: Settings) -> int:
    for judged in plan.judged:
        if judged.snapshot.id == wanted.id:
            break
    else:
        raise UsageError(f"snapshot {wanted.short_id} is not of the service that was asked for")
    if settings.json:
        print_json({"keep": judged.keep, **_record(judged)})
    else:
        word = "stays" if judged.keep else "would go"
        print_line(f"snapshot {wanted.short_id} of {local_time(wanted.time_ns)} {word}")
        for reason in judged.reasons:
            print_line(f"  {reason}")
    return OK


def _record(judged: Judged) -> dict[str, object]:
    return {
        "id": judged.snapshot.id.hex(),
        "time": iso_time(judged.snapshot.time_ns),
        "reasons": judged.reasons,
    }


def record_of(outcome: Outcome) -> dict[str, object]:
    """Return the outcome for programs."""
    judged = outcome.plan.judged
    return {
        "dry_run": outcome.dry_run,
        "keep": [_record(j) for j in judged if j.keep],
        "remove": [_record(j) for j in judged if not j.keep],
        "refused": [snapshot.id.hex() for snapshot, _ in outcome.done.refused],
    }


def print_outcome(outcome: Outcome, settings: Settings) -> None:
    """Print for people what went, or in a dry run would, and why."""
    plan, done = outcome.plan, outcome.done
    for snapshot, error in done.refused:
        print_warning(
            f"snapshot {snapshot.short_id} stays for now: {error}; a later forget tries again",
            as_json=False,
        )
    if settings.quiet:
        return
    if plan.judged:
        print_table(
            ("id", "time", "~service", "~components", "verdict", "~reasons"),
            [
                (
                    j.snapshot.short_id,
                    local_time(j.snapshot.time_ns),
                    j.snapshot.service,
                    ", ".join(c.name for c in j.snapshot.components),
                    "stays" if j.keep else "goes",
                    "; ".join(j.reasons),
                )
                for j in plan.judged
            ],
        )
    count = len(plan.removed) if outcome.dry_run else len(done.removed)
    gone = f"{counted(count, 'snapshot')} {'would be ' if outcome.dry_run else ''}forgotten"
    kept = len(plan.judged) - count
    print_line(f"{gone}, {counted(kept, 'snapshot')} kept" if kept else gone)
