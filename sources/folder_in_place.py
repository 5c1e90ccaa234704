"""A folder where it lives, exchanged as a whole: what lies in it never meets what was in it."""

import os
from pathlib import Path

from .exchange import CannotExchange, exchange, put_in_place
from .holders import Identity, files_below, find_holders, identities


class FolderExchange:
    """Exchanges a live folder with a staged one.

    Who has one of the old files open keeps it; `users` finds those before and after.
    """

    def __init__(self, path: Path) -> None:
        # The link, if it is one, stays; what it leads to is replaced.
        self.path = Path(os.path.realpath(path))
        self._replaced: set[Identity] = set()
        self._was_there = False

    def users(self) -> list[str]:
        """Return the processes that have something of it open, or of what was replaced."""
        wanted = identities(files_below(self.path)) | self._replaced
        return [str(holder) for holder in find_holders(wanted)]

    def fingerprint(self) -> object:
        """Return names, identities, sizes and times of all that is in it; None if it is missing."""
        if not self.path.is_dir():
            return None
        found = []
        for path in sorted(files_below(self.path)):
            status = os.lstat(path)
            found.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)

    def swap(self, folder: Path) -> None:
        """Exchange the two.

        Where the file system cannot do that at once, the old one is moved away first: killed in
        between, it lies in ``folder.parent / "old"``.
        """
        self._was_there = self.path.is_dir()
        self._replaced = identities(files_below(self.path))
        if not self._was_there:
            put_in_place(folder, self.path)
            return
        try:
            exchange(folder, self.path)
        except CannotExchange:
            aside = folder.parent / "old"
            os.rename(self.path, aside)
            try:
                os.rename(folder, self.path)
            except BaseException:
                os.rename(aside, self.path)
                raise
            os.rename(aside, folder)

    def put_back(self, folder: Path) -> None:
        """Undo `swap`."""
        if not self._was_there:
            put_in_place(self.path, folder)
            return
        try:
            exchange(folder, self.path)
        except CannotExchange:
            aside = folder.parent / "unproven"
            os.rename(self.path, aside)
            os.rename(folder, self.path)
