"""Opening a copy of a ChromaDB directory with Chroma itself, as its programs will.

In a process of its own with bounded memory and time: Chroma crashes, hangs or eats memory on files
that are torn. Only ever a copy: opening writes, and a newer version changes the directory for good.
Started as ``python -m snap.sources.chroma_open FOLDER``; prints an `Opened` as JSON.
"""

import importlib.metadata
import importlib.util
import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snap.errors import IntegrityError, TargetError

from .chroma_proof import open_copy
from .chroma_store import DATABASE, read_store

_PAGE = 2000
_SAMPLES = 20
_MEMORY_BYTES = 16 << 30
_SECONDS = 1800
_FOUND_SHARE = 0.85
"""Of the samples, so many have to be their own nearest: the index is approximate, 0.95 to 0.99 is
usual, and files of another moment have 0.4 to 0.9."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What Chroma says of one collection: counted, given with a vector, and found by its own."""

    count: int
    given: int
    asked: int
    found: int


def is_installed() -> bool:
    """Return whether there is a Chroma to open it with."""
    return importlib.util.find_spec("chromadb") is not None


def require_not_older(made_by: str, installed: str) -> None:
    """Refuse a Chroma that cannot open what a newer one made; opening never migrates back.

    ``made_by`` is what `Store.version` says. That of 0.6 is also the late 0.5's, so what is
    between them is left to the opening itself.

    Raises:
        TargetError: it is older.
    """
    first = {"0.5": (0, 5), "0.6": (0, 5), "1.x": (1,)}.get(made_by, (0,))
    release = tuple(int(part) for part in re.findall(r"\d+", installed)[:2])
    if release < first:
        raise TargetError(
            f"this directory is of ChromaDB {made_by}, and {installed} is installed beside snap: "
            "an older one cannot open it; nothing was changed",
            "install there the version that the directory's programs use",
        )


def installed_version() -> str:
    """Return which Chroma there is; only where `is_installed`."""
    return importlib.metadata.version("chromadb")


def prove_by_opening(folder: Path, scratch: Path, collections: Sequence[Mapping[str, Any]]) -> str:
    """Copy a directory to ``scratch``, open that, and compare with what was recorded.

    Every record is asked for with its vector, and some vectors for what is nearest to them. Returns
    what was proven.

    Raises:
        IntegrityError: Chroma does not open it, or gives something else.
    """
    shutil.copytree(folder, scratch)
    try:
        opened = _open(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for recorded in collections:
        name, count = recorded["name"], recorded["count"]
        found = opened.get(recorded["id"])
        if found is None:
            raise _differs(folder, f"collection {name} is not there")
        if (found.count, found.given) != (count, count):
            raise _differs(
                folder, f"collection {name} gives {found.given} of {count} records with a vector"
            )
        # By the inner product something else may well be nearer than a vector itself.
        if recorded["space"] != "ip" and found.found < _FOUND_SHARE * found.asked:
            raise _differs(
                folder, f"{found.asked - found.found} of {found.asked} vectors are not found"
            )
    return f"Chroma {installed_version()} opens a copy and gives every record with its vector"


def _differs(folder: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"{folder}: opened with Chroma {installed_version()}, {what}",
        "restore an earlier snapshot, or with the version of Chroma that its programs use",
    )


def _open(scratch: Path, folder: Path) -> dict[str, Opened]:
    command = [sys.executable, "-P", "-m", "snap.sources.chroma_open", str(scratch)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=None
        )
    except subprocess.TimeoutExpired as error:
        raise _differs(folder, f"it does not answer in {_SECONDS} seconds") from error
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2] or f"it died of {-done.returncode}"
        raise _differs(folder, last)
    return {id_: Opened(**found) for id_, found in json.loads(done.stdout).items()}


def _collections(folder: str) -> Iterator[Any]:
    import chromadb  # noqa: PLC0415 - the child process only
    from chromadb.config import Settings  # noqa: PLC0415 - the child process only

    settings = Settings(anonymized_telemetry=False)
    db = open_copy(Path(folder) / DATABASE)
    try:
        places = {(c.tenant, c.database) for c in read_store(db).collections}
    finally:
        db.close()
    for tenant, database in sorted(places):
        named = {"tenant": tenant, "database": database} if tenant else {}
        client = chromadb.PersistentClient(folder, settings=settings, **named)
        yield from client.list_collections()


def _look(collection: Any) -> Opened:
    count = collection.count()
    given = asked = found = 0
    for at in range(0, count, _PAGE):
        page = collection.get(include=["embeddings"], limit=_PAGE, offset=at)
        ids, vectors = page["ids"], page["embeddings"]
        given += sum(vector is not None and len(vector) > 0 for vector in vectors)
        if asked < _SAMPLES and len(ids):
            chosen = range(0, len(ids), max(1, len(ids) // _SAMPLES))
            answers = collection.query(
                query_embeddings=[vectors[n] for n in chosen], n_results=1, include=[]
            )
            asked += len(chosen)
            nearest = zip(answers["ids"], chosen, strict=True)
            found += sum(list(got) == [ids[n]] for got, n in nearest)
    return Opened(count, given, asked, found)


def main() -> None:
    """Open the directory that the argument names, and print what it gives."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    opened = {}
    for collection in _collections(sys.argv[1]):
        found = _look(collection)
        opened[str(collection.id)] = {
            "count": found.count,
            "given": found.given,
            "asked": found.asked,
            "found": found.found,
        }
    sys.stdout.write(json.dumps(opened))


if __name__ == "__main__":
    main()
