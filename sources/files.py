"""A tree of files, or one file, as it is on disk.

Files are read one after the other while the system goes on: the view is no more consistent than a
disk after a crash, and files that change meanwhile are noted.
"""

import errno
import fnmatch
import grp
import os
import pwd
import stat as stat_module
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

from snap.errors import SourceError
from snap.repo.clock import Clock, system_clock
from snap.repo.source import Attributes, Consistency, Entry, NodeType, ViewReport

from .recognise import Inspector

_NO_XATTRS = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM})
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REPLACED = "its folder was replaced meanwhile"
_WORTH_ADVICE_BYTES = 1 << 20
_TYPES = {
    stat_module.S_IFREG: NodeType.FILE,
    stat_module.S_IFDIR: NodeType.DIR,
    stat_module.S_IFLNK: NodeType.SYMLINK,
    stat_module.S_IFIFO: NodeType.FIFO,
    stat_module.S_IFSOCK: NodeType.SOCKET,
    stat_module.S_IFCHR: NodeType.CHARDEV,
    stat_module.S_IFBLK: NodeType.BLOCKDEV,
}


class FilesSource:
    """A folder with all that is below it, or a single file.

    ``excludes`` are globs: without a slash they match any part of a path, with one the whole path
    below the root; an excluded folder is not entered.
    """

    kind = "files"
    can_wait = False

    def __init__(
        self,
        path: Path,
        *,
        name: str | None = None,
        excludes: Sequence[str] = (),
        clock: Clock = system_clock,
    ) -> None:
        self._path = path.absolute()
        self.name = name if name is not None else (self._path.name or "root")
        self.place = str(self._path)
        self._excludes = tuple(os.fsencode(pattern) for pattern in excludes)
        self._clock = clock

    @contextmanager
    def open(self) -> Iterator["FilesView"]:
        """Open the view; files are opened one at a time while it is read."""
        try:
            # Named by the user, so a link is followed; below it none is.
            raw = os.path.realpath(os.fsencode(self._path), strict=True)
            found = os.stat(raw)
        except OSError as error:
            raise SourceError(
                f"{self._path}: {error.strerror}", "check the path, and whether it is mounted"
            ) from error
        yield FilesView(raw, os.fsencode(self._path.name), found, self._excludes, self._clock)


class _Folder:
    """A folder that is being walked: where, what is still to come, which one it was.

    What is in it is looked at through a descriptor, so that a link that is put in its place does
    not lead to files outside of the tree.
    """

    def __init__(
        self,
        path: tuple[bytes, ...],
        full: bytes,
        names: Iterator[bytes],
        identity: tuple[int, int | None],
    ) -> None:
        self.path = path
        self.full = full
        self.names = names
        self._identity = identity
        self._descriptor: int | None = None

    def look(self, name: bytes) -> os.stat_result:
        """Return the status of what has this name in it; of a link itself."""
        return os.stat(name, dir_fd=self.descriptor(), follow_symlinks=False)

    def descriptor(self) -> int:
        """Return the open folder.

        Raises:
            OSError: it cannot be opened, or is another one now.
        """
        if self._descriptor is not None:
            return self._descriptor
        try:
            descriptor = os.open(self.full, _OPEN_FOLDER)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise OSError(errno.ESTALE, _REPLACED) from error
            raise
        if _identity(os.fstat(descriptor)) != self._identity:
            os.close(descriptor)
            raise OSError(errno.ESTALE, _REPLACED)
        self._descriptor = descriptor
        return descriptor

    def close(self) -> None:
        """Give the descriptor up; it is opened again when needed."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class FilesView:
    """The entries below one root."""

    is_sorted = True

    def __init__(
        self,
        root: bytes,
        name: bytes,
        found: os.stat_result,
        excludes: tuple[bytes, ...],
        clock: Clock,
    ) -> None:
        self._root = root
        self._name = name
        self._found = found
        self._root_attributes: Attributes | None = None
        self._excludes = excludes
        self._clock = clock
        self._point_ns = clock()
        self._inspector = Inspector()
        self._counts: dict[str, int] = {}

    def entries(self) -> Iterator[Entry]:
        """Yield what is below the root, or the file that it is."""
        if stat_module.S_ISDIR(self._found.st_mode):
            walk = self._walk()
        else:
            walk = iter([self._entry(self._root, (self._name,), self._found)])
        for entry in walk:
            self._counts[entry.type] = self._counts.get(entry.type, 0) + 1
            yield entry

    def finish(self) -> ViewReport:
        """Return how many entries of each type there were, and warnings about what was seen."""
        return ViewReport(
            consistency=Consistency.CRASH,
            point_ns=self._point_ns,
            statistics={"entries": dict(sorted(self._counts.items()))},
            warnings=self._inspector.warnings(),
            root=self._root_attributes,
        )

    def _walk(self) -> Iterator[Entry]:
        # The root itself is no entry; if it cannot be read there is nothing to back up.
        self._root_attributes = attributes_of(self._root, self._found)
        try:
            top = _sorted_names(self._root)
        except OSError as error:
            raise SourceError(f"{os.fsdecode(self._root)}: {error.strerror}") from error
        root = self._root.rstrip(b"/")
        stack = [_Folder((), root or b"/", iter(top), _identity(self._found))]
        try:
            while stack:
                folder = stack[-1]
                name = next(folder.names, None)
                if name is None:
                    stack.pop().close()
                    continue
                path = (*folder.path, name)
                if self._is_excluded(path):
                    continue
                full = b"%b/%b" % (folder.full, name) if folder.path else b"%b/%b" % (root, name)
                entry = self._look(full, path, folder)
                below: list[bytes] = []
                if entry.type is NodeType.DIR:
                    entry, below = _list_folder(full, entry)
                yield entry
                if below and entry.attributes is not None:
                    # One descriptor is open at a time, however deep the tree.
                    folder.close()
                    identity = (entry.attributes.device, entry.attributes.inode)
                    stack.append(_Folder(path, full, iter(below), identity))
        finally:
            for folder in stack:
                folder.close()

    def _is_excluded(self, path: tuple[bytes, ...]) -> bool:
        if not self._excludes:
            return False
        whole = b"/".join(path)
        for pattern in self._excludes:
            anchored = b"/" in pattern.rstrip(b"/")
            subject = whole if anchored else path[-1]
            if fnmatch.fnmatchcase(subject, pattern.strip(b"/")):
                return True
        return False

    def _look(self, full: bytes, path: tuple[bytes, ...], folder: _Folder) -> Entry:
        type_ = NodeType.FILE
        try:
            found = folder.look(path[-1])
            type_ = _TYPES.get(stat_module.S_IFMT(found.st_mode), type_)
            entry = self._entry(full, path, found)
            xattrs = entry.attributes.xattrs if entry.attributes is not None else ()
            # These were read by path, which may lead elsewhere by now.
            if xattrs and _identity(os.lstat(full)) != _identity(found):
                raise OSError(errno.ESTALE, _REPLACED)
        except OSError as error:
            return Entry(path, type_, None, problem=error.strerror or str(error))
        return entry

    def _entry(self, full: bytes, path: tuple[bytes, ...], found: os.stat_result) -> Entry:
        type_ = _TYPES.get(stat_module.S_IFMT(found.st_mode))
        if type_ is None:
            return Entry(path, NodeType.FILE, None, problem="not a kind of file that is known")
        attributes = attributes_of(full, found)
        if type_ is NodeType.FILE:
            opener = partial(FileReader, full, found, self._inspector)
            return Entry(path, type_, attributes, size_bytes=found.st_size, open=opener)
        if type_ is NodeType.SYMLINK:
            return Entry(path, type_, attributes, target=os.readlink(full))
        return Entry(path, type_, attributes)


def _identity(found: os.stat_result) -> tuple[int, int | None]:
    return found.st_dev, found.st_ino


def _sorted_names(folder: bytes) -> list[bytes]:
    return sorted(os.listdir(folder))


def _list_folder(full: bytes, entry: Entry) -> tuple[Entry, list[bytes]]:
    """Return a folder's entry, with the problem if there is one, and the names in it."""
    if entry.attributes is None or entry.problem:
        return entry, []
    try:
        return entry, _sorted_names(full)
    except OSError as error:
        return entry._replace(problem=error.strerror or str(error)), []


def attributes_of(full: bytes, found: os.stat_result) -> Attributes:
    """Return what is kept of a file, from its status and its extended attributes."""
    return Attributes(
        mode=stat_module.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        user=_user_name(found.st_uid),
        group=_group_name(found.st_gid),
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        inode=found.st_ino,
        device=found.st_dev,
        links=found.st_nlink,
        rdev=found.st_rdev,
        xattrs=_xattrs(full),
    )


def _xattrs(full: bytes) -> tuple[tuple[bytes, bytes], ...]:
    try:
        names = sorted(os.fsencode(name) for name in os.listxattr(full, follow_symlinks=False))
        return tuple((name, os.getxattr(full, name, follow_symlinks=False)) for name in names)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return ()
        raise


@lru_cache(maxsize=1024)
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=1024)
def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


class FileReader:
    """One file's content, holes told apart, read no further than it was long when opened."""

    def __init__(self, full: bytes, expected: os.stat_result, inspector: Inspector) -> None:
        # Never follow a link that was put here meanwhile, never hang on a pipe.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        self._descriptor = os.open(full, flags)
        try:
            self._before = os.fstat(self._descriptor)
            same = (self._before.st_dev, self._before.st_ino) == (
                expected.st_dev,
                expected.st_ino,
            )
            if not same or not stat_module.S_ISREG(self._before.st_mode):
                raise OSError(errno.ESTALE, "was replaced by something else while it was read")
            self._size = self._before.st_size
            if self._size > _WORTH_ADVICE_BYTES:
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            self._is_sparse = self._before.st_blocks * 512 < self._size
            # Where SEEK_HOLE stays at the start, a hole is there.
            self._data_end = (
                os.lseek(self._descriptor, 0, os.SEEK_HOLE) if self._is_sparse else self._size
            )
        except BaseException:
            os.close(self._descriptor)
            raise
        self._full = full
        self._inspector = inspector
        self._position = 0

    def __enter__(self) -> "FileReader":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def hole(self) -> int:
        """Skip the hole at this position and return its length."""
        if not self._is_sparse or self._position < self._data_end:
            return 0
        start = self._position
        try:
            data = os.lseek(self._descriptor, start, os.SEEK_DATA)
            self._data_end = min(os.lseek(self._descriptor, data, os.SEEK_HOLE), self._size)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            # No data behind this point: a hole up to the end.
            data = self._data_end = self._size
        self._position = min(data, self._size)
        return self._position - start

    def read(self, length: int) -> bytes:
        """Return the next bytes, at most up to the next hole."""
        # A file without a size, as in /proc, is read to wherever it ends.
        ahead = self._data_end - self._position if self._size else length
        data = os.pread(self._descriptor, min(length, ahead), self._position)
        if self._position == 0:
            self._inspector.look(self._full, data[:16])
        self._position += len(data)
        return data

    @property
    def size_bytes(self) -> int:
        """Return the size when it was opened; 0 also where a file has none, as in /proc."""
        return self._size

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from ``offset``, up to the size when the file was opened."""
        end = min(len(buffer), self._size - offset)
        done = 0
        while done < end:
            count = os.preadv(self._descriptor, [buffer[done:end]], offset + done)
            if not count:
                break
            done += count
        return done

    def seek(self, position: int) -> None:
        """Set where `read` goes on."""
        is_known = self._position <= position <= self._data_end
        self._position = position
        # Looking for the next hole takes as long as it is away.
        if self._is_sparse and not is_known and position < self._size:
            # In a hole this is the position itself.
            self._data_end = os.lseek(self._descriptor, position, os.SEEK_HOLE)

    def is_changed(self) -> bool:
        """Return whether size or times moved since the file was opened, or it ended early."""
        after = os.fstat(self._descriptor)
        moved = (after.st_size, after.st_mtime_ns) != (
            self._before.st_size,
            self._before.st_mtime_ns,
        )
        return moved or self._position < self._size
