"""``snap dump``: one file as a stream."""

import sys

import click

from snap.errors import UsageError
from snap.repo.browse import resolve_path
from snap.repo.dump import dump_file

from .options import SnapCommand
from .session import find_snapshot, open_session, split_selector
from .settings import Settings


@click.command(cls=SnapCommand)
@click.argument("file", metavar="SNAP:COMPONENT[/PATH]")
@click.pass_obj
def command(settings: Settings, *, file: str) -> int:
    """Print one file of a snapshot, byte for byte, to standard output.

    PATH may be left out where the component is a single file, such as a database.
    """
    selector, place = split_selector(file)
    if not place:
        raise UsageError(f"no file named in {file!r}", "write SNAP:COMPONENT/PATH")
    with open_session(settings) as repository:
        snapshot = find_snapshot(repository, settings, selector)
        component, path = resolve_path(snapshot, place)
        for piece in dump_file(repository, snapshot, component, path):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    return 0
