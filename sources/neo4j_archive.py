"""The inside of a Neo4j dump: 24 bytes that count its files, and a tar of the store's files.

Read in one pass and proven whole: every file, both blocks of zeros at the tar's end, and as many
files and bytes as the beginning says (Neo4j 5.26.29; the layout is that of its `Dumper`).
"""

import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from snap.errors import SourceError
from snap.repo.clock import SECOND_NS
from snap.repo.source import NodeType
from snap.repo.tree import is_plain_name

from .neo4j_envelope import (
    GZIP_MAGIC,
    MAGIC_BYTES,
    ZSTD_MAGIC,
    NotWhole,
    PieceReader,
    make_envelope,
    open_envelope,
)
from .neo4j_server import ByteStream

_PRELUDE = struct.Struct(">4sIQQ")
"""``zstd``, version 1, number of regular files, sum of their sizes."""
_PRELUDE_MAGIC, _PRELUDE_VERSION = b"zstd", 1
_BLOCK = tarfile.BLOCKSIZE
_PAX_LIMIT_BYTES = 1 << 20
_NUMBER_LIMIT_BYTES = 40
"""Numbers in extended headers are text. Python refuses to read thousands of digits, and takes half
a minute for a million of them where it does not."""
_SIZE_LIMIT_BYTES = 1 << 60
_TIME_LIMIT_NS = 1 << 62
_NAME_LIMIT_BYTES = 4096
_DEPTH_LIMIT = 64
"""Neo4j nests five deep; every level of every name costs memory, as entries come in no order."""
_PIECE_BYTES = 1 << 20
_OTHER_MAGICS = (b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"BTV1", b"BZV1")
"""Of older dumps, and of the backups that Enterprise makes online."""
_TEXT = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\r\x1b")


class ArchiveEntry(NamedTuple):
    """A file or folder of a store. ``mtime_ns`` is 0 where the archive does not tell."""

    path: tuple[bytes, ...]
    type: NodeType
    mode: int
    mtime_ns: int
    size_bytes: int


class EntryReader:
    """The content of one entry, from front to back."""

    def __init__(self, source: PieceReader, size_bytes: int) -> None:
        self._source = source
        self._rest = size_bytes

    def read(self, length: int) -> bytes:
        """Return at most ``length`` bytes; none at the end."""
        if not self._rest:
            return b""
        data = self._source.read(min(length, self._rest))
        if not data:
            raise NotWhole("the dump is cut short")
        self._rest -= len(data)
        return data

    def skip(self) -> None:
        """Leave out what was not read."""
        while self.read(_PIECE_BYTES):
            pass


@dataclass(frozen=True, slots=True)
class Counted:
    """What the beginning of a dump says is in it."""

    files: int
    bytes: int


class Archive:
    """An open dump. Iterate once over `entries`; after the last, it is proven whole.

    ``counted`` is None for gzip, which has no counts.
    """

    def __init__(self, magic: bytes, stream: ByteStream) -> None:
        pieces = open_envelope(magic, stream)
        self._source = PieceReader(pieces)
        self.counted = self._read_prelude() if magic == ZSTD_MAGIC else None
        self.files = 0
        self.bytes = 0

    def _read_prelude(self) -> Counted:
        magic, version, files, size = _PRELUDE.unpack(self._source.exactly(_PRELUDE.size))
        if magic != _PRELUDE_MAGIC or version != _PRELUDE_VERSION:
            raise NotWhole("the dump is damaged, or of a Neo4j that makes others: no counts in it")
        return Counted(files, size)

    def entries(self) -> Iterator[tuple[ArchiveEntry, EntryReader]]:
        """Yield what is in the archive, in its order; what is not read of one is left out.

        Raises:
            NotWhole: it is damaged or cut short, or not as many files as it says.
        """
        overrides: dict[str, bytes] = {}
        while True:
            block = self._source.exactly(_BLOCK)
            if not any(block):
                break
            header = _parse_header(block)
            size = _size_of(header, overrides)
            padded = -(-size // _BLOCK) * _BLOCK
            if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE):
                if size > _PAX_LIMIT_BYTES:
                    raise NotWhole("the dump is damaged: a header of impossible size")
                records = _parse_pax(self._source.exactly(padded)[:size])
                overrides = records if header.type == tarfile.XHDTYPE else overrides
                continue
            entry = _entry(header, size, overrides)
            overrides = {}
            if entry is None:
                continue
            if entry.type is NodeType.FILE:
                self.files += 1
                self.bytes += size
            reader = EntryReader(self._source, size)
            yield entry, reader
            reader.skip()
            self._source.exactly(padded - size)
        self._prove_end()

    def _prove_end(self) -> None:
        if any(self._source.exactly(_BLOCK)):
            raise NotWhole("the dump is damaged: its archive does not end as archives do")
        while rest := self._source.read(_PIECE_BYTES):
            if any(rest):
                raise NotWhole("the dump is damaged: something follows its archive")
        found = Counted(self.files, self.bytes)
        if self.counted is not None and self.counted != found:
            raise NotWhole(
                f"the dump is not whole: {found.files} files with {found.bytes} bytes instead of "
                f"{self.counted.files} with {self.counted.bytes}"
            )


def recognise(magic: bytes) -> bool:
    """Return whether a dump that begins so can be opened; others are kept as they are.

    Raises:
        SourceError: this is text, mixed into the dump by the server's programs, or nothing.
    """
    if magic in (ZSTD_MAGIC, GZIP_MAGIC):
        return True
    if len(magic) < MAGIC_BYTES:
        raise NotWhole("the dump is empty, or cut short at its beginning")
    if not magic.startswith(_OTHER_MAGICS) and _TEXT.issuperset(magic):
        raise SourceError(
            f"text is mixed into the dump, which begins with {magic!r}",
            "Neo4j before 5.19 writes its progress there, and NEO4J_DEBUG makes others do so",
        )
    return False


def _parse_header(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise NotWhole(f"the dump is damaged: {error}") from error


def _size_of(header: tarfile.TarInfo, overrides: dict[str, bytes]) -> int:
    size = header.size
    if "size" in overrides:
        told = overrides["size"]
        if not told.isdigit() or len(told) > _NUMBER_LIMIT_BYTES:
            raise NotWhole("the dump is damaged: a size that is no number")
        size = int(told)
    if not 0 <= size <= _SIZE_LIMIT_BYTES:
        raise NotWhole("the dump is damaged: an impossible size")
    return size if header.type not in (tarfile.DIRTYPE,) else 0


def _parse_pax(data: bytes) -> dict[str, bytes]:
    """Return the records of an extended header: ``length key=value`` and a line end each."""
    records = {}
    while data:
        digits, space, _ = data[:_NUMBER_LIMIT_BYTES].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        if not len(digits) + 2 < length <= len(data):
            raise NotWhole("the dump is damaged: an extended header")
        record, data = data[len(digits) + 1 : length], data[length:]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n"):
            raise NotWhole("the dump is damaged: an extended header")
        records[key.decode("utf-8", "backslashreplace")] = value[:-1]
    return records


def _entry(header: tarfile.TarInfo, size: int, overrides: dict[str, bytes]) -> ArchiveEntry | None:
    """Return an entry; None for the folder that all is in, which comes twice."""
    name = overrides.get("path", header.name.encode("utf-8", "surrogateescape"))
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if name.startswith(b"/") or not all(map(is_plain_name, parts)):
        raise NotWhole(f"the dump has a name that leads elsewhere: {name[:80]!r}")
    if len(name) > _NAME_LIMIT_BYTES or len(parts) > _DEPTH_LIMIT:
        raise NotWhole(f"the dump has a name of impossible length: {name[:80]!r}")
    if header.type == tarfile.DIRTYPE:
        type_ = NodeType.DIR
    elif header.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
        type_ = NodeType.FILE
    else:
        raise NotWhole(f"the dump has something that is neither file nor folder: {name[:80]!r}")
    if not parts:
        if type_ is NodeType.FILE:
            raise NotWhole("the dump has a file without a name")
        return None
    return ArchiveEntry(parts, type_, header.mode & 0o777, _time_of(header, overrides), size)


def _time_of(header: tarfile.TarInfo, overrides: dict[str, bytes]) -> int:
    """Return when it was modified, in ns; 0 where that is told in no way that can be."""
    told = overrides.get("mtime")
    if told is not None and len(told) > _NUMBER_LIMIT_BYTES:
        return 0
    try:
        # Not as a float, which has no nanoseconds.
        time_ns = Decimal(told.decode() if told is not None else header.mtime) * SECOND_NS
        # Compared before it is made whole: that of 1e999999 takes a minute.
        return int(time_ns) if abs(time_ns) < _TIME_LIMIT_NS else 0
    except (ValueError, ArithmeticError):
        return 0


# Making one again


class OutputFile(NamedTuple):
    """A file or folder to be put into a dump. ``content`` yields ``size_bytes`` bytes in order."""

    path: tuple[bytes, ...]
    is_folder: bool
    mode: int
    mtime_ns: int
    size_bytes: int
    content: Callable[[], Iterator[bytes | memoryview]]


def make_dump(files: list[OutputFile]) -> Iterator[bytes]:
    """Yield a dump that `neo4j-admin database load` takes, with these files in their order.

    Raises:
        NotWhole: a file has fewer or more bytes than it should; what was written is no dump.
    """
    yield from make_envelope(_inner(files))


def _inner(files: list[OutputFile]) -> Iterator[bytes | memoryview]:
    regular = [file for file in files if not file.is_folder]
    size = sum(file.size_bytes for file in regular)
    yield _PRELUDE.pack(_PRELUDE_MAGIC, _PRELUDE_VERSION, len(regular), size)
    yield _header(".", is_folder=True, mode=0o755, mtime_ns=0, size=0)
    for file in files:
        name = "./" + b"/".join(file.path).decode("utf-8", "surrogateescape")
        yield _header(
            name,
            is_folder=file.is_folder,
            mode=file.mode,
            mtime_ns=file.mtime_ns,
            size=file.size_bytes,
        )
        if file.is_folder:
            continue
        written = 0
        for piece in file.content():
            written += len(piece)
            yield piece
        if written != file.size_bytes:
            raise NotWhole(f"{name} has {written} bytes instead of {file.size_bytes}")
        yield bytes(-written % _BLOCK)
    yield bytes(2 * _BLOCK)


def _header(name: str, *, is_folder: bool, mode: int, mtime_ns: int, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
    info.mode, info.size = mode, size
    info.mtime = mtime_ns // SECOND_NS
    # Long names and large sizes go into an extended header, as Neo4j's own dumps have it.
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
