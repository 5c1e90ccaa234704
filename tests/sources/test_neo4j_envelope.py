import contextlib
import gzip
import io
import random
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from snap.sources.neo4j_envelope import (
    GZIP_MAGIC,
    ZSTD_MAGIC,
    NotWhole,
    PieceReader,
    make_envelope,
    open_envelope,
)

NOISE = random.Random(1).randbytes(300_000)
CONTENT = NOISE + bytes(5_000_000) + b"text " * 100_000


def zstd(data: bytes, **options: object) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)  # type: ignore[arg-type]


def opened(magic: bytes, packed: bytes) -> bytes:
    return b"".join(open_envelope(magic, io.BytesIO(packed)))


@pytest.mark.parametrize("level", [1, 3, 19])
@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("content_size", [True, False])
def test_frames_of_any_making_are_opened(level: int, checksum: bool, content_size: bool) -> None:
    packed = zstd(CONTENT, level=level, write_checksum=checksum, write_content_size=content_size)
    assert opened(ZSTD_MAGIC, packed) == CONTENT
    assert opened(ZSTD_MAGIC, zstd(b"", level=level, write_checksum=checksum)) == b""


def test_gzip_is_opened() -> None:
    assert opened(GZIP_MAGIC, gzip.compress(CONTENT)) == CONTENT


@pytest.mark.parametrize("magic", [ZSTD_MAGIC, GZIP_MAGIC])
def test_pieces_are_bounded_however_well_zeros_compress(magic: bytes) -> None:
    zeros = bytes(200 << 20)
    packed = zstd(zeros) if magic == ZSTD_MAGIC else gzip.compress(zeros, 1)
    largest = total = 0
    for piece in open_envelope(magic, io.BytesIO(packed)):
        largest, total = max(largest, len(piece)), total + len(piece)
    assert total == len(zeros)
    assert largest <= 1 << 20


@pytest.mark.parametrize("magic", [ZSTD_MAGIC, GZIP_MAGIC])
def test_every_cut_and_every_byte_behind_is_noticed(magic: bytes) -> None:
    data = NOISE[:300]
    packed = zstd(data, write_checksum=True) if magic == ZSTD_MAGIC else gzip.compress(data)
    for length in range(len(packed)):
        with pytest.raises(NotWhole):
            opened(magic, packed[:length])
    for more in (b"\0", packed, b"Done: 39 files"):
        with pytest.raises(NotWhole, match="follows"):
            opened(magic, packed + more)


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_byte_that_is_wrong_is_noticed_or_harmless(at: int, mask: int) -> None:
    data = b"some words, some words, some numbers 0123456789" * 20 + NOISE[:200]
    packed = bytearray(zstd(data, write_checksum=True))
    packed[at % len(packed)] ^= mask
    with contextlib.suppress(NotWhole):
        assert opened(ZSTD_MAGIC, bytes(packed)) == data


@given(st.binary(max_size=200))
def test_rubbish_is_never_more_than_a_clear_error(rubbish: bytes) -> None:
    for magic in (ZSTD_MAGIC, GZIP_MAGIC):
        for start in (b"", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08"):
            with contextlib.suppress(NotWhole):
                opened(magic, start + rubbish)


def test_what_is_made_is_opened_again() -> None:
    pieces: Iterator[bytes | memoryview] = iter([NOISE, memoryview(CONTENT), b""])
    made = b"".join(make_envelope(pieces))
    assert made[:4] == ZSTD_MAGIC
    assert opened(ZSTD_MAGIC, made[4:]) == NOISE + CONTENT


def test_pieces_are_read_as_a_stream() -> None:
    reader = PieceReader(iter([b"abc", b"", b"defgh"]))
    assert [reader.read(2), reader.exactly(4), reader.read(9), reader.read(9)] == [
        b"ab",
        b"cdef",
        b"gh",
        b"",
    ]
    with pytest.raises(NotWhole, match="short"):
        reader.exactly(1)
