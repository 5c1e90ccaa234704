import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from snap.repo.cache_file import CacheDamaged, CacheFailed, CacheFile, many_pages, transaction, view

INSTANCE = b"i" * 16
SCHEMA = "create table things(name text not null)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite"


@pytest.fixture
def file(path: Path) -> Iterator[CacheFile]:
    file = CacheFile(path, INSTANCE, SCHEMA, 1)
    yield file
    file.close()


def add(file: CacheFile, name: str) -> None:
    file.run(lambda db: db.execute("insert into things values(?)", (name,)))


def names(file: CacheFile) -> list[str]:
    return [name for (name,) in file.run(lambda db: db.execute("select * from things").fetchall())]


def test_what_was_written_is_there_for_the_next(path: Path, file: CacheFile) -> None:
    add(file, "a")
    again = CacheFile(path, INSTANCE, SCHEMA, 1)
    assert names(again) == ["a"]
    assert again.generation == 0
    again.close()


def test_another_version_begins_anew(path: Path, file: CacheFile) -> None:
    add(file, "a")
    file.close()
    later = CacheFile(path, INSTANCE, SCHEMA, 2)
    assert names(later) == []
    assert later.generation == 1
    later.close()


def test_who_meets_damage_gets_the_answer_of_the_new_file_after_it_was_filled(
    file: CacheFile,
) -> None:
    add(file, "a lie")

    def work(db: sqlite3.Connection) -> str:
        (name,) = db.execute("select name from things").fetchone()
        if name != "true":
            raise CacheDamaged("a lie")
        return str(name)

    file.reload = lambda: add(file, "true")
    assert file.run(work) == "true"
    assert file.generation == 1


def test_a_file_that_is_damaged_as_soon_as_it_is_new_is_given_up(file: CacheFile) -> None:
    reloads = []

    def work(db: sqlite3.Connection) -> None:
        raise CacheDamaged("again")

    file.reload = lambda: reloads.append(1)
    with pytest.raises(CacheFailed, match="again"):
        file.run(work)
    assert reloads == [1]
    file.reload = lambda: file.run(work)
    with pytest.raises(CacheFailed, match="again"):
        file.run(work)


def test_a_transaction_does_all_or_nothing(file: CacheFile) -> None:
    def work(db: sqlite3.Connection) -> None:
        with many_pages(db), transaction(db):
            db.execute("insert into things values('half')")
            raise KeyError

    with pytest.raises(KeyError):
        file.run(work)
    assert names(file) == []


def test_a_view_does_not_change_while_another_writes(path: Path, file: CacheFile) -> None:
    other = CacheFile(path, INSTANCE, SCHEMA, 1)

    def work(db: sqlite3.Connection) -> tuple[int, int]:
        count = "select count(*) from things"
        with view(db):
            before = db.execute(count).fetchone()[0]
            add(other, "new")
            return before, db.execute(count).fetchone()[0]

    assert file.run(work) == (0, 0)
    assert names(file) == ["new"]
    other.close()
