"""Where copies of live databases lie while they are stored; removed after a kill by the next."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snap.errors import SourceError

from .abandoned import abandoned_in, own_token

_PREFIX = "snap-spool-"
_ROOM_BYTES = 16 << 20
_HINT = "free some space, or name another folder with --cache-dir"


def new_spool(folder: Path, size_bytes: int, of: Path, hint: str = _HINT) -> Path:
    """Return a path in ``folder`` that nothing has, where so many bytes fit.

    What processes that are gone left there is removed.

    Raises:
        SourceError: there is no room for it, or the folder cannot be had.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_stale(folder)
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise unwritable(folder, of, error, hint) from error
    needed = size_bytes + _ROOM_BYTES
    if free_bytes < needed:
        raise SourceError(
            f"no room to copy {of}: {needed} bytes needed in {folder}, {free_bytes} free", hint
        )
    return folder / f"{_PREFIX}{own_token()}"


@contextmanager
def spool_folder(folder: Path, size_bytes: int, of: Path, hint: str = _HINT) -> Iterator[Path]:
    """Give a new folder that only we can enter, removed at the end.

    Raises:
        SourceError: as `new_spool` does.
    """
    spool = new_spool(folder, size_bytes, of, hint)
    try:
        spool.mkdir(mode=0o700)
    except OSError as error:
        raise unwritable(folder, of, error, hint) from error
    try:
        yield spool
    finally:
        shutil.rmtree(spool, ignore_errors=True)


def unwritable(
    folder: Path, of: Path, error: OSError, hint: str = "name another folder with --cache-dir"
) -> SourceError:
    """Return the error for a folder that takes no copy."""
    return SourceError(f"cannot make a copy of {of} in {folder}: {error.strerror}", hint)


def _remove_stale(folder: Path) -> None:
    for path in abandoned_in(folder, _PREFIX):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
