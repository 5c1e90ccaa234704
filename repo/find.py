"""Finding entries by name in many snapshots."""

import fnmatch
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from snap.errors import IntegrityError

from .browse import Place, walk
from .repository import Repository
from .snapshot import Snapshot
from .tree import Node


def find(
    repository: Repository,
    snapshots: Sequence[Snapshot],
    pattern: str,
    lost: Callable[[Snapshot, str, Place, IntegrityError], None] | None = None,
) -> Iterator[tuple[Snapshot, str, Place, Node]]:
    """Yield the entries whose name matches a glob, oldest snapshot first.

    With a slash in it, the pattern is matched against component and path together
    (``events.db/*.sql``), otherwise against the last part of the path. ``lost`` is told of
    folders that cannot be read whole; without it that is an error.
    """
    repository.load_readable_index()
    whole = "/" in pattern
    raw = os.fsencode(pattern.strip("/"))
    for snapshot in snapshots:
        told = lost and partial(lost, snapshot)
        for component, path, node in walk(repository, snapshot, lost=told):
            subject = b"/".join((component.encode(), *path)) if whole else path[-1]
            if fnmatch.fnmatchcase(subject, raw):
                yield snapshot, component, path, node
