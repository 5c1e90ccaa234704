"""Decode a vector with the product's own decoders."""

from collections.abc import Callable, Mapping
from typing import Any

from snap.errors import IntegrityError
from snap.repo import codec
from snap.repo.check_object import decode_check, each_row, time_of
from snap.repo.codec import DecodeError
from snap.repo.config import FormatTooNew, check_config, decode_config
from snap.repo.crypto import DataPrivateKey, DataPublicKey, Keys, associated_data, derive
from snap.repo.digests import decode_digests
from snap.repo.doomed import decode_doomed
from snap.repo.envelope import open_object
from snap.repo.extents import (
    Paging,
    UnknownLayout,
    decode_content,
    decode_extents,
    decode_table,
    require_layout,
)
from snap.repo.ids import NO_ID, BlobId, Kind, ObjectId, object_id
from snap.repo.index import split_index
from snap.repo.keys import WrongPassword, open_slot, parse_recovery_key, parse_slot
from snap.repo.pack import PackEntry, open_blob, open_pack_key, read_directory
from snap.repo.snapshot import decode_snapshot
from snap.repo.tree import decode_tree
from tests.spec.by_reader import as_json

Inputs = Mapping[str, str]


def verdict(structure: str, body: bytes, inputs: Inputs) -> tuple[str, Any]:
    try:
        return "success", as_json(DECODERS[structure](body, inputs))
    except WrongPassword:
        return "wrong password", None
    except (FormatTooNew, UnknownLayout):
        return "too new", None
    except (DecodeError, IntegrityError):
        return "refused", None


def _keys(inputs: Inputs) -> Keys:
    private = DataPrivateKey(bytes.fromhex(inputs.get("data_private", "")))
    return Keys(
        bytes.fromhex(inputs.get("repository_id", "00" * 16)),
        bytes.fromhex(inputs["metadata_secret"]),
        DataPublicKey(b""),
        private if private.raw else None,
    )


def _derived_keys(_: bytes, inputs: Inputs) -> Any:
    secret = bytes.fromhex(inputs["metadata_secret"])
    purposes = ("blob id", "object", "meta pack", "pack directory", "config")
    keys: dict[str, Any] = {purpose: derive(purpose, secret) for purpose in purposes}
    return {**keys, "chunker seed": _keys(inputs).chunker_seed}


def _associated_data(_: bytes, inputs: Inputs) -> Any:
    repository_id, id_ = bytes.fromhex(inputs["repository_id"]), bytes.fromhex(inputs["id"])
    return associated_data(repository_id, int(inputs["kind"]), id_)


def _recovery_key(body: bytes, _: Inputs) -> Any:
    key = parse_recovery_key(body.decode())
    if key is None:
        raise DecodeError("not a recovery key")
    return key


def _blob_id(body: bytes, inputs: Inputs) -> Any:
    return _keys(inputs).blob_id(int(inputs["kind"]), body)


def _chunk_digest(body: bytes, inputs: Inputs) -> Any:
    return _keys(inputs).chunk_digest(body)


def _digests_id(_: bytes, inputs: Inputs) -> Any:
    return _keys(inputs).digests_id(BlobId(bytes.fromhex(inputs["id"])), int(inputs["unit"]))


def _config(body: bytes, inputs: Inputs) -> Any:
    config = decode_config(body)
    check_config(body, _keys(inputs).config_key)
    return {"repository_id": config.repository_id, "instance_id": config.instance_id}


def _key_slot(body: bytes, inputs: Inputs) -> Any:
    sealed = parse_slot(body)
    keys = open_slot(sealed, inputs["credential"], bytes.fromhex(inputs["repository_id"]))
    if keys is None:
        raise WrongPassword("does not fit")
    private = keys.private.raw if keys.private is not None else None
    secrets = {"metadata_secret": keys.metadata_secret, "data_private": private}
    return {"capability": str(sealed.slot.capability), **secrets}


def _sealed_object(body: bytes, inputs: Inputs) -> Any:
    id_ = bytes.fromhex(inputs["id"])
    return open_object(_keys(inputs), Kind(int(inputs["kind"])), body, id_)


def _index(body: bytes, _: Inputs) -> Any:
    packs = [pack.summary() for pack in split_index(codec.decode(body))]
    return [[p.id, p.kind, p.size_bytes, [tuple(e) for e in p.entries]] for p in packs]


def _tree(body: bytes, _: Inputs) -> Any:
    return [
        [n.name, str(n.type), n.attributes.mode, n.attributes.mtime_ns] for n in decode_tree(body)
    ]


def _content(body: bytes, _: Inputs) -> Any:
    content = decode_content(codec.decode(body))
    require_layout(content, "file")
    sizes: dict[str, Any] = {"layout": content.layout, "size": content.size_bytes}
    if content.columns:
        return {**sizes, "widths": content.widths}
    if content.paging is None:
        return sizes
    return {**sizes, "page": content.paging.page_bytes, "region": content.paging.region_bytes}


def _extents(body: bytes, _: Inputs) -> Any:
    return [tuple(extent) for extent in decode_extents(codec.decode(body))]


def _paged_extents(body: bytes, inputs: Inputs) -> Any:
    length, page, region = (int(inputs[key]) for key in ("length", "page", "region"))
    table = decode_table(codec.decode(body), length, Paging(page, region))
    return {"extents": [tuple(e) for e in table.extents], "regions": table.regions}


def _digests(body: bytes, _: Inputs) -> Any:
    digests = decode_digests(body)
    return [[length, digests.digest(n)] for n, length in enumerate(digests.lengths)]


def _check(body: bytes, _: Inputs) -> Any:
    found = decode_check(codec.decode(body))
    packs = [(row[:32], time_of(row), row[-1]) for row in each_row(found.rows)]
    head = {"time": found.time_ns, "errors": found.errors, "replaces": sorted(found.replaces)}
    return {**head, "packs": packs}


def _snapshot(body: bytes, _: Inputs) -> Any:
    snapshot = decode_snapshot(codec.decode(body), ObjectId(NO_ID))
    return {"time": snapshot.time_ns, "names": [c.name for c in snapshot.components]}


def _blob(body: bytes, inputs: Inputs) -> Any:
    kind, compression, nonce = (int(inputs[key]) for key in ("kind", "compression", "nonce"))
    raw = int(inputs["raw_length"])
    id_ = BlobId(bytes.fromhex(inputs["id"]))
    entry = PackEntry(id_, kind, compression, 0, nonce, 0, len(body), raw)
    return open_blob(_keys(inputs), bytes.fromhex(inputs["pack_key"]), entry, body)


def _pack(body: bytes, inputs: Inputs) -> Any:
    keys = _keys(inputs)
    if object_id(body).hex() != inputs["id"]:
        raise IntegrityError("not what its name says")
    header, entries = read_directory(
        keys, len(body), lambda offset, length: body[offset : offset + length]
    )
    result = []
    for entry in entries:
        key = open_pack_key(keys, header, entry.key)
        stored = body[entry.offset : entry.offset + entry.stored_length]
        result.append([*entry, open_blob(keys, key, entry, stored)])
    return result


def _doomed(body: bytes, _: Inputs) -> Any:
    doomed = decode_doomed(codec.decode(body))
    return {
        "time": doomed.time_ns,
        "packs": [[id_, *pack] for id_, pack in doomed.packs.items()],
        "leases": None if doomed.leases is None else sorted(doomed.leases),
        "snapshots": sorted(doomed.snapshots),
        "replaces": sorted(doomed.replaces),
    }


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
