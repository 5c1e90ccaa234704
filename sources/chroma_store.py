"""What the SQLite database of a ChromaDB directory says: collections, segments, the queue.

Names of tables and columns are Chroma's, 0.4.24 to 1.5.9. ``embeddings_queue`` is its log of
operations; a segment has applied those up to its number in ``max_seq_id``.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from snap.errors import SourceError

DATABASE = "chroma.sqlite3"
_DEFAULT_THRESHOLD = 1000
ADD, UPDATE, UPSERT, DELETE = range(4)
_TABLES = frozenset({"collections", "segments", "embeddings", "embeddings_queue", "max_seq_id"})
_FINGERPRINTS = {
    (1, 3, 4): "0.4",
    (1, 3, 7): "0.5",
    (2, 4, 9): "0.6",
    (2, 6, 10): "1.x",
}
"""The last migrations of embeddings_queue, metadb and sysdb, and who made them: the version itself
is written nowhere."""


_OWN_NUMBER = frozenset({"0.4", "0.5"})
"""Before 0.5.6 what a vector segment has applied is said by its own files only."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection, with what is to be known to copy and to prove it.

    Attributes:
        vectors: The id of its vector segment, which is the name of its folder; empty if none.
        records: The id of the segment of ids, documents and metadata.
        persisted: The number up to which its files hold the operations; 0 where they hold none, or
            where (before 0.5.6) only the files know.
        applied: The number up to which its records do.
        pending: How many operations in the queue are above ``persisted``.
        threshold: With so many pending, Chroma writes the files.
    """

    id: str
    name: str
    tenant: str
    database: str
    dimension: int | None
    vectors: str
    records: str
    persisted: int
    applied: int
    pending: int
    threshold: int
    space: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_being_written(self) -> bool:
        """Whether its files are, or may any moment be, rewritten.

        They are as soon as that many operations wait; that it was done is recorded afterwards.
        """
        return bool(self.vectors) and self.pending >= self.threshold


@dataclass(frozen=True, slots=True)
class Store:
    """All collections, in the order of their ids; equal if nothing was written between."""

    collections: tuple[Collection, ...]
    version: str
    migrations: Mapping[str, int]
    is_purged: bool
    newest: int


def read_store(db: sqlite3.Connection) -> Store:
    """Read what a database says, in the transaction that it is in.

    Raises:
        SourceError: this is no database of Chroma's.
        sqlite3.Error: it cannot be read.
    """
    tables = {row[0] for row in db.execute("select name from sqlite_schema where type='table'")}
    if not tables >= _TABLES:
        raise SourceError(
            "its database has not the tables of ChromaDB",
            "name the persist directory of ChromaDB 0.4 or later",
        )
    migrations = dict(db.execute("select dir, max(version) from migrations group by dir"))
    key = (
        migrations.get("embeddings_queue", 0),
        migrations.get("metadb", 0),
        migrations.get("sysdb", 0),
    )
    version = _FINGERPRINTS.get(key, "unknown")
    return Store(
        tuple(_collections(db, tables, keeps_own_number=version in _OWN_NUMBER)),
        version,
        migrations,
        _is_purged(db, tables),
        _number(db.execute("select max(seq_id) from embeddings_queue").fetchone()[0]),
    )


def operations(
    db: sqlite3.Connection, collection: str, above: int
) -> Iterator[tuple[int, str, bytes | None]]:
    """Yield kind, id and vector of a collection's operations in the queue, the oldest first."""
    sql = (
        "select operation, id, vector from embeddings_queue "
        "where seq_id > ? and topic like ? order by seq_id"
    )
    yield from db.execute(sql, (above, f"%/{collection}"))


def record_ids(db: sqlite3.Connection, segment: str) -> set[str]:
    """Return the ids that a metadata segment holds."""
    sql = "select embedding_id from embeddings where segment_id=?"
    return {row[0] for row in db.execute(sql, (segment,))}


def _collections(
    db: sqlite3.Connection, tables: set[str], *, keeps_own_number: bool
) -> Iterator[Collection]:
    """Yield the collections; ``keeps_own_number`` where files may know better than the table."""
    columns = {row[1] for row in db.execute("pragma table_info(collections)")}
    chosen = [c if c in columns else "null" for c in ("config_json_str", "schema_str")]
    segments: dict[str, dict[str, str]] = {}
    for segment, scope, collection in db.execute("select id, scope, collection from segments"):
        segments.setdefault(collection, {})[scope] = segment
    numbers = {row[0]: _number(row[1]) for row in db.execute("select * from max_seq_id")}
    databases = {}
    if "databases" in tables:
        databases = {r[0]: r[1:] for r in db.execute("select id, tenant_id, name from databases")}
    own = "database_id" if "database_id" in columns else "null"
    rows = db.execute(
        f"select id, name, dimension, {own}, {', '.join(chosen)} from collections order by id"
    ).fetchall()
    for id_, name, dimension, database, *configurations in rows:
        mine = segments.get(id_, {})
        vectors, records = mine.get("VECTOR", ""), mine.get("METADATA", "")
        persisted = numbers.get(vectors, 0)
        pending = 0
        if vectors in numbers or not keeps_own_number:
            pending = db.execute(
                "select count(*) from embeddings_queue where seq_id > ? and topic like ?",
                (persisted, f"%/{id_}"),
            ).fetchone()[0]
        metadata = _metadata(db, id_)
        settings = _settings(configurations, metadata)
        tenant, database_name = databases.get(database, ("", ""))
        yield Collection(
            id=id_,
            name=name,
            tenant=tenant,
            database=database_name,
            dimension=dimension,
            vectors=vectors,
            records=records,
            persisted=persisted,
            applied=numbers.get(records, 0),
            pending=pending,
            threshold=_threshold(settings),
            space=str(settings.get("space", "l2")),
            metadata=metadata,
            settings=settings,
        )


def _metadata(db: sqlite3.Connection, collection: str) -> dict[str, Any]:
    columns = [row[1] for row in db.execute("pragma table_info(collection_metadata)")]
    found: dict[str, Any] = {}
    rows = db.execute("select * from collection_metadata where collection_id=?", (collection,))
    for row in rows.fetchall():
        values = dict(zip(columns, row, strict=True))
        for column in ("str_value", "int_value", "float_value"):
            if values.get(column) is not None:
                found[values["key"]] = values[column]
        if values.get("bool_value") is not None:
            found[values["key"]] = bool(values["bool_value"])
    return found


def _settings(configurations: list[str | None], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the index's settings, by their names of today, from where each version keeps them."""
    found = {
        key.removeprefix("hnsw:"): value
        for key, value in metadata.items()
        if key.startswith("hnsw:")
    }
    for text in configurations:
        try:
            parsed = json.loads(text or "{}")
        except ValueError:
            continue
        found |= _settings_below(parsed)
    return found


def _settings_below(parsed: Any) -> dict[str, Any]:
    if not isinstance(parsed, dict):
        return {}
    index = parsed.get("keys", {}).get("#embedding", {}).get("float_list", {})
    config = index.get("vector_index", {}).get("config", {})
    hnsw = config.get("hnsw") or parsed.get("hnsw") or parsed.get("hnsw_configuration") or {}
    found = {k: v for k, v in hnsw.items() if isinstance(v, str | int | float)}
    if isinstance(config.get("space"), str):
        found["space"] = config["space"]
    function = config.get("embedding_function") or {}
    if isinstance(function.get("name"), str):
        found["embedding_function"] = function["name"]
    return found


def _threshold(settings: Mapping[str, Any]) -> int:
    value = settings.get("sync_threshold", _DEFAULT_THRESHOLD)
    return value if isinstance(value, int) and value > 0 else _DEFAULT_THRESHOLD


def _is_purged(db: sqlite3.Connection, tables: set[str]) -> bool:
    """Return whether operations leave the queue once they are in the files."""
    if "embeddings_queue_config" not in tables:
        return False
    row = db.execute("select config_json_str from embeddings_queue_config").fetchone()
    return row is None or '"automatically_purge":false' not in str(row[0]).replace(" ", "")


def _number(value: Any) -> int:
    """Return a number of an operation; up to 0.6 it is a blob of eight bytes."""
    if value is None:
        return 0
    return int.from_bytes(value, "big") if isinstance(value, bytes) else int(value)
