"""Choosing how a file is cut, from its first bytes and from how it was cut before."""

from .config import Parameters
from .extents import LAYOUT_PAGES, MAX_PAGE_BYTES, MIN_PAGE_BYTES, Content, Paging

HEAD_BYTES = 4096
"""So much of a file's beginning decides."""
_SQLITE_MAGIC = b"SQLite format 3\0"
_PAGE_BYTES = 4096
_TAR_MAGIC_AT = 257
_SMALLEST_CHUNK = 4096
_LARGEST_CHUNK = 65_536
_UNKNOWN_CHUNK = 16_384
_CHUNKS_A_FILE = 32_768
_STREAMS = (
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"\xfd7zXZ\0",
    b"BZh",
    b"\x04\x22\x4d\x18",
    b"PK\x03\x04",
    b"7z\xbc\xaf\x27\x1c",
    b"%PDF",
    b"\x7fELF",
    b"PGDMP",
)
"""How compressed files, archives, programs and dumps begin: written from front to back."""


def choose_paging(
    head: bytes, *, hint: int, parameters: Parameters, previous: Content | None
) -> Paging | None:
    """Return how a file is cut into pages, None for content-defined chunks.

    A database writes pages in place; what is written from front to back moves when something is
    inserted. SQLite says its page size itself and a source may know it (``hint``). Else a file
    stays as it was cut before, so that it can be compared; a new one is cut into pages where its
    beginning is neither text nor that of an archive.
    """
    page_bytes = sqlite_page_bytes(head) or hint
    if page_bytes:
        return _paging(page_bytes, parameters)
    if previous is not None:
        return previous.paging if previous.layout == LAYOUT_PAGES else None
    if len(head) < min(HEAD_BYTES, parameters.blob_avg_bytes) or not _is_binary(head):
        return None
    return _paging(min(_PAGE_BYTES, parameters.blob_avg_bytes // 4), parameters)


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
    # A region is what one blob can hold, in whole pages.
    return Paging(page_bytes, max(1, parameters.blob_avg_bytes // page_bytes) * page_bytes)


def _is_binary(head: bytes) -> bool:
    if head.startswith(_STREAMS) or head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return False
    if b"\0" in head:
        return True
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The head may end inside of a character.
        return error.start < len(head) - 4
    return False
