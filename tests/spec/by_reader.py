"""Decode a vector with the strict decoder that shares no code with snap."""

from collections.abc import Callable, Mapping
from typing import Any

from blake3 import blake3

from tests.spec import strict as reader
from tests.spec import strict_doomed
from tests.spec.strict_checks import decode_check

Inputs = Mapping[str, str]


def verdict(structure: str, body: bytes, inputs: Inputs) -> tuple[str, Any]:
    try:
        return "success", as_json(DECODERS[structure](body, inputs))
    except reader.Error as error:
        names = {reader.WRONG_PASSWORD: "wrong password", reader.TOO_NEW: "too new"}
        return names.get(error.code, "refused"), None


def as_json(value: Any) -> Any:
    """Return a value with bytes in hex and tuples as lists."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value


def _keys(inputs: Inputs) -> reader.Keys:
    private = inputs.get("data_private")
    return reader.Keys(
        bytes.fromhex(inputs["repository_id"]),
        bytes.fromhex(inputs["metadata_secret"]),
        bytes.fromhex(private) if private else None,
    )


def _derived_keys(_: bytes, inputs: Inputs) -> Any:
    secret = bytes.fromhex(inputs["metadata_secret"])
    purposes = ("blob id", "object", "meta pack", "pack directory", "config")
    seed = int.from_bytes(reader.derive("chunker seed", secret)[:8], "little")
    keys: dict[str, Any] = {purpose: reader.derive(purpose, secret) for purpose in purposes}
    return {**keys, "chunker seed": max(1, seed >> 1)}


def _associated_data(_: bytes, inputs: Inputs) -> Any:
    repository_id, id_ = bytes.fromhex(inputs["repository_id"]), bytes.fromhex(inputs["id"])
    return reader.associated_data(repository_id, int(inputs["kind"]), id_)


def _recovery_key(body: bytes, _: Inputs) -> Any:
    key = reader.parse_recovery_key(body.decode())
    reader.need(key is not None, "not a recovery key")
    return key


def _blob_id(body: bytes, inputs: Inputs) -> Any:
    keys = reader.Keys(bytes(16), bytes.fromhex(inputs["metadata_secret"]))
    return reader.blob_id(keys, int(inputs["kind"]), body)


def _chunk_digest(body: bytes, inputs: Inputs) -> Any:
    keys = reader.Keys(bytes(16), bytes.fromhex(inputs["metadata_secret"]))
    return reader.chunk_digest(keys, body)


def _digests_id(_: bytes, inputs: Inputs) -> Any:
    keys = reader.Keys(bytes(16), bytes.fromhex(inputs["metadata_secret"]))
    return reader.digests_id(keys, bytes.fromhex(inputs["id"]), int(inputs["unit"]))


def _config(body: bytes, inputs: Inputs) -> Any:
    config = reader.decode_config(body)
    reader.check_config(body, bytes.fromhex(inputs["metadata_secret"]))
    return {key: config[key] for key in ("repository_id", "instance_id")}


def _key_slot(body: bytes, inputs: Inputs) -> Any:
    slot = reader.parse_slot(body)
    repository_id = bytes.fromhex(inputs["repository_id"])
    keys = reader.open_slot(slot, inputs["credential"], repository_id)
    if keys is None:
        raise reader.Error("does not fit", reader.WRONG_PASSWORD)
    secrets = {"metadata_secret": keys.metadata_secret, "data_private": keys.data_private}
    return {"capability": slot.capability, **secrets}


def _sealed_object(body: bytes, inputs: Inputs) -> Any:
    id_ = bytes.fromhex(inputs["id"])
    return reader.open_object(_keys(inputs), int(inputs["kind"]), body, id_)


def _index(body: bytes, _: Inputs) -> Any:
    packs = reader.decode_index(reader.decode(body))
    return [(id_, *described) for id_, described in packs.items()]


def _tree(body: bytes, _: Inputs) -> Any:
    return [[n["name"], n["type"], n["mode"], n["mtime"]] for n in reader.decode_tree(body)]


def _content(body: bytes, _: Inputs) -> Any:
    content = reader.decode_content(reader.decode(body))
    reader.need_layout(content)
    keys = ("layout", "size", "page", "region", "widths")
    return {key: content[key] for key in keys if key in content}


def _extents(body: bytes, _: Inputs) -> Any:
    return reader.decode_extents(reader.decode(body))


def _paged_extents(body: bytes, inputs: Inputs) -> Any:
    _, region = reader.decode_paging({key: int(inputs[key]) for key in ("page", "region")})
    return reader.decode_table(reader.decode(body), int(inputs["length"]), region)


def _digests(body: bytes, _: Inputs) -> Any:
    return reader.decode_digests(body)


def _check(body: bytes, _: Inputs) -> Any:
    return decode_check(reader.decode(body))


def _snapshot(body: bytes, _: Inputs) -> Any:
    snapshot = reader.decode_snapshot(reader.decode(body))
    return {"time": snapshot["time"], "names": [c["name"] for c in snapshot["components"]]}


def _blob(body: bytes, inputs: Inputs) -> Any:
    kind, compression, nonce = (int(inputs[key]) for key in ("kind", "compression", "nonce"))
    raw = int(inputs["raw_length"])
    id_ = bytes.fromhex(inputs["id"])
    entry = reader.Entry(id_, kind, compression, 0, nonce, 0, len(body), raw)
    return reader.open_blob(_keys(inputs), bytes.fromhex(inputs["pack_key"]), entry, body)


def _pack(body: bytes, inputs: Inputs) -> Any:
    keys = _keys(inputs)
    reader.need(blake3(body).hexdigest() == inputs["id"], "not what its name says")
    result = []
    for entry in reader.read_pack_directory(keys, body):
        key = reader.open_pack_key(keys, body, entry.key)
        stored = body[entry.offset : entry.offset + entry.stored]
        result.append([*entry, reader.open_blob(keys, key, entry, stored)])
    return result


def _doomed(body: bytes, _: Inputs) -> Any:
    return strict_doomed.decode_doomed(body)


DECODERS: dict[str, Callable[[bytes, Inputs], Any]] = {
    "derived-keys": _derived_keys,
    "associated-data": _associated_data,
    "recovery-key": _recovery_key,
    "blob-id": _blob_id,
    "chunk-digest": _chunk_digest,
    "digests-id": _digests_id,
    "config": _config,
    "key-slot": _key_slot,
    "sealed-object": _sealed_object,
    "blob": _blob,
    "pack": _pack,
    "index": _index,
    "extents": _extents,
    "paged-extents": _paged_extents,
    "digests": _digests,
    "content": _content,
    "tree": _tree,
    "snapshot": _snapshot,
    "doomed": _doomed,
    "check": _check,
}
