"""Key slots: a capability wrapped under a passphrase or a recovery key.

spec/FORMAT.md §3.3, §3.4.
"""

import base64
import binascii
import hmac
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from snap.errors import SnapError, UsageError

from . import codec
from .codec import DecodeError
from .crypto import (
    DATA_PRIVATE_BYTES,
    DATA_PUBLIC_BYTES,
    KEY_BYTES,
    TAG_BYTES,
    DataPrivateKey,
    DataPublicKey,
    Keys,
    associated_data,
    derive,
    keyed_hash,
    unseal,
)
from .ids import FORMAT_VERSION, Kind, ObjectId, object_id

_MAGIC = b"SNAPKEY\0"
_NONCE_BYTES = 12
_COMMITMENT_BYTES = 32
_KDF_SALT_BYTES = 16
_HEADER_LIMIT_BYTES = 4096
_RECOVERY_CHECK_BYTES = 3
_RECOVERY_CHARS = 56


class WrongPassword(SnapError):
    """No key slot opens with what was given."""

    exit_code = 12


class FullKeyRequired(SnapError):
    """A writer key was used for what only a full key can do."""


class Capability(StrEnum):
    """What a key slot gives: storing and listing, or reading file content as well."""

    WRITER = "writer"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class KdfCost:
    """What one guess at a passphrase costs (Argon2id)."""

    memory_kib: int
    iterations: int
    lanes: int

    def is_acceptable(self) -> bool:
        """Return whether a slot may have this cost (spec/FORMAT.md §3.3)."""
        low, high = MINIMUM_COST, _MAXIMUM_COST
        return (
            low.memory_kib <= self.memory_kib <= high.memory_kib
            and low.iterations <= self.iterations <= high.iterations
            and low.lanes <= self.lanes <= high.lanes
        )


MINIMUM_COST = KdfCost(memory_kib=19 * 1024, iterations=2, lanes=1)
"""The least that OWASP's password storage page asks of Argon2id; less is refused."""
_MAXIMUM_COST = KdfCost(memory_kib=4 * 1024 * 1024, iterations=1000, lanes=64)
_CALIBRATED_MEMORY_KIB = 64 * 1024


def calibrate(seconds: float) -> KdfCost:
    """Return the cost that takes about ``seconds`` on this machine, never below the minimum.

    Memory stays at 64 MiB so that unlocking fits the memory budget; time is what grows.
    """
    if seconds <= 0:
        return MINIMUM_COST
    cost = KdfCost(_CALIBRATED_MEMORY_KIB, 2, 1)
    begun = time.perf_counter()
    _argon2("calibration", bytes(_KDF_SALT_BYTES), cost)
    per_iteration = (time.perf_counter() - begun) / cost.iterations
    iterations = max(2, min(_MAXIMUM_COST.iterations, round(seconds / per_iteration)))
    return KdfCost(_CALIBRATED_MEMORY_KIB, iterations, 1)


def _argon2(passphrase: str, salt: bytes, cost: KdfCost) -> bytes:
    kdf = Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    return kdf.derive(passphrase.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True)
class KeySlot:
    """What can be read of a slot without opening it."""

    id: ObjectId
    kind: str
    capability: Capability
    label: str
    created_ns: int


@dataclass(frozen=True, slots=True)
class SealedSlot:
    """A slot as stored, taken apart but not opened."""

    slot: KeySlot
    header: bytes
    kdf: dict[str, Any]
    commitment: bytes
    nonce: bytes
    ciphertext: bytes


def parse_slot(stored: bytes) -> SealedSlot:
    """Take a stored slot apart.

    Raises:
        DecodeError: it is not a slot, or asks for a cost that is refused.
    """
    if stored[:8] != _MAGIC or len(stored) < 11:
        raise DecodeError("not a key slot")
    if stored[8] != FORMAT_VERSION:
        raise DecodeError(f"a key slot of version {stored[8]}")
    header_length = int.from_bytes(stored[9:11], "little")
    start = 11 + header_length
    rest = stored[start:]
    if header_length > _HEADER_LIMIT_BYTES:
        raise DecodeError("a key slot's header is too long")
    if len(rest) < _COMMITMENT_BYTES + _NONCE_BYTES + TAG_BYTES:
        raise DecodeError("a key slot is cut short")
    header = stored[11:start]
    fields = codec.decode(header)
    kdf = codec.field(fields, "kdf", dict)
    kind = codec.field(fields, "kind", str)
    _check_kdf(kind, kdf)
    try:
        capability = Capability(codec.field(fields, "capability", str))
    except ValueError as error:
        raise DecodeError("a key slot has an unknown capability") from error
    slot = KeySlot(
        id=object_id(stored),
        kind=kind,
        capability=capability,
        label=codec.field(fields, "label", str),
        created_ns=codec.field(fields, "created", int),
    )
    return SealedSlot(
        slot,
        header,
        kdf,
        commitment=rest[:_COMMITMENT_BYTES],
        nonce=rest[_COMMITMENT_BYTES : _COMMITMENT_BYTES + _NONCE_BYTES],
        ciphertext=rest[_COMMITMENT_BYTES + _NONCE_BYTES :],
    )


def _check_kdf(kind: str, kdf: dict[str, Any]) -> None:
    name = codec.field(kdf, "name", str)
    if {"passphrase": "argon2id", "recovery": "blake3"}.get(kind) != name:
        raise DecodeError(f"a key slot of kind {kind!r} with key derivation {name!r}")
    if len(codec.field(kdf, "salt", bytes)) != _KDF_SALT_BYTES:
        raise DecodeError("a key slot's salt has a wrong length")
    if name == "argon2id" and not _cost_of(kdf).is_acceptable():
        raise DecodeError("a key slot's key derivation cost is outside what is accepted")


def _cost_of(kdf: dict[str, Any]) -> KdfCost:
    return KdfCost(
        codec.field(kdf, "memory_kib", int),
        codec.field(kdf, "iterations", int),
        codec.field(kdf, "lanes", int),
    )


def open_slot(sealed: SealedSlot, credential: str, repository_id: bytes) -> Keys | None:
    """Return the keys in a slot, None where the credential does not fit it.

    ``credential`` is a passphrase, or a recovery key as text: a text with a recovery key's
    form and check bytes is tried on recovery slots only.

    Raises:
        DecodeError: it fits, and what is inside is not as the format says.
    """
    recovery_key = parse_recovery_key(credential)
    if (recovery_key is not None) != (sealed.slot.kind == "recovery"):
        return None
    if recovery_key is not None:
        kek = keyed_hash(recovery_key, sealed.kdf["salt"])
    else:
        kek = _argon2(credential, sealed.kdf["salt"], _cost_of(sealed.kdf))
    # AES-GCM does not commit to its key: without this, one crafted slot could test many guesses.
    if not hmac.compare_digest(derive("slot commitment", kek), sealed.commitment):
        return None
    aad = associated_data(repository_id, Kind.KEY_SLOT, object_id(sealed.header))
    counter = int.from_bytes(sealed.nonce, "little")
    secrets = unseal(derive("slot encryption", kek), aad, sealed.ciphertext, counter)
    return _decode_secrets(secrets, sealed.slot.capability, repository_id)


def _decode_secrets(secrets: bytes, capability: Capability, repository_id: bytes) -> Keys:
    fields = codec.decode(secrets)
    metadata_secret = codec.field(fields, "metadata_secret", bytes)
    public = codec.field(fields, "data_public", bytes)
    private = codec.optional(fields, "data_private", bytes)
    if len(metadata_secret) != KEY_BYTES or len(public) != DATA_PUBLIC_BYTES:
        raise DecodeError("a key slot holds secrets of a wrong length")
    if (private is not None) != (capability is Capability.FULL):
        raise DecodeError("a key slot does not hold what its capability says")
    if private is not None and len(private) != DATA_PRIVATE_BYTES:
        raise DecodeError("a key slot holds secrets of a wrong length")
    data_private = DataPrivateKey(private) if private is not None else None
    if data_private is not None and data_private.public().raw != public:
        raise DecodeError("a key slot holds a key pair whose halves do not belong together")
    return Keys(repository_id, metadata_secret, DataPublicKey(public), data_private)


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """What a new slot should say of itself."""

    capability: Capability
    label: str
    created_ns: int


def seal_with_passphrase(keys: Keys, request: SlotRequest, passphrase: str, cost: KdfCost) -> bytes:
    """Return the stored bytes of a new passphrase slot."""
    if not passphrase:
        raise UsageError("an empty passphrase protects nothing", "choose one of several words")
    if parse_recovery_key(passphrase) is not None:
        raise UsageError("this is a recovery key", "choose a passphrase of your own")
    if not cost.is_acceptable():
        raise UsageError("the key derivation cost is outside what repositories accept")
    salt = os.urandom(_KDF_SALT_BYTES)
    kdf = {
        "name": "argon2id",
        "memory_kib": cost.memory_kib,
        "iterations": cost.iterations,
        "lanes": cost.lanes,
        "salt": salt,
    }
    return _seal(keys, request, "passphrase", kdf, _argon2(passphrase, salt, cost))


def seal_with_recovery_key(keys: Keys, request: SlotRequest) -> tuple[bytes, str]:
    """Return the stored bytes of a new recovery slot and the recovery key as text."""
    recovery_key = os.urandom(KEY_BYTES)
    salt = os.urandom(_KDF_SALT_BYTES)
    kdf = {"name": "blake3", "salt": salt}
    stored = _seal(keys, request, "recovery", kdf, keyed_hash(recovery_key, salt))
    return stored, format_recovery_key(recovery_key)


def _seal(keys: Keys, request: SlotRequest, kind: str, kdf: dict[str, Any], kek: bytes) -> bytes:
    header = codec.encode(
        {
            "kind": kind,
            "capability": str(request.capability),
            "label": request.label,
            "created": request.created_ns,
            "kdf": kdf,
        }
    )
    if len(header) > _HEADER_LIMIT_BYTES:
        raise UsageError("the label is too long", "keep it under a few hundred characters")
    secrets = {"metadata_secret": keys.metadata_secret, "data_public": keys.public.raw}
    if request.capability is Capability.FULL:
        if keys.private is None:
            raise FullKeyRequired(
                "a writer key cannot make a full key",
                "use the passphrase of a full key, or the recovery key",
            )
        secrets["data_private"] = keys.private.raw
    aad = associated_data(keys.repository_id, Kind.KEY_SLOT, object_id(header))
    nonce = os.urandom(_NONCE_BYTES)
    ciphertext = AESGCM(derive("slot encryption", kek)).encrypt(nonce, codec.encode(secrets), aad)
    return (
        _MAGIC
        + bytes((FORMAT_VERSION,))
        + len(header).to_bytes(2, "little")
        + header
        + derive("slot commitment", kek)
        + nonce
        + ciphertext
    )


def format_recovery_key(key: bytes) -> str:
    """Return the text that people keep (spec/FORMAT.md §3.4)."""
    check = blake3.blake3(key).digest()[:_RECOVERY_CHECK_BYTES]
    text = base64.b32encode(key + check).decode()
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4))


def parse_recovery_key(text: str) -> bytes | None:
    """Return the recovery key that ``text`` is, None if it is none."""
    squeezed = "".join(text.split()).replace("-", "").upper()
    if len(squeezed) != _RECOVERY_CHARS:
        return None
    try:
        raw = base64.b32decode(squeezed)
    except (binascii.Error, ValueError):
        return None
    key, check = raw[:KEY_BYTES], raw[KEY_BYTES:]
    return key if blake3.blake3(key).digest()[:_RECOVERY_CHECK_BYTES] == check else None
