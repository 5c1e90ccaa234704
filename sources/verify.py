"""Proving that what was restored is what was backed up, by the numbers recorded at the time."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snap.errors import IntegrityError, SourceError

from .sqlite import examine


def verify_component(kind: str, folder: Path, statistics: Mapping[str, Any]) -> list[str]:
    """Prove a restored component; return what was proven, nothing for kinds without a proof.

    Raises:
        IntegrityError: it does not pass, or differs from what was recorded.
    """
    if kind == "sqlite":
        return _verify_sqlite(folder, statistics)
    if kind == "chroma":
        return _verify_chroma(folder, statistics)
    return []


def _verify_chroma(folder: Path, statistics: Mapping[str, Any]) -> list[str]:
    # Of all that a restore loads this would be a tenth.
    from .chroma_proof import require_proven  # noqa: PLC0415 - as said

    proof = require_proven(folder)
    recorded = {c["id"]: c["count"] for c in statistics.get("collections", ())}
    if proof.counts != recorded:
        raise IntegrityError(
            f"{folder}: its collections do not have the records that were recorded",
            "restore an earlier snapshot",
        )
    vectors = sum(len(index.ids) for index in proof.indexes.values())
    return [
        "integrity check ok",
        f"{len(recorded)} {'collection' if len(recorded) == 1 else 'collections'} with "
        f"{sum(recorded.values())} records, as recorded at the backup; every one has its "
        f"vector, {vectors} of them in the index",
    ]


def _verify_sqlite(folder: Path, statistics: Mapping[str, Any]) -> list[str]:
    path = folder / str(statistics.get("file", folder.name))
    if not path.is_file():
        raise IntegrityError(f"{path}: the restored database is not there")
    try:
        found = examine(path).statistics
    except (SourceError, sqlite3.Error) as error:
        raise IntegrityError(f"{path}: {error}", "restore an earlier snapshot") from error
    for key in ("page_size", "page_count", "user_version", "application_id", "encoding", "tables"):
        if key in statistics and found.get(key) != statistics[key]:
            raise IntegrityError(
                f"{path}: {key} is {found.get(key)!r}, recorded was {statistics[key]!r}",
                "restore an earlier snapshot",
            )
    tables = found["tables"]
    rows = sum(tables.values())
    return [
        "integrity check ok",
        f"{len(tables)} {'table' if len(tables) == 1 else 'tables'} with {rows} rows, "
        "as recorded at the backup",
    ]
