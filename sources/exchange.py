"""Putting a file or folder where another one is, so that at every moment one of them is there."""

import ctypes
import errno
import os
from pathlib import Path

from .sync import sync_folder

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
"""renameat2(2), Linux 3.15."""
_NOT_SUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


class CannotExchange(OSError):
    """This system or file system cannot exchange two names at once."""


def exchange(first: Path, second: Path) -> None:
    """Give each of two files or folders of one file system the other's name, at once.

    Raises:
        CannotExchange: that is not possible here; nothing was done.
        OSError: one is not there, or they are on different file systems.
    """
    _rename(first, second, _RENAME_EXCHANGE)
    _sync_folders(first, second)


def put_in_place(staged: Path, live: Path) -> None:
    """Give a file or folder a name that nothing has; durable on return.

    Raises:
        FileExistsError: something has it.
        OSError: it cannot be renamed.
    """
    try:
        _rename(staged, live, _RENAME_NOREPLACE)
    except CannotExchange:
        if os.path.lexists(live):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(live)) from None
        os.rename(staged, live)
    _sync_folders(staged, live)


def _rename(source: Path, target: Path, flags: int) -> None:
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError) as error:
        raise CannotExchange(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    if renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return
    code = ctypes.get_errno()
    kind = CannotExchange if code in _NOT_SUPPORTED else OSError
    raise kind(code, os.strerror(code), str(source), None, str(target))


def _sync_folders(*paths: Path) -> None:
    for folder in {path.parent for path in paths}:
        sync_folder(folder)
