"""The files of one vector segment of ChromaDB, read and checked without Chroma.

The layout is that of chroma-core's hnswlib as 0.4.24 to 1.5.9 write it: ``header.bin`` (100 bytes),
``data_level0.bin`` (one record an element: links, vector, label), ``link_lists.bin`` (the links of
the levels above), ``length.bin`` (a norm an element) and ``index_metadata.pickle`` (labels and
ids), which is written last.
"""

import array
import io
import math
import mmap
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snap.errors import IntegrityError

HEADER, DATA, NORMS, LINKS, LABELS = (
    "header.bin",
    "data_level0.bin",
    "length.bin",
    "link_lists.bin",
    "index_metadata.pickle",
)
FILES = (HEADER, DATA, NORMS, LINKS, LABELS)
_HEADER = struct.Struct("<i6QiI3QdQ")
_VERSION = 1
_WORD = 4
_LABEL_BYTES = 8
_DELETED = 0x10000
"""Bit 0 of byte 2 of an element, above the count of its links."""
_COUNT = 0xFFFF
_PICKLED_CLASS = ("chromadb.segment.impl.vector.local_persistent_hnsw", "PersistentData")
_SUM_VECTORS = 4096


@dataclass(frozen=True, slots=True)
class Header:
    """What ``header.bin`` says, as far as it is needed; sizes in bytes."""

    element_count: int
    element_bytes: int
    label_at: int
    vector_at: int
    max_level: int
    entry_point: int
    links: int
    links_level0: int

    @property
    def dimension(self) -> int:
        """Return how many numbers a vector has."""
        return (self.label_at - self.vector_at) // _WORD

    @property
    def widths(self) -> tuple[int, int, int]:
        """Return the widths of an element's links, vector and label."""
        return self.vector_at, self.label_at - self.vector_at, self.element_bytes - self.label_at


@dataclass(frozen=True, slots=True)
class Index:
    """A segment that was proven: its header, and the ids that it holds."""

    header: Header
    ids: frozenset[str]
    own_number: int
    """The number of the last operation, where the files say it (before 0.5.6), else 0."""


def read_header(path: Path) -> Header:
    """Read ``header.bin``.

    Raises:
        IntegrityError: it is none, or its numbers do not fit each other.
        OSError: it cannot be read.
    """
    raw = path.read_bytes()
    if len(raw) != _HEADER.size:
        raise IntegrityError(f"{HEADER} has {len(raw)} bytes instead of {_HEADER.size}")
    (version, level0_at, _most, count, element, label_at, vector_at, level, entry, *rest) = (
        _HEADER.unpack(raw)
    )
    _max_m, max_m0, m, _mult, _ef = rest
    header = Header(count, element, label_at, vector_at, level, entry, m, max_m0)
    fits = (
        version == _VERSION
        and level0_at == 0
        and vector_at == _WORD * (1 + max_m0)
        and label_at > vector_at
        and (label_at - vector_at) % _WORD == 0
        and element == label_at + _LABEL_BYTES
    )
    if not fits:
        raise IntegrityError(f"{HEADER} is not that of an index that this version knows")
    return header


def prove_index(folder: Path, dimension: int | None) -> Index:
    """Check the files of a segment against each other; nobody may write to them meanwhile.

    What is proven: sizes, links that lead to elements, labels that are unique and those of the
    ids, vectors of the collection's dimension without NaN or infinity.

    Raises:
        IntegrityError: they are not of one moment, or damaged.
        OSError: one cannot be read.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise IntegrityError(f"{name} is missing")
    header = read_header(folder / HEADER)
    if dimension is not None and header.dimension != dimension:
        raise IntegrityError(
            f"vectors of {header.dimension} dimensions in a collection of {dimension}"
        )
    labels = _load_labels(folder / LABELS)
    live = _prove_elements(folder / DATA, header)
    _prove_levels(folder / LINKS, header)
    norms = (folder / NORMS).stat().st_size
    if norms < _WORD * header.element_count or norms % _WORD:
        raise IntegrityError(f"{NORMS} has {norms} bytes for {header.element_count} elements")
    ids = labels["id_to_label"]
    if labels["label_to_id"] != {label: id_ for id_, label in ids.items()}:
        raise IntegrityError(f"{LABELS} contradicts itself")
    if live != set(ids.values()):
        raise IntegrityError(f"{LABELS} names other elements than {DATA} holds")
    number = labels.get("max_seq_id") or 0
    own = int.from_bytes(number, "big") if isinstance(number, bytes) else int(number)
    return Index(header, frozenset(ids), own)


def vectors(folder: Path) -> Iterator[tuple[int, memoryview]]:
    """Yield label and vector (float32, little endian) of every element that is not deleted.

    A view is good until the next is asked for. The files were proven before.
    """
    header = read_header(folder / HEADER)
    with _mapped(folder / DATA) as data:
        for at in range(0, header.element_count * header.element_bytes, header.element_bytes):
            if _u32(data, at) & _DELETED:
                continue
            label = int.from_bytes(data[at + header.label_at : at + header.element_bytes], "little")
            with memoryview(data)[at + header.vector_at : at + header.label_at] as vector:
                yield label, vector


def _prove_elements(path: Path, header: Header) -> set[int]:
    """Check links, labels and vectors; return the labels of what is not deleted."""
    count, size = header.element_count, header.element_bytes
    found = path.stat().st_size
    # It has room for a hundred from the beginning, and never shrinks.
    if found < count * size or found % size:
        raise IntegrityError(f"{DATA} has {found} bytes for {count} elements of {size}")
    if not count:
        return set()
    unpack = struct.Struct(f"<{1 + header.links_level0}I").unpack_from
    label = struct.Struct("<Q").unpack_from
    live: set[int] = set()
    labels: set[int] = set()
    with _mapped(path) as data:
        for number in range(count):
            at = number * size
            words = unpack(data, at)
            links = words[0] & _COUNT
            if links > header.links_level0 or (links and max(words[1 : 1 + links]) >= count):
                raise IntegrityError(f"{DATA}: element {number} has links that lead nowhere")
            own = label(data, at + header.label_at)[0]
            labels.add(own)
            if not words[0] & _DELETED:
                live.add(own)
        if len(labels) != count:
            raise IntegrityError(f"{DATA}: a label occurs twice")
        _prove_finite(data, header)
    return live


def _prove_finite(data: mmap.mmap, header: Header) -> None:
    size = header.element_bytes
    cut = struct.Struct(
        f"{header.vector_at}x{header.label_at - header.vector_at}s{size - header.label_at}x"
    )
    step, end = _SUM_VECTORS * size, header.element_count * size
    for at in range(0, end, step):
        part = data[at : min(at + step, end)]
        numbers = array.array("f", b"".join(v for (v,) in cut.iter_unpack(part)))
        # A NaN or an infinity stays one in every sum, and no finite float32 adds up to one.
        if not math.isfinite(sum(numbers)):
            raise IntegrityError(f"{DATA}: a vector has a number that is none")


def _prove_levels(path: Path, header: Header) -> None:
    """Check the links of the levels above: a size and so many bytes for each element."""
    per_level = _WORD * (1 + header.links)
    entry_levels = highest = 0
    for number, links in enumerate(_links_above(path.read_bytes(), header.element_count)):
        if len(links) % per_level:
            raise IntegrityError(f"{LINKS}: the size of element {number} cannot be")
        for words in struct.iter_unpack(f"<{1 + header.links}I", links):
            count = words[0] & _COUNT
            if count > header.links or any(w >= header.element_count for w in words[1 : 1 + count]):
                raise IntegrityError(f"{LINKS}: element {number} has links that lead nowhere")
        levels = len(links) // per_level
        if number == header.entry_point:
            entry_levels = levels
        highest = max(highest, levels)
    if not header.element_count:
        return
    if header.entry_point >= header.element_count or entry_levels != header.max_level:
        raise IntegrityError(f"{HEADER} names an entry point that is none")
    if highest != header.max_level:
        raise IntegrityError(f"{LINKS} has other levels than {HEADER} says")


def _links_above(raw: bytes, count: int) -> Iterator[memoryview]:
    """Yield what the file has for each element: a size before so many bytes."""
    at, view = 0, memoryview(raw)
    for number in range(count):
        if at + _WORD > len(raw):
            raise IntegrityError(f"{LINKS} ends at element {number} of {count}")
        end = at + _WORD + _u32(raw, at)
        if end > len(raw):
            raise IntegrityError(f"{LINKS}: the size of element {number} cannot be")
        yield view[at + _WORD : end]
        at = end
    if at != len(raw):
        raise IntegrityError(f"{LINKS} has {len(raw) - at} bytes too many")


class _Stub:
    """Stands for the one class that pickles before 1.0 name."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _Labels(pickle.Unpickler):
    """Reads a pickle that could hold anything: maps, texts and numbers only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == _PICKLED_CLASS:
            return _Stub
        raise pickle.UnpicklingError(f"it wants {module}.{name}")


def _load_labels(path: Path) -> dict[str, Any]:
    try:
        found = _Labels(io.BytesIO(path.read_bytes())).load()
    except OSError:
        raise
    except Exception as error:
        # Whatever a torn pickle makes of the interpreter's stack.
        raise IntegrityError(f"{LABELS} does not open: {error}") from error
    if isinstance(found, _Stub):
        found = vars(found)
    if not isinstance(found, dict):
        raise IntegrityError(f"{LABELS} is not a map")
    ids, labels = found.get("id_to_label"), found.get("label_to_id")
    if not isinstance(ids, dict) or not isinstance(labels, dict):
        raise IntegrityError(f"{LABELS} has no ids")
    if not all(isinstance(k, str) and isinstance(v, int) for k, v in ids.items()):
        raise IntegrityError(f"{LABELS} has ids that are none")
    return found


def _mapped(path: Path) -> mmap.mmap:
    """Map a file that nobody cuts: it is our own copy."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _u32(data: mmap.mmap | bytes, at: int) -> int:
    return int.from_bytes(data[at : at + _WORD], "little")
