"""Read and write msgpack maps strictly: stored data is never trusted (spec/FORMAT.md §1, §15)."""

import struct
import threading
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

import msgpack
import zstandard

MIB = 1024 * 1024
BODY_LIMIT_BYTES = 1024 * MIB
MAX_DEPTH = 32

_CODE_BYTES = {"B": 1, "H": 2, "I": 4, "Q": 8}
_T = TypeVar("_T")
_of_thread = threading.local()


class DecodeError(ValueError):
    """Bytes are not what the format says; the caller names the object."""


def encode(value: Mapping[str, Any]) -> bytes:
    """Return ``value`` as msgpack."""
    return cast(bytes, msgpack.packb(value, use_bin_type=True))


def _map_without_duplicates(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise DecodeError("a map has a key that is not text")
        if key in result:
            raise DecodeError(f"a map has the key {key!r} twice")
        result[key] = value
    return result


def _check_shape(value: Any, depth: int) -> None:
    """Check that keys are text and that nothing is nested too deep."""
    if depth > MAX_DEPTH:
        raise DecodeError(f"nested deeper than {MAX_DEPTH}")
    items = value
    if type(value) is dict:
        items = value.values()
        for key in value:
            if type(key) is not str:
                raise DecodeError("a map has a key that is not text")
    for item in items:
        if type(item) is dict or type(item) is list:
            _check_shape(item, depth + 1)


def decode(data: bytes) -> dict[str, Any]:
    """Return the one map that ``data`` holds.

    Raises:
        DecodeError: not msgpack, not one map, trailing bytes, a key twice, or too deep.
    """
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=False)
        # What packs to the same bytes has lost nothing to a key that is there twice. Only other
        # data, which our own writers do not make, is looked at map by map: five times slower.
        if msgpack.packb(value, use_bin_type=True) != data:
            value = msgpack.unpackb(
                data, raw=False, strict_map_key=False, object_pairs_hook=_map_without_duplicates
            )
    except DecodeError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise DecodeError(f"not readable as msgpack ({error})") from error
    if not isinstance(value, dict):
        raise DecodeError("not a map")
    _check_shape(value, 1)
    return value


def field(value: Mapping[str, Any], key: str, kind: type[_T], default: _T | None = None) -> _T:
    """Return ``value[key]`` if it is a ``kind``; ``default`` where it is absent and one is given.

    Raises:
        DecodeError: absent, or of another type.
    """
    if key not in value and default is not None:
        return default
    item = value.get(key)
    if not isinstance(item, kind) or (kind is int and isinstance(item, bool)):
        raise DecodeError(f"{key!r} is missing or not {kind.__name__}")
    return item


def fields(value: Mapping[str, Any], kinds: Iterable[tuple[str, type]]) -> list[Any]:
    """Return the values of several keys, each of its kind; faster than one after the other.

    Raises:
        DecodeError: one is absent, or of another type.
    """
    found = []
    for key, kind in kinds:
        item = value.get(key)
        if type(item) is not kind:
            raise DecodeError(f"{key!r} is missing or not {kind.__name__}")
        found.append(item)
    return found


def optional(value: Mapping[str, Any], key: str, kind: type[_T]) -> _T | None:
    """Return ``value[key]`` if present; as `field` otherwise."""
    return field(value, key, kind) if value.get(key) is not None else None


def int_column(table: Mapping[str, Any], key: str, code: str, count: int) -> tuple[int, ...]:
    """Return ``count`` little-endian integers of the struct code ``code`` stored under ``key``.

    Raises:
        DecodeError: the column is missing, or has more or fewer.
    """
    column = field(table, key, bytes)
    size = count * _CODE_BYTES[code]
    if len(column) != size:
        raise DecodeError(f"the column {key!r} has {len(column)} bytes instead of {size}")
    if count == 1:
        # Most files are of one extent.
        return (int.from_bytes(column, "little"),)
    return struct.unpack(f"<{count}{code}", column)


def compress(data: bytes | memoryview, level: int = 3) -> bytes:
    """Return one zstd frame with its content size."""
    return zstandard.ZstdCompressor(level=level).compress(data)


def _decompressor() -> zstandard.ZstdDecompressor:
    # One for each thread: to make it costs more than to open a small blob with it.
    found: zstandard.ZstdDecompressor | None = getattr(_of_thread, "decompressor", None)
    if found is None:
        found = _of_thread.decompressor = zstandard.ZstdDecompressor()
    return found


def decompress(frame: bytes | memoryview, limit_bytes: int) -> bytes:
    """Return what one zstd frame holds.

    Raises:
        DecodeError: damaged, without a content size, over the limit, or bytes after it.
    """
    try:
        size = zstandard.frame_content_size(frame)
        if size < 0 or size > limit_bytes:
            raise DecodeError(f"a compressed frame claims {size} bytes, {limit_bytes} allowed")
        result = _decompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DecodeError(f"a compressed frame is damaged ({error})") from error
    if len(result) != size:
        raise DecodeError("a compressed frame does not hold what it claims")
    return result
