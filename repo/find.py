"""Finding entries by name in many snapshots."""

import fnmatch
import os
from collections.abc import Iterator, Sequence

from .browse import Place, walk
from .repository import Repository
from .snapshot import Snapshot
from .tree import Node


def find(
    repository: Repository, snapshots: Sequence[Snapshot], pattern: str
) -> Iterator[tuple[Snapshot, str, Place, Node]]:
    """Yield the entries whose name matches a glob, oldest snapshot first.

    With a slash in it, the pattern is matched against component and path together
    (``events.db/*.sql``), otherwise against the last part of the path.
    """
    repository.load_readable_index()
    whole = "/" in pattern
    raw = os.fsencode(pattern.strip("/"))
    for snapshot in snapshots:
        for component, path, node in walk(repository, snapshot):
            subject = b"/".join((component.encode(), *path)) if whole else path[-1]
            if fnmatch.fnmatchcase(subject, raw):
                yield snapshot, component, path, node
