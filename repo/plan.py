"""The plan of a restore: which slice of which blob goes where, in the order of the packs.

It is kept in a temporary database that spills to disk by itself, so that memory does not grow with
what is restored; a small plan never touches a disk.
"""

import contextlib
import marshal
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from snap.errors import IntegrityError, SnapError

from .cache import Location
from .extents import Extent
from .ids import BlobId, ObjectId
from .pack import PackEntry
from .source import Attributes, NodeType
from .target import TargetEntry

_SCHEMA = """
create table blobs(
    row integer primary key, id blob not null, pack blob, pack_kind integer, kind integer,
    compression integer, key integer, nonce integer, offset integer, stored integer, raw integer);
create table extents(
    blob integer not null, file integer not null, at integer not null, start integer not null,
    length integer not null);
create table files(
    row integer primary key, whole integer not null, data_bytes integer not null,
    entry blob not null);
create table links(inode blob primary key, file integer not null) without rowid;
create table names(row integer primary key, file integer not null, entry blob not null);
"""
_CACHE_KIB = 16 << 10
"""Memory that SQLite takes before it spills, for the tables and again for a sort."""
_RECENT_BLOBS = 64 << 10
"""Ids and numbers of so many blobs take 12 MiB."""
_RECENT_FILES = 1024
_BATCH_ROWS = 1024
_SIZE_LIMIT_BYTES = 1 << 63


class PlanFailed(SnapError):
    """The plan of a restore cannot be kept."""


class Slice(NamedTuple):
    """``length`` bytes of a blob from ``start``, and the place in a file where they belong."""

    file: int
    entry: TargetEntry
    at: int
    start: int
    length: int
    is_whole_file: bool = False


class PlannedFile(NamedTuple):
    """A file of the plan; ``data_bytes`` leaves its holes out."""

    number: int
    entry: TargetEntry
    is_whole: bool
    data_bytes: int


@dataclass(slots=True)
class PlannedBlob:
    """A blob and where its slices go. ``location`` is None where no index says where it lies.

    A blob of very many slices comes several times in a row, ``continues`` set on all but the last.
    """

    id: BlobId
    location: Location | None
    slices: list[Slice]
    continues: bool = False


class Plan:
    """Collects files, then yields their blobs in the order of packs. For one thread.

    ``locate`` says where a blob lies, None where no index knows. It is asked once for each, but for
    files of very many blobs, which may have forgotten one when it comes again.

    Raises:
        PlanFailed: from any method; there is no room for temporary files.
    """

    def __init__(self, locate: Callable[[BlobId], Location | None]) -> None:
        self._locate = locate
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("pragma journal_mode=off")
        self._db.execute(f"pragma cache_size=-{_CACHE_KIB}")
        self._db.executescript(_SCHEMA)
        self._db.execute("begin")
        self._recent: dict[BlobId, int] = {}
        self._entries: OrderedDict[int, TargetEntry] = OrderedDict()
        self._blobs = self._files = self._extents = 0
        self._pending: list[tuple[int, int, int, int, int]] = []
        self._pending_blobs: list[tuple[Any, ...]] = []
        self._pending_files: list[tuple[int, bool, int, bytes]] = []

    def __enter__(self) -> "Plan":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    # Collecting

    def add_file(self, entry: TargetEntry, extents: Iterable[Extent]) -> int:
        """Add a file and return its number. What ``extents`` raises leaves the plan as it was."""
        number = self._files + 1
        before, data_bytes = self._extents, 0
        if entry.size_bytes >= _SIZE_LIMIT_BYTES:
            raise IntegrityError("a file larger than any file system can hold")
        try:
            for at, blob, start, length in merge_extents(extents):
                self._pending.append((self._number_of(blob), number, at, start, length))
                self._extents += 1
                data_bytes += length
                if len(self._pending) >= _BATCH_ROWS:
                    self._flush()
        except BaseException:
            self._forget_extents(before)
            raise
        self._files = number
        is_whole = self._extents == before + 1 and data_bytes == entry.size_bytes
        self._pending_files.append((number, is_whole, data_bytes, _encode_entry(entry)))
        if len(self._pending_files) >= _BATCH_ROWS:
            self._flush()
        return number

    def _number_of(self, id_: BlobId) -> int:
        number = self._recent.get(id_)
        if number is not None:
            return number
        if len(self._recent) >= _RECENT_BLOBS:
            # Those that come again get another row, which `blobs` finds beside the first.
            self._recent.clear()
        self._blobs += 1
        self._recent[id_] = self._blobs
        place = self._locate(id_)
        row = (id_, *(None,) * 9) if place is None else _blob_row(id_, place)
        self._pending_blobs.append((self._blobs, *row))
        return self._blobs

    def _forget_extents(self, kept: int) -> None:
        self._flush()
        with _explained():
            self._db.execute("delete from extents where rowid>?", (kept,))
        self._extents = kept

    def _flush(self) -> None:
        with _explained():
            sql = "insert into blobs values(?,?,?,?,?,?,?,?,?,?,?)"
            self._db.executemany(sql, self._pending_blobs)
            self._db.executemany("insert into extents values(?,?,?,?,?)", self._pending)
            self._db.executemany("insert into files values(?,?,?,?)", self._pending_files)
        self._pending_blobs.clear()
        self._pending.clear()
        self._pending_files.clear()

    def first_name(self, attributes: Attributes) -> int | None:
        """Return the number of the file of which this is a further name, None if it is none."""
        with _explained():
            sql = "select file from links where inode=?"
            row = self._db.execute(sql, (_inode_key(attributes),)).fetchone()
        return None if row is None else int(row[0])

    def remember_name(self, attributes: Attributes, file: int) -> None:
        """Say that other names of this inode are names of ``file``."""
        row = (_inode_key(attributes), file)
        with _explained():
            self._db.execute("insert or ignore into links values(?,?)", row)

    def add_name(self, entry: TargetEntry, file: int) -> None:
        """Add a further name of a file."""
        row = (file, _encode_entry(entry))
        with _explained():
            self._db.execute("insert into names(file, entry) values(?,?)", row)

    # Reading

    def blobs(self, slices_limit: int) -> Iterator[PlannedBlob]:
        """Yield each blob with its slices, ordered by pack and place in it.

        Those that no index knows come first. At most ``slices_limit`` slices come at once.
        """
        self._flush()
        with _explained():
            self._db.execute("create index by_blob on extents(blob, file, at, start, length)")
            self._db.execute("create table ordered(rank integer primary key, blob integer)")
            self._db.execute(
                "insert into ordered(blob) select row from blobs order by pack, offset, id"
            )
        rows = self._rows(
            "select b.*, e.file, e.at, e.start, e.length, f.entry "
            "from ordered o cross join blobs b on b.row=o.blob "
            "cross join extents e on e.blob=b.row "
            "left join files f on f.row=e.file and f.whole order by o.rank, e.file, e.at"
        )
        current: PlannedBlob | None = None
        for row in rows:
            if current is None or row[1] != current.id:
                if current is not None:
                    yield current
                current = _decode_blob(row)
            elif len(current.slices) >= slices_limit:
                current.continues = True
                yield current
                current = PlannedBlob(current.id, current.location, [])
            current.slices.append(self._slice(*row[11:]))
        if current is not None:
            yield current

    def _slice(self, file: int, at: int, start: int, length: int, entry: bytes | None) -> Slice:
        if entry is not None:
            return Slice(file, _decode_entry(entry), at, start, length, is_whole_file=True)
        return Slice(file, self._entry(file), at, start, length)

    def _entry(self, file: int) -> TargetEntry:
        found = self._entries.get(file)
        if found is None:
            with _explained():
                sql = "select entry from files where row=?"
                row = self._db.execute(sql, (file,)).fetchone()
            found = self._entries[file] = _decode_entry(row[0])
            if len(self._entries) > _RECENT_FILES:
                self._entries.popitem(last=False)
        return found

    def files(self, *, also: Iterable[int] = ()) -> Iterator[PlannedFile]:
        """Yield the files that are not whole slices of one blob, and those numbered ``also``."""
        self._flush()
        with _explained():
            self._db.execute("create table wanted(file integer primary key)")
            rows = ((file,) for file in also)
            self._db.executemany("insert or ignore into wanted values(?)", rows)
        for number, whole, data_bytes, entry in self._rows(
            "select row, whole, data_bytes, entry from files "
            "where not whole or row in (select file from wanted) order by row"
        ):
            yield PlannedFile(number, _decode_entry(entry), bool(whole), data_bytes)

    def names(self) -> Iterator[tuple[TargetEntry, int, TargetEntry]]:
        """Yield the further names: the entry, the number of its file, and that file's entry."""
        self._flush()
        for entry, file, first in self._rows(
            "select n.entry, n.file, f.entry from names n join files f on f.row=n.file "
            "order by n.row"
        ):
            yield _decode_entry(entry), file, _decode_entry(first)

    def _rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        with _explained():
            cursor = self._db.execute(sql)
        while True:
            with _explained():
                rows = cursor.fetchmany(_BATCH_ROWS)
            if not rows:
                return
            yield from rows


def merge_extents(extents: Iterable[Extent]) -> Iterator[tuple[int, BlobId, int, int]]:
    """Yield place in the file, blob, start in it and length of all data; what adjoins as one."""
    at = place = start = length = 0
    blob: BlobId | None = None
    for extent in extents:
        if blob is not None and extent.blob == blob and extent.offset == start + length:
            length += extent.length
        else:
            if blob is not None:
                yield place, blob, start, length
            place, blob, start, length = at, extent.blob, extent.offset, extent.length
        at += extent.length
    if blob is not None:
        yield place, blob, start, length


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise PlanFailed(
            f"the plan of the restore cannot be kept: {error}",
            "free some space where temporary files go, or name another folder in TMPDIR",
        ) from error


def _inode_key(attributes: Attributes) -> bytes:
    # Some systems have numbers beyond what an integer of SQLite holds.
    return b"%d:%d" % (attributes.device, attributes.inode or 0)


def _encode_entry(entry: TargetEntry) -> bytes:
    a = entry.attributes
    return marshal.dumps(
        (
            entry.path,
            entry.size_bytes,
            (
                a.mode,
                a.uid,
                a.gid,
                a.user,
                a.group,
                a.mtime_ns,
                a.ctime_ns,
                a.inode,
                a.device,
                a.links,
                a.rdev,
                a.xattrs,
            ),
        )
    )


def _decode_entry(encoded: bytes) -> TargetEntry:
    path, size_bytes, fields = marshal.loads(encoded)
    return TargetEntry(path, NodeType.FILE, Attributes(*fields), size_bytes)


def _blob_row(id_: BlobId, place: Location) -> tuple[object, ...]:
    e = place.entry
    at_pack = (id_, place.pack_id, place.pack_kind, e.kind, e.compression, e.key, e.nonce)
    return (*at_pack, e.offset, e.stored_length, e.raw_length)


def _decode_blob(row: tuple[Any, ...]) -> PlannedBlob:
    _, id_, pack, pack_kind, *fields = row[:11]
    blob_id = BlobId(id_)
    if pack is None:
        return PlannedBlob(blob_id, None, [])
    entry = PackEntry(blob_id, *fields)
    return PlannedBlob(blob_id, Location(ObjectId(pack), pack_kind, entry), [])
