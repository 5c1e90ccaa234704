"""``snap hold``: snapshots that stay whatever retention says."""

import click

from snap.repo.catalog import HELD_TAG
from snap.repo.forget import is_held
from snap.repo.retag import retag

from .options import SnapCommand, SnapGroup
from .output import counted, print_json, print_line, print_table
from .records import snapshot_record
from .session import find_snapshot, lease_for, open_session, usable_snapshots
from .settings import Settings
from .times import local_time


@click.group(cls=SnapGroup)
def command() -> None:
    """Keep snapshots whatever retention says, until the hold is removed."""


@command.command("add", cls=SnapCommand)
@click.argument("snapshots", metavar="SNAP...", nargs=-1, required=True)
@click.pass_obj
def add(settings: Settings, *, snapshots: tuple[str, ...]) -> int:
    """Hold snapshots, which gives each a new id; the old one still finds it."""
    return _change(settings, snapshots, hold=True)


@command.command("remove", cls=SnapCommand)
@click.argument("snapshots", metavar="SNAP...", nargs=-1, required=True)
@click.pass_obj
def remove(settings: Settings, *, snapshots: tuple[str, ...]) -> int:
    """Let go of snapshots: from now on retention may remove them."""
    return _change(settings, snapshots, hold=False)


@command.command("list", cls=SnapCommand)
@click.pass_obj
def list_held(settings: Settings) -> int:
    """List the snapshots that are held, oldest first."""
    with open_session(settings) as repository:
        held = [s for s in usable_snapshots(repository, settings) if is_held(s)]
    if settings.json:
        print_json([snapshot_record(s) for s in held])
        return 0
    if held:
        print_table(
            ("id", "time", "~service", "~components"),
            [
                (
                    s.short_id,
                    local_time(s.time_ns),
                    s.service,
                    ", ".join(c.name for c in s.components),
                )
                for s in held
            ],
        )
    if not settings.quiet:
        print_line(counted(len(held), "snapshot"))
    return 0


def _change(settings: Settings, selectors: tuple[str, ...], *, hold: bool) -> int:
    changed = []
    with open_session(settings) as repository, lease_for(repository, "hold") as lease:
        # All of them are found before the first is changed: "latest" must not mean two.
        found = [find_snapshot(repository, settings, selector) for selector in selectors]
        for former in {snapshot.id: snapshot for snapshot in found}.values():
            tags = [HELD_TAG]
            now = retag(
                repository, former, lease, add=tags if hold else (), remove=() if hold else tags
            )
            changed.append((former, now))
    if settings.json:
        print_json([{"former_id": f.id.hex(), **snapshot_record(now)} for f, now in changed])
    elif not settings.quiet:
        for former, now in changed:
            was = former.id == now.id
            print_line(f"snapshot {now.short_id} is {_state(is_held=hold, was=was)}")
    return 0


def _state(*, is_held: bool, was: bool) -> str:
    """Return the state in words; ``was`` says that nothing changed."""
    if is_held:
        return "held already" if was else "held"
    return "not held" if was else "not held any more"
