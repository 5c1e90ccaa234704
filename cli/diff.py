"""``snap diff``: what changed between two snapshots."""

from dataclasses import dataclass

import click

from snap.repo.catalog import select_snapshot
from snap.repo.diff import Change, ChangeKind, diff_snapshots
from snap.repo.source import NodeType

from .losses import Gaps
from .options import SnapCommand
from .output import print_json, print_line, raw_name_fields, shown_path, shown_size
from .session import open_session, usable_snapshots
from .settings import Settings
from .times import LOCAL_ZONE

_SIGNS = {
    ChangeKind.ADDED: "+",
    ChangeKind.REMOVED: "-",
    ChangeKind.MODIFIED: "M",
    ChangeKind.METADATA: "U",
    ChangeKind.TYPE: "T",
}


@dataclass(slots=True)
class _Totals:
    """How many entries changed in each way, and bytes of whole files that came and went."""

    counts: dict[ChangeKind, int]
    bytes_added: int = 0
    bytes_removed: int = 0

    def count(self, change: Change) -> None:
        self.counts[change.change] += 1
        if change.change in (ChangeKind.METADATA, ChangeKind.MODIFIED):
            return
        self.bytes_added += change.new_size or 0
        self.bytes_removed += change.old_size or 0


@click.command(cls=SnapCommand)
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@click.option("--pages", is_flag=True, help="Say of each file which share of it changed.")
@click.pass_obj
def command(settings: Settings, *, old: str, new: str, pages: bool) -> int:
    """Show what changed between two snapshots, from A to B.

    Signs: + added, - removed, M content changed, T of another type now, U only mode, owner, time
    or attributes changed.
    """
    totals = _Totals(dict.fromkeys(ChangeKind, 0))
    gaps = Gaps(settings, "could not be compared")
    with open_session(settings) as repository:
        snapshots = usable_snapshots(repository, settings)
        before = select_snapshot(snapshots, old, LOCAL_ZONE)
        after = select_snapshot(snapshots, new, LOCAL_ZONE)
        for change in diff_snapshots(repository, before, after, gaps.tell):
            totals.count(change)
            if settings.json:
                _print_json_change(change)
            else:
                print_line(_line(change, pages=pages))
    if settings.json:
        print_json(
            {
                "message_type": "summary",
                "old": before.id.hex(),
                "new": after.id.hex(),
                **{str(kind): count for kind, count in totals.counts.items()},
                "bytes_added": totals.bytes_added,
                "bytes_removed": totals.bytes_removed,
            }
        )
    elif not settings.quiet:
        _print_totals(totals)
    return gaps.exit_code


def _line(change: Change, *, pages: bool) -> str:
    path = shown_path(change.component, change.path)
    if change.type is NodeType.DIR:
        path += "/"
    if change.change is ChangeKind.METADATA:
        return f"{_SIGNS[change.change]}  {path}"
    sizes = [shown_size(s) for s in (change.old_size, change.new_size) if s is not None]
    tail = f"  ({' -> '.join(sizes)})" if sizes else ""
    share = f"  {_share(change)}" if pages and change.bytes_changed is not None else ""
    return f"{_SIGNS[change.change]}  {path}{tail}{share}"


def _share(change: Change) -> str:
    changed, size = change.bytes_changed or 0, change.new_size or 0
    percent = 100 * changed / size if size else 0.0
    return f"{percent:.1f} % changed, {shown_size(changed)}"


def _print_json_change(change: Change) -> None:
    print_json(
        {
            "message_type": "change",
            "component": change.component,
            **raw_name_fields("path", b"/".join(change.path)),
            "change": str(change.change),
            "type": str(change.type),
            "old_size": change.old_size,
            "new_size": change.new_size,
            "bytes_changed": change.bytes_changed,
        }
    )


def _print_totals(totals: _Totals) -> None:
    counts = totals.counts
    parts = [f"{count} {_words(kind)}" for kind, count in counts.items() if count]
    print_line(", ".join(parts) or "no differences")
    if totals.bytes_added or totals.bytes_removed:
        print_line(
            f"{shown_size(totals.bytes_added)} in new files, "
            f"{shown_size(totals.bytes_removed)} in removed ones"
        )


def _words(kind: ChangeKind) -> str:
    return {
        ChangeKind.METADATA: "with other attributes",
        ChangeKind.TYPE: "of another type",
    }.get(kind, str(kind))
