"""The ``config`` object: what a repository is, readable before any key (spec/FORMAT.md §5)."""

import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from snap.backends.base import Backend, ObjectExists
from snap.backends.probe import EXCLUSIVE_CREATE
from snap.errors import IntegrityError, SnapError

from .crypto import keyed_hash
from .ids import FORMAT_VERSION

CONFIG_NAME = "config"
ID_BYTES = 16
_KNOWN_FEATURES: frozenset[str] = frozenset()
_CONFIG_LIMIT_BYTES = 1 << 20
PACKS_IN_FLIGHT_BYTES = 72 << 20
"""Finished packs that are in memory at once, however many; a backup may use 250 MiB in all."""
_SETTLED_SECONDS = 5.0
"""After which two that began at the same moment have both written."""


class RepositoryNotFound(SnapError):
    """There is no repository at this place."""

    exit_code = 10


class FormatTooNew(SnapError):
    """The repository was written by a later version."""

    exit_code = 13


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the repository fixes for all who write to it; sizes in bytes.

    A pack of 32 MiB is large enough for S3 and small enough to build in memory. Blobs average about
    1 MiB: measured against 256 KiB, a window four times larger for zstd and a quarter of the index.
    """

    pack_bytes: int = 32 << 20
    blob_min_bytes: int = 256 << 10
    blob_avg_bytes: int = 1 << 20
    blob_max_bytes: int = 4 << 20

    @classmethod
    def for_requests(cls, parallel_requests: int) -> "Parameters":
        """Return those for a store: packs so small that as many as it takes at once fit in memory.

        With 8 uploads at once that is 8 MiB, 115 requests for a gigabyte. The last blob of a pack
        makes it larger than that, by half a blob or so.
        """
        usual = cls()
        share = PACKS_IN_FLIGHT_BYTES // parallel_requests - usual.blob_avg_bytes
        return replace(usual, pack_bytes=min(usual.pack_bytes, share))


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """What the store was found to lack when the repository was made there.

    Attributes:
        tried_ns: When.
        lacks: Codes of `snap.backends.probe.Promise`, sorted.
    """

    tried_ns: int
    lacks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RepositoryConfig:
    """What ``config`` says. ``store`` is None where nothing was tried."""

    repository_id: bytes
    instance_id: bytes
    created_ns: int
    features: tuple[str, ...] = ()
    parameters: Parameters = Parameters()
    format_version: int = FORMAT_VERSION
    store: StoreRecord | None = None

    def encode(self, config_key: bytes) -> bytes:
        """Return the stored bytes: one line of JSON, one line that authenticates it."""
        store = self.store
        line = json.dumps(
            {
                "snap_repository": self.format_version,
                "repository_id": self.repository_id.hex(),
                "instance_id": self.instance_id.hex(),
                "created": self.created_ns,
                "features": list(self.features),
                "parameters": {
                    "pack_bytes": self.parameters.pack_bytes,
                    "blob_min_bytes": self.parameters.blob_min_bytes,
                    "blob_avg_bytes": self.parameters.blob_avg_bytes,
                    "blob_max_bytes": self.parameters.blob_max_bytes,
                },
                **({"store": {"tried": store.tried_ns, "lacks": store.lacks}} if store else {}),
            }
        ).encode()
        return line + b"\n" + keyed_hash(config_key, line).hex().encode() + b"\n"


def decode_config(stored: bytes) -> RepositoryConfig:
    """Return what ``config`` says, not yet authenticated.

    Raises:
        FormatTooNew: a later version, or a feature that this one does not know.
        IntegrityError: not readable.
    """
    try:
        fields = _first_line_fields(stored)
        version = _integer(fields, "snap_repository")
        if version > FORMAT_VERSION:
            raise FormatTooNew(
                f"the repository has format version {version}, this program knows {FORMAT_VERSION}",
                "use a newer version of snap",
            )
        if version < 1:
            raise ValueError("snap_repository")
        features = fields["features"]
        if not isinstance(features, list) or not all(isinstance(f, str) for f in features):
            raise TypeError("features")
        _refuse_unknown(features)
        config = RepositoryConfig(
            repository_id=_identity(fields, "repository_id"),
            instance_id=_identity(fields, "instance_id"),
            created_ns=_integer(fields, "created"),
            features=tuple(features),
            parameters=_parameters(fields["parameters"]),
            format_version=version,
            store=_store(fields.get("store")),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(
            "config: damaged: not readable", "restore the object 'config' from a copy"
        ) from error
    return config


def put_config(
    backend: Backend,
    stored: bytes,
    store: StoreRecord | None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write ``config`` where there is none.

    Where the store lets two create one object, it is read again when both have written: the one
    that wrote last has it.

    Raises:
        ObjectExists: somebody else was faster, or slower as just said.
    """
    backend.put(CONFIG_NAME, stored, exclusive=True)
    if store is None or EXCLUSIVE_CREATE not in store.lacks:
        return
    sleep(_SETTLED_SECONDS)
    if backend.get(CONFIG_NAME) != stored:
        raise ObjectExists(f"{CONFIG_NAME}: written by another at the same moment")


def check_config(stored: bytes, config_key: bytes) -> None:
    """Check that ``config`` was written by someone with the metadata secret.

    Raises:
        IntegrityError: it was changed.
    """
    line, _, rest = stored.partition(b"\n")
    expected = keyed_hash(config_key, line).hex().encode() + b"\n"
    if not hmac.compare_digest(expected, rest):
        raise IntegrityError(
            "config: damaged: its check line does not fit",
            "restore the object 'config' from a copy",
        )


def _first_line_fields(stored: bytes) -> dict[str, Any]:
    if len(stored) > _CONFIG_LIMIT_BYTES:
        raise ValueError("too long")
    fields = json.loads(stored.partition(b"\n")[0])
    if not isinstance(fields, dict):
        raise TypeError("not an object")
    return fields


def _refuse_unknown(features: list[str]) -> None:
    unknown = sorted(set(features) - _KNOWN_FEATURES)
    if unknown:
        raise FormatTooNew(
            f"the repository uses features that this program does not know: {', '.join(unknown)}",
            "use a newer version of snap",
        )


def _integer(fields: Mapping[str, Any], key: str) -> int:
    value = fields[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(key)
    return value


def _identity(fields: Mapping[str, Any], key: str) -> bytes:
    value = bytes.fromhex(fields[key])
    if len(value) != ID_BYTES:
        raise ValueError(key)
    return value


def _parameters(fields: Mapping[str, Any]) -> Parameters:
    parameters = Parameters(
        pack_bytes=_integer(fields, "pack_bytes"),
        blob_min_bytes=_integer(fields, "blob_min_bytes"),
        blob_avg_bytes=_integer(fields, "blob_avg_bytes"),
        blob_max_bytes=_integer(fields, "blob_max_bytes"),
    )
    sizes = (parameters.blob_min_bytes, parameters.blob_avg_bytes, parameters.blob_max_bytes)
    if not 64 <= sizes[0] <= sizes[1] <= sizes[2] <= 16 << 20:
        raise ValueError("blob sizes")
    if not 1 << 16 <= parameters.pack_bytes <= 1 << 30:
        raise ValueError("pack size")
    return parameters


def _store(value: object) -> StoreRecord | None:
    """Return what is recorded of the store; nothing depends on it, so nothing is refused."""
    match value:
        case {"tried": int(tried_ns), "lacks": list(lacks)}:
            return StoreRecord(tried_ns, tuple(sorted(x for x in lacks if isinstance(x, str))))
    return None
