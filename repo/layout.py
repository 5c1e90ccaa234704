"""Choosing how a file is cut: from its first bytes, its size, and how it was cut before."""

from typing import NamedTuple

from .config import Parameters
from .extents import MAX_PAGE_BYTES, MIN_PAGE_BYTES, Content, Paging
from .records import Records, are_widths

HEAD_BYTES = 4096
"""So much of a file's beginning decides."""
_SQLITE_MAGIC = b"SQLite format 3\0"
_SMALLEST_CHUNK = 4096
_LARGEST_CHUNK = 65_536
_UNKNOWN_CHUNK = 16_384
_CHUNKS_A_FILE = 32_768
_COLUMN_PAGE_BYTES = 1024
"""Found by measuring (spec/DESIGN.md): a changed vector stores little beside itself."""
_SMALLEST_RECORD = 64
"""Taking shorter records apart costs more time than it is worth: 200 MB/s at this size."""


class Hints(NamedTuple):
    """What a source knows of a file: see the fields of the same names of `Entry`."""

    page_bytes: int = 0
    record_widths: tuple[int, ...] = ()


def choose_paging(head: bytes, hint: int, parameters: Parameters) -> Paging | None:
    """Return how a file is cut into pages, None for content-defined chunks.

    A database writes pages in place, so they are compared where they are: what a source knows
    counts (``hint``, 0 if nothing), else what SQLite says of its own pages. What is written from
    front to back moves when something is inserted.
    """
    page_bytes = hint or sqlite_page_bytes(head)
    return _paging(page_bytes, parameters) if page_bytes else None


def choose_records(
    widths: tuple[int, ...], size_bytes: int, parameters: Parameters
) -> Records | None:
    """Return how a file is taken apart into columns, None where that is not worth it.

    ``widths`` are what the source believes; nonsense is as good as nothing.
    """
    if len(widths) < 2 or not are_widths(widths) or sum(widths) < _SMALLEST_RECORD:
        return None
    records = Records(widths, size_bytes)
    is_worth_it = records.count > 1 and size_bytes > parameters.blob_min_bytes
    return records if is_worth_it else None


def column_paging(parameters: Parameters) -> Paging:
    """Return how a column of records is cut."""
    return _in_regions(_COLUMN_PAGE_BYTES, parameters)


def choose_chunk_bytes(size_bytes: int, parameters: Parameters, previous: Content | None) -> int:
    """Return how long the chunks of a stream are to be on average.

    The smaller, the less is stored again where changes are scattered, as in a dump of a table; and
    the more there is to do for each byte. So a file has at most about 32,768 of them, and they have
    4 KiB at least and 64 KiB at most; a stream (of size 0) is judged by its former size. What was
    chosen before stays, because other chunks cannot be compared, until it is far from right.
    """
    known = size_bytes or (previous.size_bytes if previous is not None else 0)
    chunk = _SMALLEST_CHUNK if known else _UNKNOWN_CHUNK
    while chunk < _LARGEST_CHUNK and known > chunk * _CHUNKS_A_FILE:
        chunk *= 2
    before = previous.chunk_bytes if previous is not None else 0
    if before and chunk // 4 <= before <= chunk * 4:
        return before
    # Repositories of smaller blobs have smaller chunks; FastCDC's least is 256.
    return max(256, min(chunk, parameters.blob_avg_bytes // 16))


def sqlite_page_bytes(head: bytes) -> int:
    """Return the page size that a SQLite database's first bytes tell, 0 if it is none.

    Bytes 16 and 17, big endian; 1 stands for 65,536 (sqlite.org/fileformat.html §1.3.2).
    """
    if not head.startswith(_SQLITE_MAGIC):
        return 0
    size = int.from_bytes(head[16:18], "big")
    return MAX_PAGE_BYTES if size == 1 else size


def _paging(page_bytes: int, parameters: Parameters) -> Paging | None:
    if not MIN_PAGE_BYTES <= page_bytes <= MAX_PAGE_BYTES or page_bytes & (page_bytes - 1):
        return None
    return _in_regions(page_bytes, parameters)


def _in_regions(page_bytes: int, parameters: Parameters) -> Paging:
    # A region is what one blob can hold, in whole pages.
    return Paging(page_bytes, max(1, parameters.blob_avg_bytes // page_bytes) * page_bytes)
