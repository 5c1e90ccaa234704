"""A Neo4j component of a snapshot as the dump that its own program loads."""

from collections.abc import Iterator
from functools import partial

from snap.repo.browse import walk_directory
from snap.repo.dump import dump_file
from snap.repo.repository import Repository
from snap.repo.snapshot import Component, Snapshot
from snap.sources.neo4j_restore import FileDigests, make_component_dump


def neo4j_dump(
    repository: Repository,
    snapshot: Snapshot,
    component: Component,
    digests: FileDigests | None = None,
) -> Iterator[bytes | memoryview]:
    """Yield the dump, streamed from the repository.

    Raises:
        FullKeyRequired: the key in use is a writer's.
        IntegrityError: a part is missing or damaged: what was yielded is no dump.
    """
    repository.require_full("read a file")
    repository.load_readable_index()
    nodes = walk_directory(repository, component.subtree or ())
    return make_component_dump(
        component, nodes, partial(dump_file, repository, snapshot, component.name), digests
    )
