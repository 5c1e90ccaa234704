"""Keys derived from the metadata secret, and the one way things are encrypted.

spec/FORMAT.md §3.2, §4.1 and §6.1. Nonces are counters under keys that are used for one object
only, so no state has to be kept to keep them unique.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .codec import DecodeError
from .ids import FORMAT_VERSION, NO_ID, BlobId, Kind

KEY_BYTES = 32
DIGEST_BYTES = 16
SALT_BYTES = 32
TAG_BYTES = 16
SEALED_KEY_BYTES = 1168
"""enc[1120] of MLKEM768-X25519, and 32 bytes with their tag."""

_CONTEXT = "snap-backup 2026-11-23 v1 "
_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_SEED_BYTES = 64
DATA_PUBLIC_BYTES = _MLKEM_PUBLIC_BYTES + 32
DATA_PRIVATE_BYTES = _MLKEM_SEED_BYTES + 32
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def derive(purpose: str, secret: bytes) -> bytes:
    """Return the 32-byte key for one purpose (spec/FORMAT.md §3.2)."""
    return blake3.blake3(secret, derive_key_context=_CONTEXT + purpose).digest()


def keyed_hash(key: bytes, message: bytes) -> bytes:
    """Return BLAKE3-keyed(key, message)."""
    return blake3.blake3(message, key=key).digest()


def associated_data(repository_id: bytes, kind: int, id_: bytes = NO_ID) -> bytes:
    """Return the 54 bytes that bind a ciphertext to its place (spec/FORMAT.md §4.1)."""
    return b"SNAP" + bytes((FORMAT_VERSION, kind)) + repository_id + id_


def nonce_bytes(counter: int) -> bytes:
    """Return a counter as a nonce."""
    return counter.to_bytes(12, "little")


def seal(
    key: bytes, aad: bytes, plaintext: bytes | bytearray | memoryview, counter: int = 0
) -> bytes:
    """Return AES-256-GCM of ``plaintext`` with its tag behind it."""
    return AESGCM(key).encrypt(nonce_bytes(counter), plaintext, aad)


@lru_cache(maxsize=8)
def _cipher(key: bytes) -> AESGCM:
    # For small blobs the key schedule costs more than the decryption.
    return AESGCM(key)


def unseal(key: bytes, aad: bytes, ciphertext: bytes | memoryview, counter: int = 0) -> bytes:
    """Return the plaintext.

    Raises:
        DecodeError: it does not open: damaged, or not what it is taken for.
    """
    if len(ciphertext) < TAG_BYTES:
        raise DecodeError("too short to be encrypted")
    try:
        return _cipher(key).decrypt(nonce_bytes(counter), ciphertext, aad)
    except InvalidTag as error:
        raise DecodeError("does not decrypt: damaged, or not what it is taken for") from error


@dataclass(frozen=True)
class DataPublicKey:
    """Seals the random keys of data packs."""

    raw: bytes

    def seal_pack_key(self, pack_key: bytes, repository_id: bytes) -> bytes:
        """Return the 1168 bytes of spec/FORMAT.md §7.1."""
        public = hpke.MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(self.raw[:_MLKEM_PUBLIC_BYTES]),
            x25519.X25519PublicKey.from_public_bytes(self.raw[_MLKEM_PUBLIC_BYTES:]),
        )
        return _SUITE.encrypt(pack_key, public, info=_pack_key_info(repository_id))


@dataclass(frozen=True)
class DataPrivateKey:
    """Opens the keys of data packs: what a writer does not have."""

    raw: bytes

    @classmethod
    def generate(cls) -> "DataPrivateKey":
        """Make a new pair."""
        return cls(
            mlkem.MLKEM768PrivateKey.generate().private_bytes_raw()
            + x25519.X25519PrivateKey.generate().private_bytes_raw()
        )

    @cached_property
    def _parts(self) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
        return (
            mlkem.MLKEM768PrivateKey.from_seed_bytes(self.raw[:_MLKEM_SEED_BYTES]),
            x25519.X25519PrivateKey.from_private_bytes(self.raw[_MLKEM_SEED_BYTES:]),
        )

    def public(self) -> DataPublicKey:
        """Return the public half."""
        kem, curve = self._parts
        return DataPublicKey(
            kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        )

    def open_pack_key(self, sealed: bytes, repository_id: bytes) -> bytes:
        """Return the pack key.

        Raises:
            DecodeError: it does not open.
        """
        private = hpke.MLKEM768X25519PrivateKey(*self._parts)
        try:
            key = _SUITE.decrypt(sealed, private, info=_pack_key_info(repository_id))
        except (InvalidTag, ValueError) as error:
            raise DecodeError("the sealed pack key does not open") from error
        if len(key) != KEY_BYTES:
            raise DecodeError("the sealed pack key has a wrong length")
        return key


def _pack_key_info(repository_id: bytes) -> bytes:
    return b"snap-backup v1 pack key" + repository_id


class Keys:
    """All that one capability can derive, for one repository.

    ``private`` is None for a writer: it stores everything and reads no file content.
    """

    def __init__(
        self,
        repository_id: bytes,
        metadata_secret: bytes,
        public: DataPublicKey,
        private: DataPrivateKey | None,
    ) -> None:
        self.repository_id = repository_id
        self.metadata_secret = metadata_secret
        self.public = public
        self.private = private
        self._blob_id_key = derive("blob id", metadata_secret)
        self._object_key = derive("object", metadata_secret)
        self._meta_pack_key = derive("meta pack", metadata_secret)
        self._directory_key = derive("pack directory", metadata_secret)
        self._chunk_digest_key = derive("chunk digest", metadata_secret)
        self.config_key = derive("config", metadata_secret)
        seed = derive("chunker seed", metadata_secret)
        # pyfastcdc takes 63 bits, and 0 would mean no key.
        self.chunker_seed = max(1, int.from_bytes(seed[:8], "little") >> 1)

    def blob_id(self, kind: int, plaintext: bytes | bytearray | memoryview) -> BlobId:
        """Return the id of a blob (spec/FORMAT.md §6.1)."""
        hasher = blake3.blake3(bytes((kind,)), key=self._blob_id_key)
        return BlobId(hasher.update(plaintext).digest())

    def chunk_digest(self, chunk: bytes | bytearray | memoryview) -> bytes:
        """Return the 16 bytes by which chunks and regions are compared (spec/FORMAT.md §7.6)."""
        return blake3.blake3(chunk, key=self._chunk_digest_key).digest(DIGEST_BYTES)

    def chunk_digests(self, chunks: Iterable[bytes | memoryview]) -> bytes:
        """Return the digests of several chunks, joined.

        One hasher for all: of pages that takes two thirds of the time of one for each.
        """
        hasher = blake3.blake3(key=self._chunk_digest_key)
        reset, update, digest = hasher.reset, hasher.update, hasher.digest
        digests = []
        for chunk in chunks:
            reset()
            update(chunk)
            digests.append(digest(DIGEST_BYTES))
        return b"".join(digests)

    def digests_id(self, blob: BlobId, unit: int) -> BlobId:
        """Return the id of a data blob's companion (spec/FORMAT.md §7.6)."""
        message = bytes((Kind.DIGESTS,)) + blob + unit.to_bytes(4, "little")
        return BlobId(keyed_hash(self._blob_id_key, message))

    def object_key(self, kind: int, salt: bytes) -> bytes:
        """Return the key of one sealed object (spec/FORMAT.md §4.2)."""
        return keyed_hash(self._object_key, bytes((kind,)) + salt)

    def meta_pack_key(self, salt: bytes) -> bytes:
        """Return the key of a metadata pack (spec/FORMAT.md §7.1)."""
        return keyed_hash(self._meta_pack_key, salt)

    def directory_key(self, salt: bytes) -> bytes:
        """Return the key of a pack directory (spec/FORMAT.md §7.3)."""
        return keyed_hash(self._directory_key, salt)

    def aad(self, kind: int, id_: bytes = NO_ID) -> bytes:
        """Return the associated data of something in this repository."""
        return associated_data(self.repository_id, kind, id_)
