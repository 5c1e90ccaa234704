import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from snap.errors import IntegrityError, SourceError
from snap.sources.chroma_index import LABELS
from snap.sources.chroma_proof import prove_store, replay, require_proven
from snap.sources.chroma_store import ADD, DATABASE, DELETE, UPDATE, UPSERT


def folders(store: Path) -> list[Path]:
    return sorted(path.parent for path in store.glob(f"*/{LABELS}"))


def test_a_sound_directory_is_proven_and_counted(made_chroma: Path) -> None:
    proof = require_proven(made_chroma)
    assert sorted(proof.counts.values()) == [1500, 1500]
    assert len(proof.indexes) == 2
    assert proof.pages > 100


def test_proving_writes_nothing(made_chroma: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in made_chroma.rglob("*")}
    require_proven(made_chroma)
    assert {p: p.stat().st_mtime_ns for p in made_chroma.rglob("*")} == before


def test_an_index_of_an_earlier_moment_is_told_by_its_collection(
    made_chroma: Path, later_chroma: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(later_chroma, mixed)
    [old, _], [new, _] = folders(made_chroma), folders(mixed)
    assert old.name == new.name
    shutil.rmtree(new)
    shutil.copytree(old, new)
    [problem] = prove_store(mixed).problems
    assert problem.startswith("collection filled-")
    assert "1000 vectors have no record" in problem


def test_a_database_of_an_earlier_moment_is_found(
    made_chroma: Path, later_chroma: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(later_chroma, mixed)
    shutil.copy(made_chroma / DATABASE, mixed / DATABASE)
    assert len(prove_store(mixed).problems) == 2


def test_a_missing_folder_leaves_records_without_vectors(chroma_folder: Path) -> None:
    shutil.rmtree(folders(chroma_folder)[0])
    with pytest.raises(IntegrityError, match=r"(999|1000) records have no vector") as caught:
        require_proven(chroma_folder)
    assert "..." in str(caught.value)


def test_a_missing_folder_is_no_harm_where_the_queue_has_every_operation(
    chroma_folder: Path,
) -> None:
    [folder, _] = folders(chroma_folder)
    with contextlib.closing(sqlite3.connect(chroma_folder / DATABASE)) as db, db:
        [(collection,)] = db.execute(
            "select collection from segments where id=?", (folder.name,)
        ).fetchall()
        ids = {r[0] for r in db.execute("select id from embeddings_queue")}
        prefix = next(i for i in ids if i).partition("-")[0]
        topic = f"persistent://default/default/{collection}"
        records = db.execute(
            "select e.embedding_id, e.id from embeddings e join segments s on s.id=e.segment_id "
            "where s.collection=?",
            (collection,),
        ).fetchall()
        assert prefix
        db.execute("delete from embeddings_queue where topic=?", (topic,))
        put = "insert into embeddings_queue(seq_id, operation, topic, id) values(?, 0, ?, ?)"
        db.executemany(put, [(10_000 + n, topic, id_) for id_, n in records])
    shutil.rmtree(folder)
    assert prove_store(chroma_folder).problems == ()


def test_a_damaged_database_is_told(chroma_folder: Path) -> None:
    with (chroma_folder / DATABASE).open("r+b") as file:
        file.seek(40_000)
        file.write(b"x" * 20_000)
    with pytest.raises(IntegrityError):
        require_proven(chroma_folder)
    with pytest.raises((SourceError, sqlite3.Error)):
        prove_store(chroma_folder)


def test_operations_are_applied_as_chroma_does() -> None:
    ids = {"a"}
    log = [(ADD, "b"), (UPDATE, "c"), (UPSERT, "d"), (DELETE, "a"), (DELETE, "e"), (ADD, "b")]
    replay(ids, [(kind, id_, None) for kind, id_ in log])
    assert ids == {"b", "d"}
