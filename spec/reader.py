"""Read a snap repository without snap: written from spec/FORMAT.md alone, sharing no code with it.

    SNAP_PASSWORD=... python spec/reader.py REPO list | restore SNAPSHOT|latest TARGET

Takes a recovery key as well. Exits with 1, or 10 no repository, 12 wrong passphrase, 13 too new.
"""

import base64
import contextlib
import hmac
import json
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgpack
import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

DATA, TREE, EXTENTS, INDEX, SNAPSHOT, KEY_SLOT = 1, 2, 3, 17, 18, 32
BLOB_LIMIT, BODY_LIMIT, HOLE = 64 << 20, 1 << 30, 0xFFFFFFFF
SURPRISES = (KeyError, TypeError, ValueError, IndexError, struct.error, ArithmeticError, InvalidTag,
             zstandard.ZstdError, msgpack.UnpackException, RecursionError)  # fmt: skip


class Error(Exception):
    """The one error: a line for people, and the exit code."""


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    try:
        yield
    except SURPRISES as error:
        raise Error(f"{what}: damaged ({type(error).__name__}: {error})", 1) from error


def need(condition: object, message: str, code: int = 1) -> None:
    if not condition:
        raise Error(message, code)


def derive(purpose: str, secret: bytes) -> bytes:  # §3.2
    return blake3(secret, derive_key_context="snap-backup 2026-11-23 v1 " + purpose).digest()


def keyed(key: bytes, message: bytes) -> bytes:
    return blake3(message, key=key).digest()


def associated_data(repository_id: bytes, kind: int, id_: bytes) -> bytes:  # §4.1
    return b"SNAP" + bytes((1, kind)) + repository_id + id_


def expand(compression: int, body: bytes, limit: int) -> bytes:
    need(compression in (0, 1), f"unknown compression {compression}")
    size = zstandard.frame_content_size(body) if compression else len(body)
    need(0 <= size <= limit, "larger than the format allows, or of unknown size")
    if not compression:
        return body
    return zstandard.ZstdDecompressor().decompress(body, allow_extra_data=False)


def decode(data: bytes) -> dict[str, Any]:
    value: dict[str, Any] = msgpack.unpackb(data)
    need(isinstance(value, dict), "not a map")
    return value


def column(table: dict[str, Any], key: str, code: str) -> tuple[int, ...]:
    return tuple(number for (number,) in struct.iter_unpack("<" + code, table[key]))


def split(joined: bytes) -> list[bytes]:
    need(len(joined) % 32 == 0, "a list of ids has a wrong length")
    return [joined[i : i + 32] for i in range(0, len(joined), 32)]


def parse_recovery_key(text: str) -> bytes | None:  # §3.4
    raw = b""
    with contextlib.suppress(ValueError):
        raw = base64.b32decode("".join(text.split()).replace("-", "").upper())
    return raw[:32] if len(raw) == 35 and blake3(raw[:32]).digest()[:3] == raw[32:] else None


def open_slot(stored: bytes, credential: str, repository_id: bytes) -> dict[str, Any] | None:
    need(stored[:9] == b"SNAPKEY\0\1", "not a key slot of version 1")
    end = 11 + int.from_bytes(stored[9:11], "little")
    header, rest, recovery = stored[11:end], stored[end:], parse_recovery_key(credential)
    kdf = (fields := decode(header))["kdf"]
    if (fields["kind"] == "recovery") != (recovery is not None):
        return None
    if recovery is not None:
        kek = keyed(recovery, kdf["salt"])
    else:
        m, t, p = (kdf[key] for key in ("memory_kib", "iterations", "lanes"))
        costs = 19456 <= m <= 4194304 and 2 <= t <= 1000 and 1 <= p <= 64
        need(costs and kdf["name"] == "argon2id", "a key derivation that is refused")
        argon = Argon2id(salt=kdf["salt"], length=32, iterations=t, lanes=p, memory_cost=m)
        kek = argon.derive(credential.encode("utf-8", "surrogateescape"))
    if not hmac.compare_digest(derive("slot commitment", kek), rest[:32]):
        return None
    aad = associated_data(repository_id, KEY_SLOT, blake3(header).digest())
    return decode(AESGCM(derive("slot encryption", kek)).decrypt(rest[32:44], rest[44:], aad))


class Repository:  # §14
    def __init__(self, folder: Path, credential: str) -> None:
        self.folder = folder
        need((folder / "config").is_file(), f"no repository at {folder}", 10)
        with reading("config"):
            line, _, check = (folder / "config").read_bytes().partition(b"\n")
            fields = json.loads(line)
            old = fields["snap_repository"] == 1 and not fields["features"]
            need(old, "written by a later version", 13)
            self.id = bytes.fromhex(fields["repository_id"])
        self.secrets = self.unlock(credential)
        self.secret: bytes = self.secrets["metadata_secret"]
        mac = keyed(derive("config", self.secret), line).hex().encode() + b"\n"
        need(hmac.compare_digest(mac, check), "config: damaged: its check line does not fit")
        self.places: dict[bytes, list[Any]] = {}
        for name in self.names("index"):
            with reading(name):
                self.add_index(self.open_object(name, INDEX))

    def names(self, prefix: str) -> list[str]:
        return sorted(f"{prefix}/{p.name}" for p in (self.folder / prefix).glob("[0-9a-f]" * 64))

    def get(self, name: str) -> bytes:
        stored = (self.folder / name).read_bytes()
        need(blake3(stored).hexdigest() == name[-64:], f"{name}: damaged: not what its name says")
        return stored

    def unlock(self, credential: str) -> dict[str, Any]:
        for name in self.names("keys"):
            with contextlib.suppress(Error), reading(name):
                if secrets := open_slot(self.get(name), credential, self.id):
                    return secrets
        raise Error("wrong passphrase: no key slot opens with it", 12)

    def open_object(self, name: str, kind: int) -> dict[str, Any]:
        stored = self.get(name)
        need(stored[:12] == b"SNAPOBJ\0" + bytes((1, kind, 0, 0)), f"{name}: not of its kind")
        key = keyed(derive("object", self.secret), bytes((kind,)) + stored[12:44])
        aad = associated_data(self.id, kind, bytes(32))
        payload = AESGCM(key).decrypt(bytes(12), stored[44:], aad)
        return decode(expand(payload[0], payload[1:], BODY_LIMIT))

    def add_index(self, body: dict[str, Any]) -> None:
        packs, blobs = body["packs"], body["blobs"]
        owners: list[str] = []
        rows = split(packs["id"]), packs["kind"], column(packs, "blobs", "I")
        for id_, kind, count in zip(*rows, strict=True):
            owners += [f"{('', 'data', 'meta')[kind]}/{id_.hex()[:2]}/{id_.hex()}"] * count
        numbers = [column(blobs, key, "I") for key in ("nonce", "offset", "stored", "raw")]
        columns = (owners, blobs["kind"], blobs["compression"], column(blobs, "key", "H"), *numbers)
        places = zip(split(blobs["id"]), *columns, strict=True)
        self.places |= {id_: place for id_, *place in places}

    def pack_key(self, pack: str, number: int) -> bytes:  # §7.1
        length = 1168 if pack.startswith("data") else 32
        with (self.folder / pack).open("rb") as file:
            start = file.read(12)
            has = start[:9] == b"SNAPPACK\1" and number < int.from_bytes(start[10:12], "little")
            need(has, "not a pack with such a key")
            file.seek(12 + number * length)
            sealed = file.read(length)
        if length == 32:
            return keyed(derive("meta pack", self.secret), sealed)
        private = self.secrets.get("data_private", b"")
        need(private, "a writer key reads no file content")
        kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:64])
        curve = x25519.X25519PrivateKey.from_private_bytes(private[64:])
        pair = hpke.MLKEM768X25519PrivateKey(kem, curve)
        suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        return suite.decrypt(sealed, pair, info=b"snap-backup v1 pack key" + self.id)

    def blob(self, id_: bytes, kind: int) -> bytes:  # §6
        need(id_ in self.places, f"blob {id_.hex()} is in no index object")
        pack, its_kind, compression, number, nonce, offset, length, raw = self.places[id_]
        with reading(f"{pack}: blob {id_.hex()}"):
            need(its_kind == kind, f"blob {id_.hex()} is of another kind")
            with (self.folder / pack).open("rb") as file:
                file.seek(offset)
                stored = file.read(length)
            cipher, aad = AESGCM(self.pack_key(pack, number)), associated_data(self.id, kind, id_)
            body = cipher.decrypt(nonce.to_bytes(12, "little"), stored, aad)
            plain = expand(compression, body, min(raw, BLOB_LIMIT))
            need(keyed(derive("blob id", self.secret), bytes((kind,)) + plain) == id_, "a wrong id")
        return plain

    def nodes(self, subtree: bytes) -> Iterator[dict[str, Any]]:
        last = b""
        for id_ in split(subtree):
            for node in decode(self.blob(id_, TREE))["nodes"]:
                name = node["name"]
                plain = name not in (b".", b"..") and b"/" not in name and b"\0" not in name
                need(plain and name > last, f"a name that cannot be, or out of order: {name!r}")
                last = name
                yield node

    def write(self, content: dict[str, Any], file: IO[bytes]) -> None:  # §9.3 to §9.5
        if (layout := content["layout"]) == "records":
            return self.write_records(content, content["widths"], file)
        need(layout in ("blobs", "pages", "stream"), f"unknown layout {layout!r}", 13)
        tables = [content.get("extents", {})]
        if "lists" in content:
            tables = [decode(self.blob(id_, EXTENTS)) for id_ in split(content["lists"]["id"])]
        total = sum(sum(column(table, "length", "Q")) for table in tables)
        need(total == content["size"], "extents do not add up")
        for table in tables:
            blobs, codes = split(table["blobs"]), {"index": "I", "offset": "I", "length": "Q"}
            extents = zip(*(column(table, *pair) for pair in codes.items()), strict=True)
            for index, offset, length in extents:
                part = b"" if index == HOLE else self.blob(blobs[index], DATA)[offset:][:length]
                need(index == HOLE or len(part) == length, "an extent reaches beyond its blob")
                file.seek(length if index == HOLE else 0, os.SEEK_CUR)
                file.write(part)
        file.truncate(content["size"])

    def write_records(self, content: dict[str, Any], widths: list[int], out: IO[bytes]) -> None:
        with contextlib.ExitStack() as stack:  # §9.7
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in widths]
            for column, file in zip(content["columns"], files, strict=True):
                self.write(column, file)
                file.seek(0)
            for _ in range(content["size"] // sum(widths)):
                for width, file in zip(widths, files, strict=True):
                    out.write(file.read(width))
            out.write(files[-1].read())
        need(out.tell() == content["size"], "columns do not fit their records")

    def restore(self, subtree: bytes, folder: bytes, names: dict[Any, bytes]) -> None:  # §9.2
        os.makedirs(folder)
        for node in self.nodes(subtree):
            path, kind = os.path.join(folder, node["name"]), node["type"]
            link = node.get("links", 1) > 1 and (node["device"], node["inode"])
            if kind == "dir":
                self.restore(node["subtree"], path, names)
            elif kind == "symlink":
                os.symlink(node["target"], path)
            elif kind == "fifo":
                os.mkfifo(path)
            elif link and link in names:
                os.link(names[link], path)
            elif kind == "file":
                with contextlib.ExitStack() as undo, open(path, "xb") as file:
                    undo.callback(os.unlink, path)  # nothing of a file that is not whole
                    self.write(node["content"], file)
                    undo.pop_all()
                names[link] = path
            else:
                print(f"left out: {path!r} is a {kind}", file=sys.stderr)
                continue
            for name, value in node.get("xattrs", []):
                with contextlib.suppress(OSError):  # not everybody may set every one
                    os.setxattr(path, name, value, follow_symlinks=False)
            if kind != "symlink":
                os.chmod(path, node["mode"])
            os.utime(path, ns=(node["mtime"], node["mtime"]), follow_symlinks=False)


def main() -> None:
    need(len(sys.argv) in (3, 5) and sys.argv[2] in ("list", "restore"), f"usage: {__doc__}", 2)
    folder, verb, selector, target = [*sys.argv[1:], "latest", ""][:4]
    sys.setrecursionlimit(20_000)  # trees may be 4,096 levels deep
    repository = Repository(Path(folder), os.environ.get("SNAP_PASSWORD", ""))
    with reading("snapshots"):
        names = repository.names("snapshots")
        found = {name[-64:]: repository.open_object(name, SNAPSHOT) for name in names}
        order = sorted(found, key=lambda id_: (found[id_]["time"], id_))
        if verb == "list":
            for id_ in order:
                print(id_, found[id_]["time"], *(c["name"] for c in found[id_]["components"]))
            return
        chosen = [i for i in order if selector == "latest" or i.startswith(selector)][-1:]
        need(chosen and target, "no such snapshot, or no target", 1)
        for component in found[chosen[0]]["components"]:
            name = component["name"]
            need("/" not in name and name not in ("", ".", ".."), "a component with a hostile name")
            if "subtree" in component:
                repository.restore(component["subtree"], os.fsencode(Path(target) / name), {})


if __name__ == "__main__":
    try:
        main()
    except (Error, OSError) as failure:
        message, code = failure.args if isinstance(failure, Error) else (failure, 1)
        print(f"reader: error: {message}", file=sys.stderr)
        sys.exit(code)
