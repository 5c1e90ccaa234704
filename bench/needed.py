"""What a repository's snapshots need: the stored bytes of every blob that they lead to.

    needed.py REPOSITORY PASSWORD [--keep-last N]

Prints one JSON object: `total_bytes`, `data_bytes`, `metadata_bytes`, and `paths`, the bytes for
the content of each file over all snapshots. With --keep-last, all snapshots but the last N are
deleted first.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from snap.backends.location import open_backend
from snap.repo.browse import walk
from snap.repo.catalog import list_snapshots
from snap.repo.content import extents_of
from snap.repo.extents import Content
from snap.repo.ids import BlobId
from snap.repo.repository import SNAPSHOT_PREFIX, Repository, open_repository
from snap.repo.snapshot import Snapshot

_STREAM_UNIT = 0
"""The unit of companions of content-defined chunks; of pages it is their size."""


@dataclass(slots=True)
class Needed:
    """Ids of the blobs that snapshots need; ``paths`` has those of each file's content."""

    data: set[BlobId] = field(default_factory=set)
    metadata: set[BlobId] = field(default_factory=set)
    paths: dict[str, set[BlobId]] = field(default_factory=dict)


def keep_last(repository: Repository, count: int) -> None:
    """Delete all snapshots but the last ``count``; what only they need stays in the packs."""
    for snapshot in list_snapshots(repository)[:-count]:
        repository.backend.delete(SNAPSHOT_PREFIX + snapshot.id.hex())


def needed_blobs(repository: Repository, snapshots: list[Snapshot]) -> Needed:
    """Follow snapshots to all blobs that they need."""
    needed = Needed()
    for snapshot in snapshots:
        for component in snapshot.components:
            needed.metadata.update(component.subtree or ())
        for name, place, node in walk(repository, snapshot):
            needed.metadata.update(node.subtree)
            if node.content is None:
                continue
            path = f"{name}/{b'/'.join(place).decode('utf-8', 'backslashreplace')}"
            # Versions that are measured may be older than files of records.
            for content in getattr(node.content, "parts", (node.content,)):
                lists = {id_ for id_, _ in content.lists}
                extents = extents_of(repository, content, path)
                data = {extent.blob for extent in extents if extent.blob is not None}
                companions = set(_companions(repository, content, data))
                needed.data |= data
                needed.metadata |= lists | companions
                needed.paths.setdefault(path, set()).update(data, lists, companions)
    return needed


def _companions(repository: Repository, content: Content, data: set[BlobId]) -> Iterator[BlobId]:
    """Yield the companions of a file's blobs: later backups compare with them."""
    # Asked for by name: companions came after this program, and it measures versions without.
    digests_id = getattr(repository.keys, "digests_id", None)
    if digests_id is None:
        return
    paging = getattr(content, "paging", None)
    units = {_STREAM_UNIT} if paging is None else {_STREAM_UNIT, paging.page_bytes}
    for blob in data:
        # Which of them there are depends on how the file was cut when the blob was stored.
        companions = (digests_id(blob, unit) for unit in units)
        yield from (id_ for id_ in companions if repository.cache.has_blob(id_))


def stored_bytes(repository: Repository, blobs: set[BlobId]) -> int:
    """Return what blobs take in the packs; one that lies in several counts once."""
    return sum(repository.cache.locate(id_)[0].entry.stored_length for id_ in blobs)


def raw_bytes(repository: Repository, blobs: set[BlobId]) -> int:
    """Return the length of blobs' plaintext."""
    return sum(repository.cache.locate(id_)[0].entry.raw_length for id_ in blobs)


def main() -> None:
    """Print what is needed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository")
    parser.add_argument("password")
    parser.add_argument("--keep-last", type=int, default=0, metavar="N")
    a = parser.parse_args()
    with open_repository(open_backend(a.repository), a.password, cache_dir=None) as repository:
        repository.load_index()
        if a.keep_last:
            keep_last(repository, a.keep_last)
        needed = needed_blobs(repository, list_snapshots(repository))
        data, metadata = (stored_bytes(repository, s) for s in (needed.data, needed.metadata))
        found: dict[str, Any] = {
            "total_bytes": data + metadata,
            "data_bytes": data,
            "metadata_bytes": metadata,
            "paths": {p: stored_bytes(repository, s) for p, s in sorted(needed.paths.items())},
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
