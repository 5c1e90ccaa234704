"""Opening and making the envelope of a Neo4j dump: `DZV1` and a zstd frame, or `DGV1` and gzip.

What is inside comes as it is asked for: a compressed log of zeros must not fill the memory.
"""

import zlib
from collections.abc import Iterator
from functools import partial

import zstandard

from snap.errors import SourceError

from .neo4j_server import ByteStream

ZSTD_MAGIC = b"DZV1"
GZIP_MAGIC = b"DGV1"
MAGIC_BYTES = 4
_FRAME_MAGIC = 0xFD2FB528
_READ_BYTES = 1 << 20
_PIECE_BYTES = 1 << 20
_BLOCK_LIMIT_BYTES = 128 << 10
"""Most that a block of a zstd frame holds, packed or not (RFC 8878 §3.1.1.2.4)."""
_RAW, _RLE = 0, 1
_LEVEL = 1
"""The loader takes any; the fastest that has a checksum of the whole."""


class NotWhole(SourceError):
    """A dump that is cut short, damaged, or not one."""


class PieceReader:
    """Pieces as a stream of bytes that is read exactly."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def read(self, length: int) -> bytes:
        """Return at most ``length`` bytes, at least one; none at the end."""
        while not self._piece:
            try:
                self._piece = memoryview(next(self._pieces))
            except StopIteration:
                return b""
        data, self._piece = self._piece[:length], self._piece[length:]
        return bytes(data)

    def exactly(self, length: int) -> bytes:
        """Return so many bytes.

        Raises:
            NotWhole: there are fewer.
        """
        parts, missing = [], length
        while missing:
            part = self.read(missing)
            if not part:
                raise NotWhole("the dump is cut short")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def open_envelope(magic: bytes, stream: ByteStream) -> Iterator[bytes]:
    """Yield what is in the envelope, in pieces of bounded size; ``stream`` follows the magic.

    At its end the checksum has been compared, and nothing follows.

    Raises:
        NotWhole: it is cut short or damaged, or something follows it.
    """
    source = PieceReader(iter(partial(stream.read, _READ_BYTES), b""))
    yield from _open_zstd(source) if magic == ZSTD_MAGIC else _open_gzip(source)
    if source.read(1):
        raise NotWhole("something follows the dump's end")


def _open_zstd(source: PieceReader) -> Iterator[bytes]:
    opener = zstandard.ZstdDecompressor().decompressobj()
    try:
        has_checksum, header = _frame_header(source)
        yield from _given(opener.decompress(header))
        is_last = False
        while not is_last:
            raw = source.exactly(3)
            number = int.from_bytes(raw, "little")
            is_last, kind, size = bool(number & 1), number >> 1 & 3, number >> 3
            if size > _BLOCK_LIMIT_BYTES and kind != _RLE:
                raise NotWhole("the dump is damaged: a block of impossible size")
            body = source.exactly(1 if kind == _RLE else size)
            # Block by block: what comes out of one is bounded.
            yield from _given(opener.decompress(raw + body))
        if has_checksum:
            yield from _given(opener.decompress(source.exactly(4)))
    except zstandard.ZstdError as error:
        raise NotWhole(f"the dump is damaged: {error}") from error
    if not opener.eof or opener.unused_data:
        raise NotWhole("the dump is damaged: its frame does not end where it says")


def _frame_header(source: PieceReader) -> tuple[bool, bytes]:
    """Return whether a checksum ends the frame, and the header (RFC 8878 §3.1.1.1)."""
    start = source.exactly(5)
    if int.from_bytes(start[:4], "little") != _FRAME_MAGIC:
        raise NotWhole("the dump is damaged: no zstd frame in it")
    descriptor = start[4]
    is_single_segment = bool(descriptor & 0x20)
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    size = (1 if is_single_segment else 0, 2, 4, 8)[descriptor >> 6]
    rest = source.exactly((0 if is_single_segment else 1) + dictionary + size)
    return bool(descriptor & 4), start + rest


def _given(data: bytes) -> Iterator[bytes]:
    if data:
        yield data


def _open_gzip(source: PieceReader) -> Iterator[bytes]:
    opener = zlib.decompressobj(31)
    waiting = b""
    try:
        while not opener.eof:
            waiting = waiting or source.read(_READ_BYTES)
            if not waiting:
                raise NotWhole("the dump is cut short")
            yield from _given(opener.decompress(waiting, _PIECE_BYTES))
            waiting = opener.unconsumed_tail
    except zlib.error as error:
        raise NotWhole(f"the dump is damaged: {error}") from error
    if opener.unused_data:
        raise NotWhole("something follows the dump's end")


def make_envelope(pieces: Iterator[bytes | memoryview]) -> Iterator[bytes]:
    """Yield a `DZV1` envelope around what comes; `neo4j-admin database load` takes it.

    Its window is that of zstd's level, far below the 128 MiB that the loader allows.
    """
    yield ZSTD_MAGIC
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
    for piece in pieces:
        yield from _given(packer.compress(piece))
    yield packer.flush()
