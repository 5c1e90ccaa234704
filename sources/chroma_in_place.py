"""A ChromaDB persist directory where it lives."""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from snap.errors import TargetError
from snap.repo.source import Source

from .chroma import ChromaSource
from .chroma_index import FILES
from .chroma_open import (
    installed_version,
    is_installed,
    prove_by_opening,
    require_not_older,
)
from .chroma_proof import open_copy, require_proven
from .chroma_store import DATABASE, read_store
from .files import FilesSource
from .folder_in_place import FolderExchange
from .verify import verify_component


class ChromaPlace(FolderExchange):
    """One persist directory, exchanged as a whole: no journal of the old one meets the new one.

    A program that embeds Chroma, and a server, keep its files open as long as they run, so `users`
    finds them also when they are idle. ``statistics`` are those that were recorded with what is to
    be put here.
    """

    def __init__(self, path: Path, statistics: Mapping[str, Any]) -> None:
        super().__init__(path)
        self._statistics = statistics

    def sources(self, name: str, spool_dir: Path) -> list[Source]:
        """Return the directory as a source."""
        return [ChromaSource(self.path, spool_dir=spool_dir, name=name)]

    def plain_files(self, name: str) -> list[Source]:
        """Return all that lies in it."""
        return [FilesSource(self.path, name=name)]

    def settle(self) -> None:
        """Leave it as it is: it is moved away with all that lies beside its database."""

    def prove_staged(self, folder: Path) -> list[str]:
        """Prove the new files, and open a copy of them with Chroma where there is one."""
        proofs = verify_component("chroma", folder, self._statistics)
        if not is_installed():
            return [
                *proofs,
                "not opened with Chroma, which is not installed here: pip install "
                "'snap-backup[chroma]'",
            ]
        with closing(open_copy(folder / DATABASE)) as db:
            require_not_older(read_store(db).version, installed_version())
        collections = self._statistics.get("collections", ())
        scratch = folder.parent / "opened"
        return [*proofs, prove_by_opening(folder, scratch, collections)]

    def prove(self) -> list[str]:
        """Prove the files in their place, and that their program may write to all of them."""
        found = require_proven(self.path)
        self._require_writable()
        records = sum(found.counts.values())
        return [f"in its place, with all {records} records, and all files are its owner's"]

    def _require_writable(self) -> None:
        """Refuse files of which a program could write some and not others.

        Chroma says nothing when it cannot write its vectors, and forgets them at its next start.
        """
        paths = [self.path, self.path / DATABASE]
        paths += [path for name in FILES for path in self.path.glob(f"*/{name}")]
        paths += [path for path in self.path.iterdir() if path.is_dir()]
        states = {(found.st_uid, bool(found.st_mode & 0o200)) for found in map(os.stat, paths)}
        if len(states) > 1:
            raise TargetError(
                f"{self.path}: some of its files could be written by its program and some not",
                "restore it as root, so that every file gets the owner that it had",
            )
