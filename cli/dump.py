"""``snap dump``: one file as a stream."""

import os
import sys

import click

from snap.errors import UsageError
from snap.repo.browse import require_tree, resolve_path
from snap.repo.dump import dump_file
from snap.sources.neo4j_restore import dump_name, is_dump

from .copies import copy_option, fallback_copies
from .neo4j_dump import neo4j_dump
from .options import SnapCommand
from .session import find_snapshot, open_session, split_selector
from .settings import Settings


@click.command(cls=SnapCommand)
@click.argument("file", metavar="SNAP:COMPONENT[/PATH]")
@copy_option
@click.pass_obj
def command(settings: Settings, *, file: str, copies: tuple[str, ...]) -> int:
    """Print one file of a snapshot, byte for byte, to standard output.

    PATH may be left out where the component is a single file, such as a database. Of a Neo4j
    database, that is the dump which `neo4j-admin database load --from-stdin` takes.
    """
    selector, place = split_selector(file)
    if not place:
        raise UsageError(f"no file named in {file!r}", "write SNAP:COMPONENT/PATH")
    with open_session(settings, fallback_copies(settings, copies)) as repository:
        snapshot = find_snapshot(repository, settings, selector, place)
        name, path = resolve_path(snapshot, place)
        component = require_tree(snapshot, name)
        if is_dump(component) and path in ((), (os.fsencode(dump_name(component)),)):
            pieces = neo4j_dump(repository, snapshot, component)
        else:
            pieces = dump_file(repository, snapshot, name, path)
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    return 0
