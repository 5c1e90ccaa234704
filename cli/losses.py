"""How lost paths are shown."""

from typing import Any

from snap.errors import IntegrityError
from snap.repo.browse import Place
from snap.repo.lost import Losses, LostPath
from snap.repo.snapshot import Snapshot

from .errors import DAMAGED, OK
from .output import counted, print_line, print_table, print_warning, raw_name_fields, shown_path
from .settings import Settings

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


class Gaps:
    """Warns of what a listing goes on past.

    Attributes:
        exit_code: What the command exits with, for what it was told.
    """

    def __init__(self, settings: Settings, problem: str = "is not known whole") -> None:
        self.settings = settings
        self._problem = problem
        self.exit_code = OK

    def tell(self, component: str, path: Place, error: IntegrityError) -> None:
        """Warn of a folder or file that is damaged."""
        self.exit_code = DAMAGED
        print_warning(
            f"{shown_path(component, path)} {self._problem}: {error}", as_json=self.settings.json
        )

    def tell_of(
        self, snapshot: Snapshot, component: str, path: Place, error: IntegrityError
    ) -> None:
        """Warn of a folder that is damaged in one of several snapshots."""
        self.exit_code = DAMAGED
        where = f"{snapshot.short_id}:{shown_path(component, path)}"
        print_warning(f"{where} {self._problem}: {error}", as_json=self.settings.json)
