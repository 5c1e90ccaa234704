"""Saving the blobs of a damaged pack that are whole."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from .codec import DecodeError
from .crypto import Keys
from .ids import BlobId
from .pack import (
    HEADER_BYTES,
    MovedPack,
    PackEntry,
    PackSummary,
    key_entry_bytes,
    open_blob,
    open_key_entry,
    read_directory,
)


class MovedBlob(NamedTuple):
    """A blob on its way from one pack to another: as it is stored, with its key as it is sealed."""

    sealed_key: bytes
    entry: PackEntry
    stored: memoryview


@dataclass(slots=True)
class Salvaged:
    """What was found in a damaged pack.

    Attributes:
        whole: How many of its blobs open and are what their ids say.
        damaged: How many do not.
        lost: Those of the damaged ones that lie nowhere else.
        saved: How many of the whole ones lie nowhere else; they are in ``pack``.
        pack: A pack of these, None where there are none.
        summary: What the index will say of it.
    """

    whole: int = 0
    damaged: int = 0
    lost: list[BlobId] = field(default_factory=list)
    saved: int = 0
    pack: bytes | None = None
    summary: PackSummary | None = None


def salvage(
    keys: Keys, known: PackSummary, stored: bytes, is_elsewhere: Callable[[BlobId], bool]
) -> Salvaged:
    """Return what is whole of a damaged pack and lies nowhere else, as a new pack.

    ``known`` says what was in it: what the index says, or its own directory. Each blob is opened
    and compared with its id, so a data pack takes the full key; moved are the stored bytes.

    Raises:
        ValueError: a data pack, and the key in use is a writer's.
    """
    found = Salvaged()
    view = memoryview(stored)
    moved = []
    for entry in known.entries:
        blob = take_blob(keys, known, view, entry)
        if blob is None:
            found.damaged += 1
            if not is_elsewhere(entry.id):
                found.lost.append(entry.id)
            continue
        found.whole += 1
        if not is_elsewhere(entry.id):
            moved.append(blob)
    found.saved = len(moved)
    if moved:
        random.SystemRandom().shuffle(moved)
        together = MovedPack(keys, known.kind)
        for blob in moved:
            together.add(blob.entry, blob.sealed_key, blob.stored)
        joined, summary = together.finish()
        pack = bytes(joined)
        # What is set aside afterwards must be readable here.
        read_directory(keys, len(pack), lambda offset, length: pack[offset : offset + length])
        found.pack, found.summary = pack, summary
    return found


def take_blob(
    keys: Keys, pack: PackSummary, stored: memoryview, entry: PackEntry
) -> MovedBlob | None:
    """Return a blob as it is stored in a pack, None where it is not whole; raises as `salvage`.

    Neither the pack's directory nor the beginning of its header is looked at.
    """
    width = key_entry_bytes(pack.kind)
    start = HEADER_BYTES + entry.key * width
    sealed_key = bytes(stored[start : start + width])
    body = stored[entry.offset : entry.offset + entry.stored_length]
    if entry.key >= pack.key_count or len(sealed_key) < width:
        return None
    try:
        open_blob(keys, open_key_entry(keys, pack.kind, sealed_key), entry, body)
    except DecodeError:
        return None
    return MovedBlob(sealed_key, entry, body)
