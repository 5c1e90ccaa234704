"""A strict decoder of every structure, from spec/FORMAT.md alone, sharing no code with snap.

The second opinion in test_vectors: two decoders that were written apart must agree on every vector.
spec/reader.py is the short one, which restores.
"""

import base64
import hmac
import json
import mmap
import struct
from typing import Any, NamedTuple, TypeVar, cast

import msgpack
import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

DATA, TREE, EXTENTS, DIGESTS, DIRECTORY, INDEX, SNAPSHOT, KEY_SLOT = 1, 2, 3, 4, 16, 17, 18, 32
WRONG_PASSWORD, TOO_NEW = 12, 13
BLOB_LIMIT, BODY_LIMIT, PACK_LIMIT = 64 << 20, 1 << 30, (4 << 30) - 1
HOLE = 0xFFFFFFFF
LAYOUTS = ("blobs", "pages", "stream", "records")
T = TypeVar("T")


class Error(Exception):
    """The one error: what is wrong in one line, and the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def need(condition: object, message: str, code: int = 1) -> None:
    """Raise an Error unless the condition holds."""
    if not condition:
        raise Error(message, code)


# §1, §3.2, §4: hashes, derived keys, encryption, strict msgpack and zstd


def derive(purpose: str, secret: bytes) -> bytes:
    return blake3(secret, derive_key_context="snap-backup 2026-11-23 v1 " + purpose).digest()


def keyed(key: bytes, message: bytes) -> bytes:
    return blake3(message, key=key).digest()


def associated_data(repository_id: bytes, kind: int, id_: bytes = bytes(32)) -> bytes:
    return b"SNAP" + bytes((1, kind)) + repository_id + id_


def decrypt(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    need(len(sealed) >= 16, "too short to be encrypted")
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise Error("does not decrypt: damaged, or not what it is taken for") from None


def expand(compression: int, body: bytes, limit: int) -> bytes:
    need(compression in (0, 1), "unknown compression")
    try:
        size = zstandard.frame_content_size(body) if compression else len(body)
        need(0 <= size <= limit, "too large, or of unknown size")
        if not compression:
            return body
        plain = zstandard.ZstdDecompressor().decompress(body, allow_extra_data=False)
    except zstandard.ZstdError:
        raise Error("a compressed frame is damaged") from None
    need(len(plain) == size, "a compressed frame is not as long as it says")
    return plain


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    need(all(type(key) is str for key, _ in pairs), "a map key is not text")
    need(len(dict(pairs)) == len(pairs), "a map has a key twice")
    return dict(pairs)


def decode(data: bytes) -> dict[str, Any]:
    """Return the one map in msgpack bytes."""
    try:
        value = msgpack.unpackb(data, object_pairs_hook=_pairs, strict_map_key=False)
    except (ValueError, msgpack.UnpackException, RecursionError):
        raise Error("not readable as msgpack") from None
    need(isinstance(value, dict), "not a map")
    level, depth = [value], 0
    while level:
        depth += 1
        need(depth <= 32, "nested too deep")
        inner = [v for x in level for v in (x.values() if isinstance(x, dict) else x)]
        level = [v for v in inner if isinstance(v, (dict, list))]
    return dict(value)


def get(fields: dict[str, Any], key: str, kind: type[T], default: T | None = None) -> T:
    """Return a field of exactly this type."""
    value = fields.get(key, default)
    if type(value) is not kind:
        raise Error(f"{key!r} is missing or of a wrong type")
    return value


def check(fields: object, **types: type) -> dict[str, Any]:
    """Return a map whose fields have exactly these types."""
    need(isinstance(fields, dict), "not a map")
    for key, kind in types.items():
        get(cast(dict[str, Any], fields), key, kind)
    return cast(dict[str, Any], fields)


def split(joined: bytes) -> list[bytes]:
    need(len(joined) % 32 == 0, "a list of ids has a wrong length")
    return [joined[i : i + 32] for i in range(0, len(joined), 32)]


def column(table: dict[str, Any], key: str, code: str, count: int) -> tuple[int, ...]:
    raw = get(table, key, bytes)
    need(len(raw) == count * struct.calcsize("<" + code), f"column {key!r} has a wrong length")
    return struct.unpack(f"<{count}{code}", raw)


# §5, §3.3, §3.4: config and key slots


def decode_config(stored: bytes) -> dict[str, Any]:
    """Return what config says, not yet authenticated; `repository_id` as bytes."""
    try:
        fields = json.loads(stored.split(b"\n")[0])
        need(get(fields, "snap_repository", int) <= 1, "written by a later version", TOO_NEW)
        need(fields["snap_repository"] == 1, "config: a version that never was")
        need(not get(fields, "features", list), "needs features of a later version", TOO_NEW)
        check(fields, repository_id=str, instance_id=str, created=int, parameters=dict)
        ids = [bytes.fromhex(fields[key]) for key in ("repository_id", "instance_id")]
        need(len(ids[0]) == len(ids[1]) == 16, "config: an id has a wrong length")
        names = ("blob_min_bytes", "blob_avg_bytes", "blob_max_bytes", "pack_bytes")
        low, middle, high, whole = (get(fields["parameters"], name, int) for name in names)
        fits = 64 <= low <= middle <= high <= 16 << 20 and 1 << 16 <= whole <= 1 << 30
        need(fits, "config: impossible sizes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Error("config: not readable") from None
    return {**fields, "repository_id": ids[0], "instance_id": ids[1]}


def check_config(stored: bytes, metadata_secret: bytes) -> None:
    line, _, rest = stored.partition(b"\n")
    mac = keyed(derive("config", metadata_secret), line).hex().encode() + b"\n"
    need(hmac.compare_digest(mac, rest), "config: its check line does not fit")


def parse_recovery_key(text: str) -> bytes | None:
    """Return the recovery key that a text is, None if it is none."""
    try:
        raw = base64.b32decode("".join(text.split()).replace("-", "").upper())
    except ValueError:
        return None
    fits = len(raw) == 35 and blake3(raw[:32]).digest()[:3] == raw[32:]
    return raw[:32] if fits else None


class Slot(NamedTuple):
    header: bytes
    kind: str
    capability: str
    kdf: dict[str, Any]
    commitment: bytes
    nonce: bytes
    ciphertext: bytes


def parse_slot(stored: bytes) -> Slot:
    need(stored[:9] == b"SNAPKEY\0\1", "not a key slot of version 1")
    end = 11 + int.from_bytes(stored[9:11], "little")
    need(end <= 11 + 4096 and len(stored) >= end + 60, "a key slot is cut short or too long")
    types = {"kdf": dict, "kind": str, "capability": str, "label": str, "created": int}
    fields = check(decode(stored[11:end]), **types)
    kdf, kind = fields["kdf"], fields["kind"]
    names = {"passphrase": "argon2id", "recovery": "blake3"}
    need(get(kdf, "name", str) == names.get(kind), "a key slot of unknown kind")
    need(len(get(kdf, "salt", bytes)) == 16, "a key slot's salt has a wrong length")
    if kind == "passphrase":
        limits = {"memory_kib": (19456, 4194304), "iterations": (2, 1000), "lanes": (1, 64)}
        fits = all(low <= get(kdf, key, int) <= high for key, (low, high) in limits.items())
        need(fits, "a key slot whose cost is outside what is accepted")
    need(fields["capability"] in ("writer", "full"), "a key slot of unknown capability")
    parts = stored[end : end + 32], stored[end + 32 : end + 44], stored[end + 44 :]
    return Slot(stored[11:end], kind, fields["capability"], kdf, *parts)


class Keys(NamedTuple):
    repository_id: bytes
    metadata_secret: bytes
    data_private: bytes | None = None


def open_slot(slot: Slot, credential: str, repository_id: bytes) -> Keys | None:
    """Return the keys in a slot, None where the credential does not fit."""
    recovery = parse_recovery_key(credential)
    if (recovery is not None) != (slot.kind == "recovery"):
        return None
    if recovery is not None:
        kek = keyed(recovery, slot.kdf["salt"])
    else:
        cost = {"iterations": slot.kdf["iterations"], "lanes": slot.kdf["lanes"]}
        memory = slot.kdf["memory_kib"]
        argon = Argon2id(salt=slot.kdf["salt"], length=32, memory_cost=memory, **cost)
        kek = argon.derive(credential.encode("utf-8", "surrogateescape"))
    if not hmac.compare_digest(derive("slot commitment", kek), slot.commitment):
        return None
    aad = associated_data(repository_id, KEY_SLOT, blake3(slot.header).digest())
    secrets = decode(decrypt(derive("slot encryption", kek), slot.nonce, slot.ciphertext, aad))
    private = get(secrets, "data_private", bytes) if slot.capability == "full" else None
    need((private is not None) == ("data_private" in secrets), "not what its capability says")
    secret, public = get(secrets, "metadata_secret", bytes), get(secrets, "data_public", bytes)
    lengths = (len(secret), len(public), len(private or bytes(96)))
    need(lengths == (32, 1216, 96), "a key slot holds secrets of a wrong length")
    if private is not None:
        kem, curve = mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:64]), private[64:]
        point = x25519.X25519PrivateKey.from_private_bytes(curve).public_key().public_bytes_raw()
        need(kem.public_key().public_bytes_raw() + point == public, "halves of different keys")
    return Keys(repository_id, secret, private)


# §4.2, §8, §10: sealed objects, index, snapshots


def open_object(keys: Keys, kind: int, stored: bytes, id_: bytes = bytes(32)) -> dict[str, Any]:
    need(stored[:12] == b"SNAPOBJ\0" + bytes((1, kind, 0, 0)), f"not an object of kind {kind}")
    need(len(stored) >= 60, "a sealed object is cut short")
    key = keyed(derive("object", keys.metadata_secret), bytes((kind,)) + stored[12:44])
    aad = associated_data(keys.repository_id, kind, id_)
    payload = decrypt(key, bytes(12), stored[44:], aad)
    need(payload, "a sealed object without a compression byte")
    return decode(expand(payload[0], payload[1:], BODY_LIMIT))


class Entry(NamedTuple):
    id: bytes
    kind: int
    compression: int
    key: int
    nonce: int
    offset: int
    stored: int
    raw: int


def decode_index(body: dict[str, Any]) -> dict[bytes, tuple[int, int, tuple[Entry, ...]]]:
    """Return of each pack id: the pack's kind, size, entries."""
    packs, blobs = get(body, "packs", dict), get(body, "blobs", dict)
    ids, blob_ids = split(get(packs, "id", bytes)), split(get(blobs, "id", bytes))
    kinds, sizes, _, counts = (
        column(packs, key, code, len(ids))
        for key, code in (("kind", "B"), ("size", "Q"), ("keys", "H"), ("blobs", "I"))
    )
    need(set(kinds) <= {1, 2}, "a pack of unknown kind")
    columns = [("kind", "B"), ("compression", "B"), ("key", "H")]
    columns += [(key, "I") for key in ("nonce", "offset", "stored", "raw")]
    numbers = [column(blobs, key, code, len(blob_ids)) for key, code in columns]
    need(sum(counts) == len(blob_ids), "packs and blobs of an index do not add up")
    entries = (Entry(*fields) for fields in zip(blob_ids, *numbers, strict=True))
    lists = [tuple(next(entries) for _ in range(count)) for count in counts]
    return dict(zip(ids, zip(kinds, sizes, lists, strict=True), strict=True))


def plain_name(name: bytes) -> bool:
    fits = 0 < len(name) <= 4096 and name not in (b".", b"..")
    return fits and b"/" not in name and b"\0" not in name


def decode_snapshot(body: dict[str, Any]) -> dict[str, Any]:
    """Return a snapshot's body, checked as far as restoring needs."""
    check(body, time=int, components=list)
    get(body, "revision", int, 0)
    need(len(get(body, "original", bytes, bytes(32))) == 32, "original has a wrong length")
    names = []
    for component in body["components"]:
        names.append(check(component, name=str)["name"].encode())
        need(plain_name(names[-1]), "a component name that is not plain")
        if "subtree" in component:
            need(split(get(component, "subtree", bytes)), "a component without tree blobs")
    need(names == sorted(set(names)), "components out of order or there twice")
    return body


# §9: trees, contents, extents


def decode_extents(table: dict[str, Any]) -> list[tuple[bytes | None, int, int]]:
    """Return (blob id or None, offset, length) of each extent."""
    blobs, count = split(get(table, "blobs", bytes)), len(get(table, "index", bytes)) // 4
    need(len(set(blobs)) == len(blobs), "an extent table names a blob twice")
    numbers, offsets = column(table, "index", "I", count), column(table, "offset", "I", count)
    extents: list[tuple[bytes | None, int, int]] = []
    for number, offset, length in zip(
        numbers, offsets, column(table, "length", "Q", count), strict=True
    ):
        need(0 < length < 1 << 63, "an extent of impossible length")
        need(number < len(blobs) or (number == HOLE and offset == 0), "an extent of no blob")
        extents.append((None if number == HOLE else blobs[number], offset, length))
    return extents


def decode_paging(content: dict[str, Any]) -> tuple[int, int]:
    """Return the sizes of a page and of a region."""
    page, region = get(content, "page", int), get(content, "region", int)
    need(page in (1 << n for n in range(9, 17)), "a page of impossible size")
    need(region in range(page, (16 << 20) + 1, page), "a region of impossible size")
    return page, region


def decode_table(table: dict[str, Any], length: int, region: int) -> dict[str, Any]:
    """Return the extents of `length` bytes and, where `region` is not 0, their regions."""
    result: dict[str, Any] = {"extents": decode_extents(table)}
    total = sum(size for _, _, size in result["extents"])
    need(total == length, "the extents of a file do not add up")
    if region:
        whole, rest = divmod(length, region)
        result["regions"] = get(table, "regions", bytes)
        need(len(result["regions"]) == 16 * (whole + (rest > 0)), "not one digest a region")
    return result


def decode_digests(plain: bytes) -> list[tuple[int, bytes]]:
    """Return (length, digest) of each chunk of a data blob."""
    body = decode(plain)
    joined = get(body, "digests", bytes)
    need(joined and len(joined) % 16 == 0, "no digests, or not whole ones")
    digests = [joined[i : i + 16] for i in range(0, len(joined), 16)]
    lengths = column(body, "lengths", "I", len(digests))
    need(0 not in lengths, "a chunk of no length")
    return list(zip(lengths, digests, strict=True))


def decode_content(content: dict[str, Any]) -> dict[str, Any]:
    """Return {layout, size} and what a known layout has: extents, lists, columns, sizes."""
    result: dict[str, Any] = {"layout": get(content, "layout", str)}
    result["size"] = get(content, "size", int)
    need(result["size"] >= 0, "a file of negative size")
    if result["layout"] not in LAYOUTS:
        return result
    region = 0
    if result["layout"] == "stream":
        need(0 <= get(content, "chunk", int, 0) <= 16 << 20, "chunks of impossible size")
    if result["layout"] == "pages":
        result["page"], region = decode_paging(content)
        result["region"] = region
    if result["layout"] == "records":
        return result | decode_columns(content, result["size"])
    need(("extents" in content) != ("lists" in content), "either extents or lists")
    if "extents" in content:
        result |= decode_table(get(content, "extents", dict), result["size"], region)
    else:
        ids = split(get(get(content, "lists", dict), "id", bytes))
        lengths = column(content["lists"], "length", "Q", len(ids))
        result["lists"] = list(zip(ids, lengths, strict=True))
        need(sum(lengths) == result["size"], "the lists of a file do not add up")
    return result


def decode_columns(content: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the widths and contents of the columns of a file of records."""
    need(not {"extents", "lists"} & set(content), "extents beside columns")
    widths, columns = get(content, "widths", list), get(content, "columns", list)
    need(all(type(n) is int and n > 0 for n in widths), "a column of impossible width")
    need(1 <= len(widths) <= 64 and sum(widths) <= 1 << 20, "records of impossible size")
    need(all(check(c, layout=str)["layout"] == "pages" for c in columns), "a column not in pages")
    decoded = [decode_content(column) for column in columns]
    whole = size - size % sum(widths)
    sizes = [whole // sum(widths) * width for width in widths]
    sizes[-1] += size - whole
    need([column["size"] for column in decoded] == sizes, "columns do not fit the records")
    return {"widths": widths, "columns": decoded}


def need_layout(content: dict[str, Any]) -> None:
    need(content["layout"] in LAYOUTS, f"unknown layout {content['layout']!r}", TOO_NEW)


def decode_tree(plain: bytes) -> list[dict[str, Any]]:
    """Return the nodes of a tree blob; `content` and `subtree` decoded."""
    nodes, last = get(decode(plain), "nodes", list), b""
    for node in nodes:
        check(node, name=bytes, type=str, mode=int, uid=int, gid=int, mtime=int)
        check(node, user=str, group=str)
        name, type_ = node["name"], node["type"]
        need(plain_name(name), "a node name that is not plain")
        need(name > last, "node names out of order or there twice")
        last = name
        need(0 <= node["mode"] <= 0o7777, "a mode with other bits")
        need(node["uid"] >= 0 <= node["gid"], "a negative owner")
        for pair in get(node, "xattrs", list, []):
            good = isinstance(pair, list) and [type(part) for part in pair] == [bytes, bytes]
            need(good, "an extended attribute is not a name and a value")
        if type_ == "file":
            get(node, "device", int, 0), get(node, "inode", int, 0), get(node, "links", int, 1)
            node["content"] = decode_content(get(node, "content", dict))
        elif type_ == "dir":
            node["subtree"] = split(get(node, "subtree", bytes))
            need(node["subtree"], "a directory without tree blobs")
        elif type_ == "symlink":
            get(node, "target", bytes)
        else:
            need(type_ in ("fifo", "socket", "chardev", "blockdev"), "a node of unknown type")
    return nodes


# §6, §7: packs and blobs


def pack_header(pack: bytes | mmap.mmap) -> tuple[int, list[bytes], bytes]:
    """Return a pack's kind, its key table, and the header."""
    need(pack[:9] == b"SNAPPACK\1" and len(pack) >= 24, "not a pack of version 1")
    kind, count = pack[9], int.from_bytes(pack[10:12], "little")
    need(kind in (1, 2) and count, "a pack of unknown kind or without keys")
    step = 1168 if kind == 1 else 32
    end = 12 + count * step
    need(len(pack) >= end + 12, "a pack header is cut short")
    return kind, [pack[i : i + step] for i in range(12, end, step)], pack[:end]


def read_pack_directory(keys: Keys, pack: bytes | mmap.mmap) -> list[Entry]:
    """Return what a pack's own directory says, checked against the pack."""
    kind, table, header = pack_header(pack)
    need(pack[-8:] == b"SNAPDIR\0" and len(pack) <= PACK_LIMIT, "no directory at a pack's end")
    length = int.from_bytes(pack[-12:-8], "little")
    end = len(pack) - 12 - length
    need(length >= 48 and end >= len(header), "a pack directory of impossible length")
    key = keyed(derive("pack directory", keys.metadata_secret), pack[end : end + 32])
    aad = associated_data(keys.repository_id, DIRECTORY, blake3(header).digest())
    records = decrypt(key, bytes(12), pack[end + 32 : -12], aad)
    need(len(records) % 52 == 0, "a pack directory is not whole records")
    entries = [Entry(*fields) for fields in struct.iter_unpack("<32sBBHIIII", records)]
    offset = len(header)
    for entry in entries:
        need(entry.offset == offset, "blobs of a pack overlap or leave gaps")
        need(entry.kind in ((1,) if kind == 1 else (2, 3, 4)), "a blob in the wrong kind of pack")
        need(entry.key < len(table) and entry.raw <= BLOB_LIMIT, "impossible key or size")
        offset += entry.stored
    need(offset == end, "the blobs of a pack do not fill it")
    return entries


def open_pack_key(keys: Keys, pack: bytes | mmap.mmap, number: int) -> bytes:
    kind, table, _ = pack_header(pack)
    need(number < len(table), "the pack has no such key")
    if kind == 2:
        return keyed(derive("meta pack", keys.metadata_secret), table[number])
    if keys.data_private is None:
        raise Error("a writer key reads no file content")
    private = hpke.MLKEM768X25519PrivateKey(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(keys.data_private[:64]),
        x25519.X25519PrivateKey.from_private_bytes(keys.data_private[64:]),
    )
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    info = b"snap-backup v1 pack key" + keys.repository_id
    try:
        key = suite.decrypt(table[number], private, info=info)
    except (InvalidTag, ValueError):
        raise Error("the sealed pack key does not open") from None
    need(len(key) == 32, "the sealed pack key has a wrong length")
    return key


def blob_id(keys: Keys, kind: int, plain: bytes) -> bytes:
    return keyed(derive("blob id", keys.metadata_secret), bytes((kind,)) + plain)


def chunk_digest(keys: Keys, chunk: bytes) -> bytes:
    return keyed(derive("chunk digest", keys.metadata_secret), chunk)[:16]


def digests_id(keys: Keys, data_blob: bytes, unit: int) -> bytes:
    message = bytes((DIGESTS,)) + data_blob + struct.pack("<I", unit)
    return keyed(derive("blob id", keys.metadata_secret), message)


def open_blob(keys: Keys, pack_key: bytes, entry: Entry, stored: bytes) -> bytes:
    need(entry.raw <= BLOB_LIMIT, "a blob over the limit")
    aad = associated_data(keys.repository_id, entry.kind, entry.id)
    body = decrypt(pack_key, entry.nonce.to_bytes(12, "little"), stored, aad)
    plain = expand(entry.compression, body, entry.raw)
    need(len(plain) == entry.raw, "the content is not as long as it should be")
    # A companion's id is not a hash of it: that it decrypts under the id is its proof.
    good = entry.kind == DIGESTS or blob_id(keys, entry.kind, plain) == entry.id
    need(good, "the content is not what the blob's id says")
    return plain
