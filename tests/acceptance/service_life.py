"""A small service as it lives: a database, vectors, a graph's dump, some files; a little new a day.

All of it at an eighth of its size, as are the repository's blobs and packs (`PARAMETERS`), so that
what happens in packs is what happens to a service of 40 MB with the usual ones.
"""

import hashlib
import random
import sqlite3
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from snap.repo.clock import Clock
from snap.repo.config import Parameters
from snap.repo.source import Source
from snap.sources.sqlite import SqliteSource
from tests.repo.dictsource import DictSource, Item, records

PARAMETERS = Parameters(
    pack_bytes=4 << 20, blob_min_bytes=32 << 10, blob_avg_bytes=128 << 10, blob_max_bytes=512 << 10
)
MONTH = 30
"""Nights between two large changes."""
SQLITE, CHROMA, NEO4J, FILES = "orders", "vectors", "graph", "settings"

_PAGE_BYTES = 512
_ROWS = 4_800
_ELEMENTS = 800
_WIDTHS = (132, 256, 8)
"""Links, vector and label of an element: Chroma's layout with a vector of 64 numbers."""
_LINES = 7_000
_FILES = 25

Content = dict[bytes, bytes]
"""Files of a component by their paths."""


class Life:
    """What is backed up. ``folder`` takes the database and the copy that is made of it."""

    def __init__(self, folder: Path, seed: int, clock: Clock) -> None:
        self._chance = random.Random(seed)
        self._folder, self._clock = folder, clock
        self._path = folder / "orders.db"
        self._next_row = 0
        chance = self._chance
        self._elements = [self._element(n) for n in range(_ELEMENTS)]
        self._lines = [self._line() for _ in range(_LINES)]
        self._files = {b"%02d/file" % n: self._text(chance.randint(1, 120)) for n in range(_FILES)}
        self._log: list[bytes] = []
        with closing(sqlite3.connect(self._path)) as db, db:
            db.execute(f"pragma page_size={_PAGE_BYTES}")
            db.execute("create table orders(id integer primary key, customer text, note text)")
            db.execute("create index by_customer on orders(customer)")
            self._append_rows(db, _ROWS)

    def live(self, night: int) -> None:
        """Let a day pass. What grows grows by a third in two years."""
        self._change_database(night)
        self._change_vectors(night)
        self._change_graph(night)
        self._change_files(night)

    def sources(self) -> list[Source]:
        """Return what is backed up together."""
        return sources_of(self._path, self._vectors(), self._graph(), self._small(), self._clock)

    def picture(self) -> dict[str, str]:
        """Return what a snapshot of now holds, a hash for each component."""
        content = {CHROMA: self._vectors(), NEO4J: self._graph(), FILES: self._small()}
        return {SQLITE: rows_digest(self._path.read_bytes())} | {
            name: files_digest(files) for name, files in content.items()
        }

    def _change_database(self, night: int) -> None:
        chance = self._chance
        with closing(sqlite3.connect(self._path)) as db:
            db.execute("pragma synchronous=off")
            with db:
                (first,) = db.execute("select min(id) from orders").fetchone()
                some = [chance.randrange(first, self._next_row) for _ in range(_ROWS // 400)]
                if night % MONTH == 7:
                    # A batch touches a tenth of all rows, in a row.
                    start = chance.randrange(first, self._next_row - _ROWS // 10)
                    some = list(range(start, start + _ROWS // 10))
                update = "update orders set note=? where id=?"
                db.executemany(update, [(self._note(), id_) for id_ in some])
                self._append_rows(db, _ROWS // 240)
                gone = _ROWS // 240 - (3 if night % 2 else 2)
                db.execute("delete from orders where id < ?", (first + gone,))
            if night % (6 * MONTH) == 100:
                db.execute("vacuum")

    def _append_rows(self, db: sqlite3.Connection, count: int) -> None:
        ids = range(self._next_row, self._next_row + count)
        rows = [(id_, f"c{self._chance.randrange(900):04}", self._note()) for id_ in ids]
        db.executemany("insert into orders values(?, ?, ?)", rows)
        self._next_row += count

    def _note(self) -> str:
        return self._chance.randbytes(self._chance.randint(20, 120)).hex()

    def _element(self, number: int) -> bytearray:
        links, vector, _ = _WIDTHS
        return bytearray(self._chance.randbytes(links + vector) + number.to_bytes(8, "little"))

    def _change_vectors(self, night: int) -> None:
        links, vector, _ = _WIDTHS
        chance = self._chance
        for element in chance.sample(self._elements, len(self._elements) // 16):
            at = chance.randrange(links // 4) * 4
            element[at : at + 4] = chance.randbytes(4)
        share = 8 if night % MONTH == 20 else 100
        for element in chance.sample(self._elements, len(self._elements) // share):
            element[links : links + vector] = chance.randbytes(vector)
        if night % 2:
            self._elements.append(self._element(len(self._elements)))

    def _vectors(self) -> Content:
        header = len(self._elements).to_bytes(8, "little") + bytes(92)
        return {b"index/data_level0.bin": b"".join(self._elements), b"index/header.bin": header}

    def _line(self) -> bytes:
        chance = self._chance
        return b"%x {%x} %x\n" % tuple(chance.getrandbits(n) for n in (64, 200, 48))

    def _change_graph(self, night: int) -> None:
        chance, lines = self._chance, self._lines
        for _ in range(4):
            lines[chance.randrange(len(lines))] = self._line()
        at = chance.randrange(len(lines))
        lines[at:at] = [self._line() for _ in range(20 + night % 9)]
        at = chance.randrange(len(lines) - 20)
        del lines[at : at + 20]
        if night % MONTH == 27:
            at = chance.randrange(len(lines) - 900)
            lines[at : at + 900] = [self._line() for _ in range(900)]

    def _graph(self) -> Content:
        return {b"neo4j.dump": b"".join(self._lines)}

    def _text(self, lines: int) -> bytes:
        return b"".join(self._line() for _ in range(lines))

    def _change_files(self, night: int) -> None:
        chance = self._chance
        name = chance.choice(sorted(self._files))
        self._files[name] = self._text(chance.randint(1, 120))
        if night % 7 == 3:
            del self._files[chance.choice(sorted(self._files))]
            self._files[b"%02d/%x" % (night % 25, night)] = self._text(chance.randint(1, 120))
        if night % MONTH == 0:
            self._log.clear()
        self._log += [self._line() for _ in range(30)]

    def _small(self) -> Content:
        return self._files | {b"log": b"".join(self._log)}


def sources_of(
    database: Path, vectors: Content, graph: Content, small: Content, clock: Clock
) -> list[Source]:
    """Return the sources of a state, be it of now or one that was restored."""
    data = b"index/data_level0.bin"
    items: Mapping[bytes, Item] = vectors | {data: records(data, vectors[data], _WIDTHS)}
    return [
        SqliteSource(database, spool_dir=database.parent, name=SQLITE, clock=clock),
        DictSource(items, name=CHROMA, kind="chroma"),
        DictSource(graph, name=NEO4J, kind="neo4j"),
        DictSource(small, name=FILES),
    ]


def component_digest(name: str, content: Content) -> str:
    """Return the hash that `Life.picture` gave, of what was restored."""
    if name == SQLITE:
        (database,) = content.values()
        return rows_digest(database)
    return files_digest(content)


def files_digest(files: Content) -> str:
    """Return a hash of names and bytes."""
    digest = hashlib.sha256()
    for path, data in sorted(files.items()):
        digest.update(b"%d %s %d " % (len(path), path, len(data)) + data)
    return digest.hexdigest()


def rows_digest(database: bytes) -> str:
    """Return a hash of all rows: SQLite's copy of a database differs in a counter of its header."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(f"file:{uuid.uuid4()}?mode=memory", uri=True)) as db:
        db.deserialize(database)
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        for row in db.execute("select id, customer, note from orders order by id"):
            digest.update(repr(row).encode())
    return digest.hexdigest()
