"""Reading all that a ChromaDB server holds, through Chroma's own client, in a process of its own.

Pages of a collection are of different moments if somebody writes meanwhile. So everything is read
twice, and taken as of one moment where both times gave the same.

Started as ``python -m snap.sources.chroma_export``; an `ExportRequest` comes as JSON on standard
input. A dot goes to standard output with every page, so that whoever waits can tell a slow server
from a dead one, and at the end a line with an `Export` as JSON.

What is written, for each collection, into ``DATABASE/COLLECTION/``: ``collection.json`` (name, id,
metadata, configuration, dimension), ``records.jsonl`` (id, document, metadata and uri of a record a
line) and ``vectors.f32`` (its vector: float32, little endian; in the order of the records).
"""

import contextlib
import json
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from blake3 import blake3

from snap.errors import SourceError
from snap.repo.tree import is_plain_name

DESCRIPTION, RECORDS, VECTORS = "collection.json", "records.jsonl", "vectors.f32"
_PAGE = 1000
_PAUSE_SECONDS = 0.5
_DEFAULT_TENANT = "default_tenant"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """``tries`` is how often everything is read, at least twice."""

    url: str
    target: str
    tenant: str = _DEFAULT_TENANT
    tries: int = 6


@dataclass(slots=True)
class Export:
    """What was read, or why nothing was (``error`` with a ``hint``)."""

    collections: list[dict[str, Any]] = field(default_factory=list)
    tries: int = 0
    is_quiet: bool = False
    error: str = ""
    hint: str = ""


class _Writer:
    """Writes a collection's files, and hashes them."""

    def __init__(self, folder: Path) -> None:
        self._hasher = blake3()
        folder.mkdir(parents=True)
        names = (DESCRIPTION, RECORDS, VECTORS)
        self._files = {name: (folder / name).open("wb") for name in names}

    def write(self, name: str, data: bytes) -> None:
        self._hasher.update(name.encode() + len(data).to_bytes(8, "little") + data)
        self._files[name].write(data)

    def close(self) -> bytes:
        for file in self._files.values():
            file.close()
        return self._hasher.digest()


class _Exporter:
    def __init__(self, request: ExportRequest) -> None:
        self._request = request
        self._target = Path(request.target)

    def run(self) -> Export:
        from chromadb.errors import ChromaError  # noqa: PLC0415 - the child process only

        export = Export()
        last = b""
        again = self._target.with_name("again")
        while not export.is_quiet and export.tries < max(2, self._request.tries):
            if export.tries > 1:
                time.sleep(_PAUSE_SECONDS)
            export.tries += 1
            shutil.rmtree(again, ignore_errors=True)
            try:
                digest, collections = self._read(again)
            except ChromaError:
                # What is deleted between a page and its vectors is an error of Chroma's.
                if export.tries >= self._request.tries and not last:
                    raise
                continue
            export.is_quiet = digest == last
            # This reading may be of one moment: if the next is equal, it is.
            shutil.rmtree(self._target, ignore_errors=True)
            again.rename(self._target)
            last, export.collections = digest, collections
        shutil.rmtree(again, ignore_errors=True)
        return export

    def _read(self, target: Path) -> tuple[bytes, list[dict[str, Any]]]:
        """Read everything once; return a digest of it and what the collections are."""
        target.mkdir()
        whole, found = blake3(), []
        for collection in self._collections():
            name, database = collection.name, collection.database
            if not is_plain_name(name.encode()) or not is_plain_name(database.encode()):
                raise SourceError(f"a collection has a name that no folder can have: {name!r}")
            writer = _Writer(target / database / name)
            try:
                facts = _describe(collection)
                line = json.dumps(facts, sort_keys=True, default=str).encode()
                writer.write(DESCRIPTION, line + b"\n")
                count = 0
                for record, vector in _records(collection):
                    line = json.dumps(record, sort_keys=True, ensure_ascii=False).encode()
                    writer.write(RECORDS, line + b"\n")
                    writer.write(VECTORS, struct.pack(f"<{len(vector)}f", *vector))
                    count += 1
            finally:
                digest = writer.close()
            whole.update(digest)
            found.append(facts | {"count": count})
        return whole.digest(), found

    def _collections(self) -> Iterator[Any]:
        import chromadb  # noqa: PLC0415 - the child process only
        from chromadb.config import Settings  # noqa: PLC0415 - the child process only

        place = urlsplit(self._request.url)
        port = place.port or (443 if place.scheme == "https" else 8000)
        settings = Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=place.hostname,
            chroma_server_http_port=port,
            chroma_server_ssl_enabled=place.scheme == "https",
            anonymized_telemetry=False,
        )
        databases = chromadb.AdminClient(settings).list_databases(tenant=self._request.tenant)
        for database in sorted(found["name"] for found in databases):
            client = chromadb.HttpClient(
                host=place.hostname or "",
                port=port,
                ssl=place.scheme == "https",
                settings=Settings(anonymized_telemetry=False),
                tenant=self._request.tenant,
                database=database,
            )
            collections: list[Any] = []
            while page := client.list_collections(limit=_PAGE, offset=len(collections)):
                collections += page
            yield from sorted(collections, key=lambda c: c.name)


def _describe(collection: Any) -> dict[str, Any]:
    return {
        "name": collection.name,
        "id": str(collection.id),
        "tenant": collection.tenant,
        "database": collection.database,
        "dimension": getattr(collection._model, "dimension", None),
        "metadata": collection.metadata,
        "settings": collection.configuration_json,
    }


def _records(collection: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    at = 0
    include = ["embeddings", "documents", "metadatas", "uris"]
    while True:
        page = collection.get(include=include, limit=_PAGE, offset=at)
        sys.stdout.write(".\n")
        sys.stdout.flush()
        ids = page["ids"]
        for number, id_ in enumerate(ids):
            record = {"id": id_}
            for key, column in (
                ("document", "documents"),
                ("metadata", "metadatas"),
                ("uri", "uris"),
            ):
                values = page[column]
                if values is not None and values[number] is not None:
                    record[key] = values[number]
            yield record, page["embeddings"][number]
        at += len(ids)
        if len(ids) < _PAGE:
            return


def export(request: ExportRequest) -> Export:
    """Read a server into ``request.target``, which is made; its siblings are ours as well.

    What goes wrong is in the result: whatever a server, or what answers in its place, makes of the
    client.
    """
    try:
        return _Exporter(request).run()
    except SourceError as error:
        return Export(error=f"{request.url}: {error}", hint=error.hint)
    except ImportError:
        return Export(
            error=f"{request.url}: Chroma's client is not installed here",
            hint="pip install 'snap-backup[chroma]', or back up the server's directory",
        )
    except Exception as error:
        return Export(
            error=f"{request.url}: {str(error).strip() or type(error).__name__}",
            hint="see whether the server runs there, and can be reached from here",
        )


def main() -> None:
    """Carry out the request on standard input."""
    request = ExportRequest(**json.loads(sys.stdin.read()))
    with contextlib.redirect_stderr(sys.stdout):
        found = export(request)
    sys.stdout.write("\n" + json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
