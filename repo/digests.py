"""Companions: the digests of the chunks in a data blob (spec/FORMAT.md §7.6).

They are what a file is compared with: known on any machine from the extents of its previous
version, with the metadata secret alone, and without the data.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from . import codec
from .codec import DecodeError
from .crypto import DIGEST_BYTES, Keys

STREAM_UNIT = 0
"""The unit of companions whose chunks are content-defined; of pages it is their size."""


@dataclass(frozen=True)
class Digests:
    """The chunks of one data blob, in order: their lengths in bytes, and their digests joined."""

    lengths: tuple[int, ...]
    joined: bytes

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Return where in the blob each chunk begins, and last where the blob ends."""
        return (0, *accumulate(self.lengths))

    def digest(self, number: int) -> bytes:
        """Return the digest of one chunk."""
        return self.joined[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]

    def encode(self) -> bytes:
        """Return the plaintext of the digests blob."""
        lengths = struct.pack(f"<{len(self.lengths)}I", *self.lengths)
        return codec.encode({"digests": self.joined, "lengths": lengths})


def decode_digests(plain: bytes) -> Digests:
    """Return what a digests blob says.

    Raises:
        DecodeError: no chunks, a chunk of no length, or columns that do not fit each other.
    """
    body = codec.decode(plain)
    joined = codec.field(body, "digests", bytes)
    if not joined or len(joined) % DIGEST_BYTES:
        raise DecodeError("a companion's digests are cut short, or there are none")
    lengths = codec.int_column(body, "lengths", "I", len(joined) // DIGEST_BYTES)
    if not all(lengths):
        raise DecodeError("a companion has a chunk of no length")
    return Digests(lengths, joined)


@dataclass(frozen=True)
class Chunks:
    """How a data blob that is to be stored is made of chunks.

    Attributes:
        unit: The page size, `STREAM_UNIT` for content-defined chunks.
        lengths: Of content-defined chunks, in bytes.
    """

    unit: int
    lengths: Sequence[int] = ()

    def companion(self, keys: Keys, plain: bytes | bytearray | memoryview) -> Digests:
        """Return the companion of the blob ``plain``."""
        lengths = tuple(self.lengths)
        if self.unit != STREAM_UNIT:
            count, rest = divmod(len(plain), self.unit)
            lengths = (self.unit,) * count + ((rest,) if rest else ())
        view, ends = memoryview(plain), accumulate(lengths)
        chunks = (view[end - n : end] for end, n in zip(ends, lengths, strict=True))
        return Digests(lengths, keys.chunk_digests(chunks))
