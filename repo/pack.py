"""Packs: objects of many blobs (spec/FORMAT.md §7).

::

    header   blobs, one after the other   directory   footer
"""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import codec
from .codec import DecodeError
from .crypto import (
    KEY_BYTES,
    SALT_BYTES,
    SEALED_KEY_BYTES,
    TAG_BYTES,
    Keys,
    nonce_bytes,
    seal,
    unseal,
)
from .ids import FORMAT_VERSION, METADATA_BLOBS, BlobId, Kind, ObjectId, object_id

_MAGIC = b"SNAPPACK"
_END_MAGIC = b"SNAPDIR\0"
HEADER_BYTES = 12
FOOTER_BYTES = 12
DATA_PACK = 1
META_PACK = 2
BLOB_LIMIT_BYTES = 64 << 20
_ENTRY = struct.Struct("<32sBBHIIII")
ENTRY_BYTES = _ENTRY.size
_ENTRY_OVERHEAD_BYTES = SALT_BYTES + TAG_BYTES


class PackEntry(NamedTuple):
    """Where one blob lies in its pack, and how to open it (spec/FORMAT.md §7.3)."""

    id: BlobId
    kind: int
    compression: int
    key: int
    nonce: int
    offset: int
    stored_length: int
    raw_length: int


@dataclass(frozen=True, slots=True)
class PackSummary:
    """A pack as the index knows it."""

    id: ObjectId
    kind: int
    size_bytes: int
    key_count: int
    entries: tuple[PackEntry, ...]

    @property
    def header_bytes(self) -> int:
        """Return the length of the header with its key table."""
        return HEADER_BYTES + self.key_count * key_entry_bytes(self.kind)


class PendingBlob(NamedTuple):
    """A blob that is ready to be packed: ``body`` is its plaintext or its zstd frame."""

    id: BlobId
    kind: int
    compression: int
    body: bytes | bytearray | memoryview
    raw_length: int


def key_entry_bytes(pack_kind: int) -> int:
    """Return the length of one entry of a pack's key table."""
    return SEALED_KEY_BYTES if pack_kind == DATA_PACK else SALT_BYTES


def pack_kind_of(blob_kind: int) -> int:
    """Return which kind of pack holds blobs of this kind."""
    return DATA_PACK if blob_kind == Kind.DATA else META_PACK


class PackBuilder:
    """A pack being filled: one random key, blobs encrypted one by one, from several threads.

    `reserve` and `add` are called under the owner's lock; `encrypt` outside of it, in parallel.
    """

    def __init__(self, keys: Keys, kind: int) -> None:
        self.kind = kind
        self._keys = keys
        if kind == DATA_PACK:
            self._key = os.urandom(KEY_BYTES)
            table = keys.public.seal_pack_key(self._key, keys.repository_id)
        else:
            table = os.urandom(SALT_BYTES)
            self._key = keys.meta_pack_key(table)
        # Made once: for small blobs the key schedule costs more than the encryption.
        self._cipher = AESGCM(self._key)
        self._header = _header_start(kind, 1) + table
        self._parts: list[tuple[PackEntry, bytes]] = []
        self._reserved = 0
        self.reserved_bytes = 0
        self.closed = False

    def reserve(self, blob: PendingBlob) -> int:
        """Return the nonce for a blob that will be added."""
        nonce = self._reserved
        self._reserved += 1
        self.reserved_bytes += len(blob.body)
        return nonce

    def encrypt(self, blob: PendingBlob, nonce: int) -> bytes:
        """Return a blob's stored form (spec/FORMAT.md §6.2)."""
        aad = self._keys.aad(blob.kind, blob.id)
        return self._cipher.encrypt(nonce_bytes(nonce), blob.body, aad)

    def add(self, blob: PendingBlob, nonce: int, stored: bytes) -> None:
        """Take an encrypted blob."""
        entry = PackEntry(
            blob.id,
            blob.kind,
            blob.compression,
            key=0,
            nonce=nonce,
            offset=0,
            stored_length=len(stored),
            raw_length=blob.raw_length,
        )
        self._parts.append((entry, stored))

    def is_complete(self) -> bool:
        """Return whether it is closed and every blob that was reserved has been added."""
        return self.closed and len(self._parts) == self._reserved

    def finish(
        self, shuffle: Callable[[list[Any]], None], room_of: Callable[[int], bytearray]
    ) -> tuple[memoryview, PackSummary, bytearray]:
        """Return the pack's bytes, what the index will say of it, and the room that they lie in.

        The order of blobs must not tell which follow each other in a file, so they are shuffled.
        Gives its parts up while it works. ``room_of`` gives at least so many bytes; they are the
        pack's until they are used for the next: memory that is there need not be zeroed anew.
        """
        shuffle(self._parts)
        at = len(self._header)
        most = at + sum(len(stored) for _, stored in self._parts) + _directory_bytes(self._reserved)
        room = room_of(most)
        pack = memoryview(room)
        pack[:at] = self._header
        entries = []
        while self._parts:
            entry, stored = self._parts.pop()
            entries.append(_moved(entry, at))
            pack[at : at + len(stored)] = stored
            at += len(stored)
        pack[at:most] = _seal_directory(self._keys, self._header, entries)
        pack = pack[:most]
        return pack, PackSummary(object_id(pack), self.kind, most, 1, tuple(entries)), room

    def check_tags(self, pack: memoryview, entries: Sequence[PackEntry]) -> None:
        """Decrypt every blob of the finished pack once.

        Raises:
            DecodeError: one does not open.
        """
        for e in entries:
            stored = pack[e.offset : e.offset + e.stored_length]
            try:
                self._cipher.decrypt(nonce_bytes(e.nonce), stored, self._keys.aad(e.kind, e.id))
            except InvalidTag as error:
                raise DecodeError("does not decrypt as it was encrypted") from error


def _moved(e: PackEntry, offset: int) -> PackEntry:
    return PackEntry(
        e.id, e.kind, e.compression, e.key, e.nonce, offset, e.stored_length, e.raw_length
    )


def _directory_bytes(count: int) -> int:
    return _ENTRY_OVERHEAD_BYTES + count * ENTRY_BYTES + FOOTER_BYTES


def _seal_directory(
    keys: Keys, header: bytes, entries: Sequence[PackEntry], salt: bytes | None = None
) -> bytes:
    records = b"".join(_ENTRY.pack(*entry) for entry in entries)
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    aad = keys.aad(Kind.DIRECTORY, object_id(header))
    directory = salt + seal(keys.directory_key(salt), aad, records)
    return directory + len(directory).to_bytes(4, "little") + _END_MAGIC


def _each_entry(records: bytes | bytearray) -> Iterator[PackEntry]:
    return map(PackEntry._make, _ENTRY.iter_unpack(records))


class MovedPack:
    """A pack of blobs that come from others as they are, with the keys that open them.

    Nothing is opened, so it takes no private key (spec/FORMAT.md §7.1). The blobs stay in the order
    in which they come, which is that of packs that were shuffled.
    """

    def __init__(self, keys: Keys, kind: int) -> None:
        self.kind = kind
        self._keys = keys
        self._table: dict[bytes, int] = {}
        # Offsets in them are those within the blobs. Entries would take eight times their size.
        self._records = bytearray()
        self._pack = bytearray()

    @property
    def stored_bytes(self) -> int:
        """Return how much its blobs take so far."""
        return len(self._pack)

    @property
    def key_count(self) -> int:
        """Return how many keys it has so far."""
        return len(self._table)

    def add(self, entry: PackEntry, key: bytes, stored: bytes | memoryview) -> None:
        """Take a blob in its stored form, with the entry of its pack's key table."""
        id_, kind, compression, _, nonce, _, stored_length, raw_length = entry
        number, offset = self._table.setdefault(key, len(self._table)), len(self._pack)
        self._records += _ENTRY.pack(
            id_, kind, compression, number, nonce, offset, stored_length, raw_length
        )
        self._pack += stored

    def finish(self) -> tuple[bytearray, PackSummary]:
        """Return the pack's bytes and what the index will say of it; it is of no use any more."""
        header = _header_start(self.kind, len(self._table)) + b"".join(self._table)
        # Let go: who still refers to this does not keep the pack in memory.
        pack, self._pack = self._pack, bytearray()
        start = len(header)
        entries = tuple(_moved(e, start + e.offset) for e in _each_entry(self._records))
        pack[:0] = header
        pack += _seal_directory(self._keys, header, entries)
        key_count = len(self._table)
        return pack, PackSummary(object_id(pack), self.kind, len(pack), key_count, entries)


def rebuild_frame(keys: Keys, summary: PackSummary, stored: bytes) -> bytes | None:
    """Return a pack of which only what surrounds the blobs was damaged, or was cut off or added.

    Header and directory follow from what the index says, as far as they are not random; that the
    result has the hash in its name proves it. None where it has not.
    """
    table_end = summary.header_bytes
    blobs_end = table_end + sum(entry.stored_length for entry in summary.entries)
    salt = stored[blobs_end : blobs_end + SALT_BYTES]
    if len(salt) < SALT_BYTES or not 0 < summary.key_count < 1 << 16:
        return None
    header = _header_start(summary.kind, summary.key_count) + stored[HEADER_BYTES:table_end]
    directory = _seal_directory(keys, header, summary.entries, salt)
    pack = header + stored[table_end:blobs_end] + directory
    return pack if object_id(pack) == summary.id else None


def _header_start(kind: int, key_count: int) -> bytes:
    return _MAGIC + bytes((FORMAT_VERSION, kind)) + key_count.to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class PackHeader:
    """A pack's header: its kind and its key table, not yet opened."""

    kind: int
    table: tuple[bytes, ...]
    raw: bytes


def header_length(start: bytes | memoryview) -> int:
    """Return how long the header is, from its first 12 bytes.

    Raises:
        DecodeError: these are not the first bytes of a pack.
    """
    if len(start) < HEADER_BYTES or bytes(start[:8]) != _MAGIC:
        raise DecodeError("not a pack")
    if start[8] != FORMAT_VERSION:
        raise DecodeError(f"a pack of version {start[8]}")
    if start[9] not in (DATA_PACK, META_PACK):
        raise DecodeError(f"a pack of unknown kind {start[9]}")
    count = int.from_bytes(start[10:12], "little")
    if count == 0:
        raise DecodeError("a pack without keys")
    return HEADER_BYTES + count * key_entry_bytes(start[9])


def parse_header(raw: bytes) -> PackHeader:
    """Take a whole header apart.

    Raises:
        DecodeError: not a pack's header, or not all of it.
    """
    if len(raw) != header_length(raw):
        raise DecodeError("a pack header is cut short")
    step = key_entry_bytes(raw[9])
    table = tuple(raw[i : i + step] for i in range(HEADER_BYTES, len(raw), step))
    return PackHeader(raw[9], table, raw)


def open_pack_key(keys: Keys, header: PackHeader, number: int) -> bytes:
    """Return one key of a pack.

    Raises:
        DecodeError: there is no such key, or it does not open.
        ValueError: a data pack's key was asked for without the private key.
    """
    if number >= len(header.table):
        raise DecodeError(f"the pack has no key {number}")
    return open_key_entry(keys, header.kind, header.table[number])


def open_key_entry(keys: Keys, pack_kind: int, sealed: bytes) -> bytes:
    """Return the key that one entry of a key table holds; raises as `open_pack_key`."""
    if pack_kind == META_PACK:
        return keys.meta_pack_key(sealed)
    if keys.private is None:
        raise ValueError("data packs open with the full key only")
    return keys.private.open_pack_key(sealed, keys.repository_id)


def open_blob(keys: Keys, pack_key: bytes, entry: PackEntry, stored: bytes | memoryview) -> bytes:
    """Return a blob's plaintext, checked against its id (spec/FORMAT.md §6).

    Raises:
        DecodeError: it does not open, or is not the blob that the entry names.
    """
    if entry.raw_length > BLOB_LIMIT_BYTES:
        raise DecodeError("a blob claims to be larger than the format allows")
    body = unseal(pack_key, keys.aad(entry.kind, entry.id), stored, entry.nonce)
    if entry.compression == 0:
        plain = body
    elif entry.compression == 1:
        plain = codec.decompress(body, entry.raw_length)
    else:
        raise DecodeError(f"unknown compression {entry.compression}")
    if len(plain) != entry.raw_length:
        raise DecodeError("the content is not as long as the directory says")
    # A companion's id is derived from its data blob: that it opened under that id is its proof.
    if entry.kind != Kind.DIGESTS and keys.blob_id(entry.kind, plain) != entry.id:
        raise DecodeError("the content is not what the blob's id says")
    return plain


ReadRange = Callable[[int, int], bytes | memoryview]
"""Returns ``length`` bytes of a pack from ``offset``."""


def read_directory(
    keys: Keys, size_bytes: int, read: ReadRange
) -> tuple[PackHeader, tuple[PackEntry, ...]]:
    """Return a pack's header and directory, opened with the metadata secret alone.

    Raises:
        DecodeError: this is not a whole, undamaged pack.
    """
    if size_bytes < HEADER_BYTES + FOOTER_BYTES:
        raise DecodeError("too short to be a pack")
    header = parse_header(bytes(read(0, header_length(read(0, HEADER_BYTES)))))
    footer = bytes(read(size_bytes - FOOTER_BYTES, FOOTER_BYTES))
    if footer[4:] != _END_MAGIC:
        raise DecodeError("a pack is cut short: no directory at its end")
    length = int.from_bytes(footer[:4], "little")
    blobs_end = size_bytes - FOOTER_BYTES - length
    if length < _ENTRY_OVERHEAD_BYTES or blobs_end < len(header.raw):
        raise DecodeError("a pack's directory has an impossible length")
    sealed = bytes(read(blobs_end, length))
    aad = keys.aad(Kind.DIRECTORY, object_id(header.raw))
    key = keys.directory_key(sealed[:SALT_BYTES])
    entries = _decode_entries(unseal(key, aad, sealed[SALT_BYTES:]))
    check_entries(entries, header, blobs_end)
    return header, entries


def _decode_entries(records: bytes) -> tuple[PackEntry, ...]:
    if len(records) % ENTRY_BYTES:
        raise DecodeError("a pack's directory is not whole records")
    return tuple(_each_entry(records))


def check_entries(entries: Sequence[PackEntry], header: PackHeader, blobs_end: int) -> None:
    """Check that blobs fill the pack without gaps and belong into one of its kind.

    Raises:
        DecodeError: they do not.
    """
    offset = len(header.raw)
    for entry in entries:
        if entry.offset != offset:
            raise DecodeError("a pack's blobs overlap or leave gaps")
        if (entry.kind == Kind.DATA) != (header.kind == DATA_PACK):
            raise DecodeError("a blob lies in a pack of the wrong kind")
        if entry.kind != Kind.DATA and entry.kind not in METADATA_BLOBS:
            raise DecodeError(f"a blob of unknown kind {entry.kind}")
        if entry.key >= len(header.table) or entry.raw_length > BLOB_LIMIT_BYTES:
            raise DecodeError("a pack's directory names a key or a size that cannot be")
        offset += entry.stored_length
    if offset != blobs_end:
        raise DecodeError("a pack's blobs do not fill it")
