"""How lost paths are shown."""

from typing import Any

from snap.repo.lost import Losses, LostPath

from .output import counted, print_line, print_table, raw_name_fields, shown_path

_ROWS = 50
"""So many lost paths are shown to people; programs get all that are listed."""


def losses_record(losses: Losses) -> dict[str, Any]:
    """Return the fields that tell programs what snapshots lost."""
    return {"lost": [_record(lost) for lost in losses.paths], "lost_count": losses.count}


def _record(lost: LostPath) -> dict[str, Any]:
    return {
        "snapshot_id": lost.snapshot.id.hex(),
        "component": lost.component,
        **raw_name_fields("path", b"/".join(lost.path)),
        "problem": lost.problem,
    }


def print_losses(losses: Losses) -> None:
    """Print what snapshots lost, for people; nothing where nothing is."""
    if not losses.count:
        return
    rows = [
        (lost.snapshot.short_id, shown_path(lost.component, lost.path), lost.problem)
        for lost in losses.paths[:_ROWS]
    ]
    print_table(("snapshot", "~lost", "~why"), rows)
    if losses.count > len(rows):
        print_line(f"and {counted(losses.count - len(rows), 'more path')} (--json lists them)")
    print()
