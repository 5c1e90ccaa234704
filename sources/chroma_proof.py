"""Proving a copy of a ChromaDB directory without Chroma: every part sound, all of one moment.

Chroma itself compares nothing: with the files of another moment it counts right and gives wrong
vectors, or none. What a proof cannot see are files that lack only changed vectors; that they are of
the database's moment is what the way they are copied is for (`snap.sources.chroma_copy`).
"""

import contextlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from snap.errors import IntegrityError, SourceError

from .chroma_index import LABELS, Index, prove_index
from .chroma_store import (
    ADD,
    DATABASE,
    DELETE,
    UPSERT,
    Collection,
    Store,
    operations,
    read_store,
    record_ids,
)
from .sqlite import examine

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Proof:
    """What a directory holds.

    Attributes:
        store: What its database says.
        counts: How many records each collection has, by its id, as Chroma will count them: what
            waits in the queue is applied.
        indexes: The headers' facts of each segment that has files, by the segment's id.
        pages: Pages of the database.
        problems: What is wrong; empty if nothing is.
    """

    store: Store
    counts: dict[str, int]
    indexes: dict[str, Index]
    pages: int
    problems: tuple[str, ...]


def prove_store(folder: Path) -> Proof:
    """Check a copy to which nobody writes, and count its records.

    Raises:
        SourceError: its database is damaged, or none of Chroma's.
        sqlite3.Error, OSError: it cannot be read at all.
    """
    database = folder / DATABASE
    pages = int(examine(database).statistics["page_count"])
    counts: dict[str, int] = {}
    indexes: dict[str, Index] = {}
    problems: list[str] = []
    with contextlib.closing(open_copy(database)) as db:
        store = read_store(db)
        for collection in store.collections:
            records = record_ids(db, collection.records)
            replay(records, operations(db, collection.id, collection.applied))
            counts[collection.id] = len(records)
            try:
                index = _index_of(folder, collection)
                if index is not None:
                    indexes[collection.vectors] = index
                _compare(db, collection, records, index)
            except IntegrityError as error:
                problems.append(f"collection {collection.name}: {error}")
    return Proof(store, counts, indexes, pages, tuple(problems))


def open_copy(database: Path) -> sqlite3.Connection:
    """Open a database to which nobody writes."""
    uri = f"file:{quote(str(database))}?immutable=1"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _index_of(folder: Path, collection: Collection) -> Index | None:
    """Return the proven index; None before its first writing, when there is no list of labels."""
    files = folder / collection.vectors
    if not collection.vectors or not (files / LABELS).exists():
        return None
    try:
        return prove_index(files, collection.dimension)
    except OSError as error:
        raise IntegrityError(f"{error.filename}: {error.strerror}") from error


def _compare(
    db: sqlite3.Connection, collection: Collection, records: set[str], index: Index | None
) -> None:
    """Compare the ids of the records with those of the vectors, as both will be after opening."""
    if not collection.vectors:
        return
    # Without files Chroma begins at the start of the queue, whatever number is recorded.
    reached = 0 if index is None else max(collection.persisted, index.own_number)
    ids = set() if index is None else set(index.ids)
    replay(ids, operations(db, collection.id, reached))
    if ids == records:
        return
    missing, extra = records - ids, ids - records
    what = []
    if missing:
        what.append(f"{len(missing)} records have no vector ({_some(missing)})")
    if extra:
        what.append(f"{len(extra)} vectors have no record ({_some(extra)})")
    raise IntegrityError(" and ".join(what))


def _some(ids: set[str]) -> str:
    shown = ", ".join(sorted(ids)[:_NAMED])
    return f"{shown}, ..." if len(ids) > _NAMED else shown


def replay(ids: set[str], what: Iterable[tuple[int, str, Any]]) -> None:
    """Apply operations to a set of ids, as Chroma does when it opens."""
    for kind, id_, _vector in what:
        if kind in (ADD, UPSERT):
            ids.add(id_)
        elif kind == DELETE:
            ids.discard(id_)


def require_proven(folder: Path) -> Proof:
    """Prove a directory.

    Raises:
        IntegrityError: something is wrong with it.
    """
    try:
        proof = prove_store(folder)
    except (SourceError, sqlite3.Error, OSError) as error:
        raise IntegrityError(f"{folder}: {error}") from error
    if proof.problems:
        raise IntegrityError(f"{folder}: {proof.problems[0]}")
    return proof
