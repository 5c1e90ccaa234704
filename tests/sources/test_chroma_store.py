import contextlib
import sqlite3
from pathlib import Path

import pytest

from snap.errors import SourceError
from snap.sources.chroma_proof import open_copy
from snap.sources.chroma_store import ADD, DATABASE, operations, read_store, record_ids


def test_collections_are_read_with_what_is_in_files_and_what_waits(made_chroma: Path) -> None:
    with contextlib.closing(open_copy(made_chroma / DATABASE)) as db:
        store = read_store(db)
        assert (store.version, store.is_purged) == ("1.x", True)
        found = {c.name: c for c in store.collections}
        assert sorted(found) == ["filled-0", "filled-1"]
        for number, collection in enumerate(found[name] for name in sorted(found)):
            assert (collection.dimension, collection.space) == (8, "l2")
            assert (collection.pending, collection.threshold) == (500, 1000)
            assert collection.metadata == {"number": number}
            assert collection.settings["max_neighbors"] == 16
            assert not collection.is_being_written
            assert len(record_ids(db, collection.records)) == 1500
            waiting = list(operations(db, collection.id, collection.persisted))
            assert [kind for kind, _, _ in waiting] == [ADD] * 500
            assert all(vector is not None and len(vector) == 32 for _, _, vector in waiting)
        assert store.newest == 3000


def test_files_are_taken_as_being_written_while_a_threshold_of_operations_waits(
    chroma_folder: Path,
) -> None:
    database = chroma_folder / DATABASE
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        schema = "update collections set schema_str=replace(schema_str, ?, ?)"
        db.execute(schema, ('"sync_threshold":1000', '"sync_threshold":500'))
    with contextlib.closing(open_copy(database)) as db:
        assert all(c.is_being_written for c in read_store(db).collections)


def test_numbers_of_old_versions_are_read_from_their_blobs(chroma_folder: Path) -> None:
    database = chroma_folder / DATABASE
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        rows = db.execute("select segment_id, seq_id from max_seq_id").fetchall()
        db.execute("drop table max_seq_id")
        db.execute("create table max_seq_id(segment_id text primary key, seq_id blob not null)")
        old = [(segment, number.to_bytes(8, "big")) for segment, number in rows]
        db.executemany("insert into max_seq_id values(?, ?)", old)
    with contextlib.closing(open_copy(database)) as db:
        assert {c.pending for c in read_store(db).collections} == {500}


def test_where_old_versions_keep_their_settings_is_known(chroma_folder: Path) -> None:
    database = chroma_folder / DATABASE
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        db.execute("update collections set schema_str='{}'")
        [(first,), (second,)] = db.execute("select id from collections order by name").fetchall()
        put = "insert into collection_metadata(collection_id, key, int_value) values(?, ?, ?)"
        db.execute(put, (first, "hnsw:sync_threshold", 77))
        configuration = '{"hnsw_configuration": {"space": "cosine", "sync_threshold": 88}}'
        db.execute("update collections set config_json_str=? where id=?", (configuration, second))
    with contextlib.closing(open_copy(database)) as db:
        found = {c.name: c for c in read_store(db).collections}
    assert found["filled-0"].threshold == 77
    assert (found["filled-1"].threshold, found["filled-1"].space) == (88, "cosine")


def test_unknown_migrations_are_an_unknown_version(chroma_folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(chroma_folder / DATABASE)) as db, db:
        db.execute("update migrations set version=99 where dir='sysdb' and version=10")
    with contextlib.closing(open_copy(chroma_folder / DATABASE)) as db:
        assert read_store(db).version == "unknown"


def test_another_database_is_none_of_chromas(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "other")) as db:
        db.execute("create table t(a)")
        with pytest.raises(SourceError, match="tables of ChromaDB"):
            read_store(db)
