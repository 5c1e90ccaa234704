"""A folder on a local or mounted disk.

An object is a file of the same relative name. A put writes a file under ``tmp/``, makes it
durable, and renames it into place; a crash leaves nothing but such a temporary file.
A folder that was there and is gone is never made anew: it may be a disk that was unmounted.
"""

import contextlib
import errno
import os
import secrets
import stat as stat_module
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from snap.errors import UsageError

from .base import (
    BackendError,
    BackendUnavailable,
    Buffer,
    ObjectExists,
    ObjectNotFound,
    ObjectStat,
    PermissionDenied,
    ShortRead,
    StorageFull,
    check_prefix,
    refuse_retention,
)
from .files import STALE_SECONDS, TEMPORARY, check_file_name

_Entries = list[os.DirEntry[str]]

_NO_SUCH = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FOR_NOW = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.EBUSY,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.ECONNRESET,
    }
)
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def translate(error: OSError, name: str, location: str) -> BackendError:
    """Return the error of our own that an operating system error means."""
    reason = error.strerror or str(error)
    where = f"{location}: {name}: {reason}" if name else f"{location}: {reason}"
    code = error.errno
    if code in _NO_SUCH:
        return ObjectNotFound(f"{name}: not found in {location}")
    if code in _NO_ROOM:
        return StorageFull(where, "free some space there; nothing that was stored is lost")
    if code in _NOT_ALLOWED:
        return PermissionDenied(where, "check the owner and mode of the folder")
    if code in _FOR_NOW:
        return BackendUnavailable(where, "check the disk or the mount")
    return BackendError(where)


@contextlib.contextmanager
def _translated(name: str, location: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translate(error, name, location) from error


class LocalBackend:
    """Objects as files below ``root``, which is made by the first put."""

    parallel_requests = 1
    keeps_deleted = False

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:  # noqa: TID251 - file times are the system's
        self._root = root.absolute()
        self._clock = clock
        self._lock = threading.Lock()
        self._folders: set[Path] = set()
        self._swept = False
        if self._find_root():
            self._folders.add(self._root)

    @property
    def location(self) -> str:
        """Return the folder."""
        return str(self._root)

    def put(
        self,
        name: str,
        data: Buffer,
        *,
        exclusive: bool = False,
        retain_until_ns: int | None = None,
    ) -> None:
        """Store an object: temporary file, fsync, rename or link, fsync of the folder."""
        path = self._path(name)
        refuse_retention(self.location, retain_until_ns)
        with _translated(name, self.location):
            try:
                self._place(path, data, exclusive=exclusive)
            except FileExistsError as error:
                raise ObjectExists(f"{name}: exists already in {self.location}") from error
            except OSError as error:
                if error.errno not in _NO_SUCH:
                    raise
                # Not ObjectNotFound: that would say something of the object, not of its place.
                raise BackendError(
                    f"{self.location}: {name} cannot be stored: {error.strerror}",
                    "check that the folder is still there, and its disk mounted",
                ) from error

    def _place(self, path: Path, data: Buffer, *, exclusive: bool) -> None:
        self._make_folder(self._root / TEMPORARY)
        self._make_folder(path.parent)
        self._sweep_once()
        temporary = self._root / TEMPORARY / secrets.token_hex(16)
        try:
            _write_durably(temporary, data)
            if exclusive:
                _place_exclusively(temporary, path, data)
            else:
                temporary.rename(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        _sync_folder(path.parent)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return the object or a range of it."""
        path = self._path(name)
        with _translated(name, self.location), path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            end = size if length is None else offset + length
            if end > size or offset > size:
                raise ShortRead(f"{name}: {size} bytes long, {end} were asked for")
            parts = []
            while offset < end:
                part = os.pread(file.fileno(), end - offset, offset)
                if not part:
                    raise ShortRead(f"{name}: became shorter while it was read")
                parts.append(part)
                offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def stat(self, name: str) -> ObjectStat:
        """Return size and time."""
        path = self._path(name)
        with _translated(name, self.location):
            found = path.stat()
            if not stat_module.S_ISREG(found.st_mode):
                raise ObjectNotFound(f"{name}: not found in {self.location}")
            return ObjectStat(name, found.st_size, found.st_mtime_ns)

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """Yield the objects below a folder; what vanishes meanwhile may be left out."""
        prefixes = [check_prefix(prefix)]
        while prefixes:
            below = prefixes.pop()
            for entry in self._scan(self._root / below):
                found = self._examine(entry, below + entry.name)
                if isinstance(found, str):
                    prefixes.append(found)
                elif found is not None:
                    yield found

    def _scan(self, folder: Path) -> _Entries:
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise translate(error, "", str(folder)) from error

    def _examine(self, entry: "os.DirEntry[str]", name: str) -> ObjectStat | str | None:
        """Return an object's stat, a folder's prefix, or None for what is not ours or is gone."""
        try:
            self._path(name)
            if entry.is_dir(follow_symlinks=False):
                return f"{name}/"
            found = entry.stat(follow_symlinks=False)
        except (UsageError, FileNotFoundError):
            return None
        except OSError as error:
            raise translate(error, name, self.location) from error
        if not stat_module.S_ISREG(found.st_mode):
            return None
        return ObjectStat(name, found.st_size, found.st_mtime_ns)

    def delete(self, name: str) -> None:
        """Remove an object."""
        path = self._path(name)
        with _translated(name, self.location):
            path.unlink()
            _sync_folder(path.parent)

    def close(self) -> None:
        """Hold nothing open between calls, so there is nothing to release."""

    def _path(self, name: str) -> Path:
        return self._root / check_file_name(name)

    def _find_root(self) -> bool:
        with _translated("", self.location):
            try:
                mode = self._root.stat().st_mode
            except FileNotFoundError:
                return False
            except NotADirectoryError as error:
                raise UsageError(
                    f"{self._root} lies below what is not a folder",
                    "name the folder of a repository",
                ) from error
        if not stat_module.S_ISDIR(mode):
            raise UsageError(f"{self._root} is not a folder", "name the folder of a repository")
        return True

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, each durable in its parent."""
        with self._lock:
            known = folder in self._folders
        if known and folder.is_dir():
            return
        if folder == self._root:
            if known:
                raise FileNotFoundError(errno.ENOENT, "the repository's folder is gone")
            _make_root(folder)
        else:
            self._make_folder(folder.parent)
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            # Also where it was there: whoever made it may have died before doing this.
            _sync_folder(folder.parent)
        with self._lock:
            self._folders.add(folder)

    def _sweep_once(self) -> None:
        """Remove what puts that died left behind, once per instance."""
        with self._lock:
            if self._swept:
                return
            self._swept = True
        limit = self._clock() - STALE_SECONDS
        for entry in self._scan(self._root / TEMPORARY):
            with contextlib.suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < limit:
                    Path(entry.path).unlink()


def _make_root(root: Path) -> None:
    missing = []
    while not root.is_dir():
        missing.append(root)
        root = root.parent
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):
            new.mkdir(mode=0o700)
        _sync_folder(new.parent)


def _write_durably(path: Path, data: Buffer) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)


def _place_exclusively(temporary: Path, path: Path, data: Buffer) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # FAT, exFAT and some network mounts have no links. A kill in the middle can leave a part
        # here, which only a new repository's `config` could be: it would be told as damaged.
        _write_durably(path, data)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; their rename is durable by itself.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
