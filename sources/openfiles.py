"""Files that are written in pieces, in no order and by several threads, with few of them open."""

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_LIMIT = 64
"""Of the 1024 descriptors that a process usually has, and the 256 of macOS."""


@dataclass(slots=True)
class _OpenFile:
    descriptor: int
    users: int = 0


class OpenFiles:
    """Keeps the files open that were used last. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[bytes, _OpenFile] = OrderedDict()

    @contextlib.contextmanager
    def use(self, path: bytes) -> Iterator[int]:
        """Give a file's descriptor for a while; the file is made if it is missing.

        Raises:
            OSError: it cannot be opened, or made.
        """
        with self._lock:
            file = self._files.get(path)
            if file is None:
                self._close_unused()
                file = self._files[path] = _OpenFile(os.open(path, _FLAGS, 0o600))
            else:
                self._files.move_to_end(path)
            file.users += 1
        try:
            yield file.descriptor
        finally:
            with self._lock:
                file.users -= 1

    def _close_unused(self) -> None:
        for path in list(self._files) if len(self._files) >= _OPEN_LIMIT else ():
            if not self._files[path].users:
                os.close(self._files.pop(path).descriptor)
                break

    def close(self, path: bytes) -> None:
        """Close a file that nobody uses any more, if it is open.

        Raises:
            OSError: what was written could not be kept: some disks tell it only now.
        """
        with self._lock:
            file = self._files.pop(path, None)
        if file is not None:
            os.close(file.descriptor)

    def close_all(self) -> None:
        """Close all files."""
        with self._lock:
            while self._files:
                _, file = self._files.popitem()
                with contextlib.suppress(OSError):
                    os.close(file.descriptor)
