"""Noticing, in a tree of files, what another source would back up better."""

import os

SQLITE_MAGIC = b"SQLite format 3\0"
_COMPRESSED = {
    b"\x1f\x8b": (b".gz", b".tgz"),
    b"\x28\xb5\x2f\xfd": (b".zst", b".zstd"),
    b"\xfd7zXZ\0": (b".xz",),
    b"BZh": (b".bz2",),
}
_DUMP_WORDS = (b".sql", b".dump", b"dump", b"backup")
_NAMED = 5
"""So many paths are named in one warning; the rest is counted."""


class Inspector:
    """Looks at the first bytes of files; keeps a few paths of each kind, however large the tree."""

    def __init__(self) -> None:
        self._databases: list[bytes] = []
        self._dumps: list[bytes] = []
        self._database_count = 0
        self._dump_count = 0

    def look(self, path: bytes, start: bytes) -> None:
        """Note a file by its path and its first 16 bytes."""
        if start == SQLITE_MAGIC:
            self._database_count += 1
            if len(self._databases) < _NAMED:
                self._databases.append(path)
        elif _is_compressed_dump(path, start):
            self._dump_count += 1
            if len(self._dumps) < _NAMED:
                self._dumps.append(path)

    def warnings(self) -> list[str]:
        """Return what the user should know."""
        found = []
        if self._database_count:
            found.append(
                f"{_listed(self._databases, self._database_count)}: a SQLite database that is "
                "written to cannot be copied consistently as a file; back it up as "
                f"sqlite:{os.fsdecode(self._databases[0])}"
            )
        if self._dump_count:
            found.append(
                f"{_listed(self._dumps, self._dump_count)}: a compressed dump changes as a whole "
                "from day to day and cannot be deduplicated; back up the raw dump instead "
                "(--command), it is compressed anyway"
            )
        return found


def _listed(paths: list[bytes], count: int) -> str:
    names = ", ".join(os.fsdecode(path) for path in paths)
    return names if count == len(paths) else f"{names} and {count - len(paths)} more"


def _is_compressed_dump(path: bytes, start: bytes) -> bool:
    name = os.path.basename(path).lower()
    return any(
        start.startswith(magic) and name.endswith(endings) and any(w in name for w in _DUMP_WORDS)
        for magic, endings in _COMPRESSED.items()
    )
