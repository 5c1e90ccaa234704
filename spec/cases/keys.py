"""Cases of keys: derived keys, associated data, recovery keys, config, key slots."""

import json
import struct
from collections.abc import Iterator
from typing import Any

from blake3 import blake3
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from snap.repo.keys import format_recovery_key
from spec.cases.case import (
    BAD,
    NEW,
    NONCE,
    OK,
    OTHER_REPOSITORY,
    OTHER_SECRET,
    PASSWORD,
    PRIVATE,
    REFUSED,
    REPOSITORY,
    SALT,
    SECRET,
    Case,
    encrypt,
    flipped,
    pack,
)
from spec.reader import associated_data, derive, keyed


def derived_keys() -> Iterator[Case]:
    """§3.2."""
    for name, secret in (("counting", SECRET), ("zeros", bytes(32)), ("ones", b"\xff" * 32)):
        purposes = ("blob id", "object", "meta pack", "pack directory", "config")
        result: dict[str, Any] = {purpose: derive(purpose, secret).hex() for purpose in purposes}
        seed = int.from_bytes(derive("chunker seed", secret)[:8], "little")
        result["chunker seed"] = max(1, seed >> 1)
        inputs = {"metadata_secret": secret.hex()}
        yield Case(name, OK, "keys of every purpose", b"", inputs, result)


def associated_data_cases() -> Iterator[Case]:
    """§4.1."""
    for kind, id_ in ((1, blake3(b"blob").digest()), (17, bytes(32)), (32, b"\xff" * 32)):
        inputs = {"repository_id": REPOSITORY.hex(), "kind": str(kind), "id": id_.hex()}
        aad = b"SNAP" + bytes((1, kind)) + REPOSITORY + id_
        yield Case(f"kind-{kind}", OK, "54 bytes", b"", inputs, aad.hex())


def recovery_keys() -> Iterator[Case]:
    """§3.4."""
    text = format_recovery_key(SECRET)
    for name, good in (
        ("as-written", text),
        ("lower-case", text.lower()),
        ("spaces", text.replace("-", "  ") + "\n"),
        ("bare", text.replace("-", "")),
    ):
        yield Case(name, OK, "read whatever case, spaces, dashes", good.encode(), {}, SECRET.hex())
    swapped = text[:-2] + text[:-3:-1]
    last = text[:-1] + ("A" if text[-1] != "A" else "B")
    for name, bad in (
        ("check-bytes", last),
        ("swapped", swapped),
        ("short", text[:-1]),
        ("long", text + "A"),
        ("no-base32", "1" + text[1:]),
        ("padded", text + "======"),
        ("nothing", ""),
        ("passphrase", "correct horse battery staple"),
    ):
        yield Case(name, REFUSED, "a passphrase, not a recovery key", bad.encode(), {})


CONFIG: dict[str, Any] = {
    "snap_repository": 1,
    "repository_id": REPOSITORY.hex(),
    "instance_id": OTHER_REPOSITORY.hex(),
    "created": 1795392000000000000,
    "features": [],
    "parameters": {
        "pack_bytes": 1 << 25,
        "blob_min_bytes": 1 << 18,
        "blob_avg_bytes": 1 << 20,
        "blob_max_bytes": 1 << 22,
    },
}


def signed_config(fields: dict[str, Any], secret: bytes = SECRET) -> bytes:
    """Return config with its check line."""
    line = json.dumps(fields).encode()
    return line + b"\n" + keyed(derive("config", secret), line).hex().encode() + b"\n"


def configs() -> Iterator[Case]:
    """§5."""
    inputs = {"metadata_secret": SECRET.hex()}
    result = {key: CONFIG[key] for key in ("repository_id", "instance_id")}
    good = signed_config(CONFIG)
    yield Case("good", OK, "a config", good, inputs, result)
    more = signed_config({**CONFIG, "of a later minor version": [1]})
    yield Case("unknown-key", OK, "a reader ignores keys it does not know", more, inputs, result)
    yield Case(
        "version-2", NEW, "a later version", signed_config({**CONFIG, "snap_repository": 2}), inputs
    )
    for name, store in (
        ("store", {"tried": 1_795_392_000_000_000_001, "lacks": ["clock", "object-lock"]}),
        ("store-text", "all is well"),
        ("store-of-the-future", {"tried": "today", "lacks": {"what": 1}}),
    ):
        said = signed_config({**CONFIG, "store": store})
        yield Case(name, OK, "what the store lacks is for people", said, inputs, result)
    feature = signed_config({**CONFIG, "features": ["append-only"]})
    yield Case("feature", NEW, "a feature that version 1 does not know", feature, inputs)
    yield Case(
        "flipped", BAD, "created changed, check line not", good.replace(b"17953", b"17952"), inputs
    )
    yield Case("check-flipped", BAD, "a bit of the check line", flipped(good, -3), inputs)
    other = signed_config(CONFIG, OTHER_SECRET)
    yield Case("other-secret", BAD, "checked with another metadata secret", other, inputs)
    yield Case(
        "no-check-line", BAD, "the second line is missing", good.partition(b"\n")[0] + b"\n", inputs
    )
    yield Case("trailing", BAD, "a third line", good + b"\n", inputs)
    yield Case("no-newline", BAD, "the last newline is missing", good[:-1], inputs)
    for name, key, value in (
        ("version-0", "snap_repository", 0),
        ("version-negative", "snap_repository", -1),
        ("version-text", "snap_repository", "1"),
        ("version-true", "snap_repository", True),
        ("id-short", "repository_id", "00" * 15),
        ("id-no-hex", "instance_id", "zz" * 16),
        ("created-float", "created", 1.5),
        ("features-text", "features", "none"),
        ("parameters-list", "parameters", []),
    ):
        yield Case(
            name, REFUSED, f"{key} is {value!r}", signed_config({**CONFIG, key: value}), inputs
        )
    absent = signed_config({key: value for key, value in CONFIG.items() if key != "features"})
    yield Case("no-features", REFUSED, "a key is missing", absent, inputs)
    for name, changes in (
        ("blobs-unordered", {"blob_min_bytes": 1 << 23}),
        ("blobs-tiny", {"blob_min_bytes": 1}),
        ("blobs-huge", {"blob_max_bytes": 1 << 40}),
        ("packs-tiny", {"pack_bytes": 0}),
    ):
        fields = {**CONFIG, "parameters": {**CONFIG["parameters"], **changes}}
        yield Case(
            name, REFUSED, f"impossible parameters: {changes}", signed_config(fields), inputs
        )
    yield Case("no-json", REFUSED, "the first line is not JSON", b"\0\xff\n" + b"0" * 64, inputs)
    deep = b"[" * 20_000 + b"\n"
    yield Case("nested", REFUSED, "JSON nested 20,000 levels deep", deep, inputs)


KDF: dict[str, Any] = {
    "name": "argon2id",
    "memory_kib": 19456,
    "iterations": 2,
    "lanes": 1,
    "salt": SALT[:16],
}
SECRETS: dict[str, Any] = {
    "metadata_secret": SECRET,
    "data_public": PRIVATE.public().raw,
    "data_private": PRIVATE.raw,
}


def passphrase_kek(kdf: dict[str, Any]) -> bytes:
    """Return the key that the passphrase `golden` gives, at the cost that kdf says."""
    argon = Argon2id(
        salt=kdf["salt"],
        length=32,
        iterations=kdf["iterations"],
        lanes=kdf["lanes"],
        memory_cost=kdf["memory_kib"],
    )
    return argon.derive(b"golden")


def slot(
    header: dict[str, Any], secrets: dict[str, Any], kek: bytes, repository_id: bytes = REPOSITORY
) -> bytes:
    """Return a key slot."""
    raw = pack(header)
    aad = associated_data(repository_id, 32, blake3(raw).digest())
    sealed = encrypt(derive("slot encryption", kek), NONCE, pack(secrets), aad)
    start = b"SNAPKEY\0\1" + struct.pack("<H", len(raw)) + raw
    return start + derive("slot commitment", kek) + NONCE + sealed


def slot_header(**changes: Any) -> dict[str, Any]:
    """Return the header of a passphrase slot of full capability."""
    header = {"kind": "passphrase", "capability": "full", "label": "test", "created": 1, "kdf": KDF}
    return {**header, **changes}


def key_slots() -> Iterator[Case]:
    """§3.3: those that open, and those whose credential or place is wrong."""
    inputs = {"repository_id": REPOSITORY.hex(), "credential": "golden"}
    writer = {key: SECRETS[key] for key in ("metadata_secret", "data_public")}
    result = {
        "capability": "full",
        "metadata_secret": SECRET.hex(),
        "data_private": PRIVATE.raw.hex(),
    }
    kek = passphrase_kek(KDF)
    good = slot(slot_header(), SECRETS, kek)
    yield Case("passphrase-full", OK, "the passphrase is golden", good, inputs, result)
    body = slot(slot_header(capability="writer"), writer, kek)
    write_only = {**result, "capability": "writer", "data_private": None}
    yield Case("passphrase-writer", OK, "no private key", body, inputs, write_only)
    recovery = {"name": "blake3", "salt": SALT[:16]}
    header = slot_header(kind="recovery", kdf=recovery)
    body = slot(header, SECRETS, keyed(OTHER_SECRET, SALT[:16]))
    key = {**inputs, "credential": format_recovery_key(OTHER_SECRET)}
    yield Case("recovery", OK, "opened with the recovery key", body, key, result)
    wrong = {**inputs, "credential": "Golden"}
    yield Case("wrong-passphrase", PASSWORD, "another passphrase", good, wrong)
    yield Case("passphrase-on-recovery", PASSWORD, "not a recovery key", body, inputs)
    yield Case("recovery-on-passphrase", PASSWORD, "a recovery key on a passphrase slot", good, key)
    wrong = {**inputs, "credential": format_recovery_key(SECRET)}
    yield Case("wrong-recovery-key", PASSWORD, "another recovery key", body, wrong)
    yield from slots_changed(inputs, good)
    yield from slots_refused(inputs, kek)


def slots_changed(inputs: dict[str, str], good: bytes) -> Iterator[Case]:
    """§3.3: a good one that was changed after it was written."""
    end = 11 + len(pack(slot_header()))
    yield Case(
        "commitment-flipped", PASSWORD, "the commitment does not fit", flipped(good, end), inputs
    )
    yield Case("ciphertext-flipped", BAD, "a bit of the secrets", flipped(good, -40), inputs)
    yield Case("nonce-flipped", BAD, "a bit of the nonce", flipped(good, end + 33), inputs)
    yield Case(
        "label-changed", BAD, "the header was changed", good.replace(b"test", b"tess"), inputs
    )
    moved = {**inputs, "repository_id": OTHER_REPOSITORY.hex()}
    yield Case("other-repository", BAD, "moved from another repository", good, moved)
    yield Case("truncated", REFUSED, "cut before the tag ends", good[: end + 59], inputs)
    yield Case("cut-secrets", BAD, "the last byte is missing", good[:-1], inputs)
    yield Case(
        "version-2", REFUSED, "a slot of version 2", good.replace(b"\0\1", b"\0\2", 1), inputs
    )
    yield Case("magic", REFUSED, "another magic", flipped(good, 0), inputs)
    length = good[:9] + b"\xff\xff" + good[11:]
    yield Case("header-length", REFUSED, "a header longer than the slot", length, inputs)


def slots_refused(inputs: dict[str, str], kek: bytes) -> Iterator[Case]:
    """§3.3: those that say what the format does not allow."""
    body = slot(slot_header(label="x" * 4096), SECRETS, kek)
    yield Case("header-large", REFUSED, "a header over 4 KiB", body, inputs)
    for name, change in (
        ("memory-low", {"memory_kib": 19455}),
        ("memory-high", {"memory_kib": 4194305}),
        ("memory-float", {"memory_kib": 2.5e4}),
        ("iterations-low", {"iterations": 1}),
        ("iterations-high", {"iterations": 1001}),
        ("lanes-none", {"lanes": 0}),
        ("lanes-high", {"lanes": 65}),
        ("salt-short", {"salt": SALT[:15]}),
        ("scrypt", {"name": "scrypt"}),
        ("blake3", {"name": "blake3"}),
    ):
        body = slot(slot_header(kdf={**KDF, **change}), SECRETS, kek)
        yield Case(f"kdf-{name}", REFUSED, "refused before any work is done", body, inputs)
    for name, changes in (
        ("kind-unknown", {"kind": "fido2"}),
        ("capability-unknown", {"capability": "root"}),
        ("label-bytes", {"label": b"test"}),
        ("created-text", {"created": "now"}),
        ("kdf-list", {"kdf": []}),
    ):
        yield Case(name, REFUSED, f"{changes}", slot(slot_header(**changes), SECRETS, kek), inputs)
    header = slot_header(capability="writer")
    yield Case(
        "writer-with-private",
        REFUSED,
        "more than its capability",
        slot(header, SECRETS, kek),
        inputs,
    )
    for name, secrets in (
        ("full-without-private", {k: v for k, v in SECRETS.items() if k != "data_private"}),
        ("short-secret", {**SECRETS, "metadata_secret": SECRET[:31]}),
        ("short-public", {**SECRETS, "data_public": PRIVATE.public().raw[:-1]}),
        ("short-private", {**SECRETS, "data_private": PRIVATE.raw[:-1]}),
        ("halves", {**SECRETS, "data_public": flipped(PRIVATE.public().raw, -1)}),
    ):
        body = slot(slot_header(), secrets, kek)
        yield Case(name, REFUSED, "secrets that cannot be", body, inputs)
