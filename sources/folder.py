"""Restoring into a folder, beside what is there, and into place at the end.

Everything is written under ``.snap-restore-<random>`` in the target folder, a folder that only we
can enter; nothing outside of it is touched before `finish`. There it is moved into place by
renames, each undone if a later one fails.
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat as stat_module
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from snap.errors import TargetError
from snap.repo.source import Attributes, NodeType
from snap.repo.target import Piece, TargetEntry
from snap.repo.tree import is_plain_name

from .openfiles import OpenFiles
from .readback import ReadBack
from .sync import sync_disk

_STAGING_PREFIX = ".snap-restore-"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTRIBUTE_REFUSED = frozenset(
    {
        errno.ENOTSUP,
        errno.EPERM,
        errno.EACCES,
        errno.E2BIG,
        errno.ENOSPC,
        # A label or an access list that means nothing to this system.
        errno.EINVAL,
    }
)
_HINTS = {
    errno.EACCES: "check the owner and mode of the folder",
    errno.EXDEV: "a folder in the way is another disk: restore into that folder itself",
    errno.EBUSY: "something in the way is in use, as a mounted disk: restore elsewhere",
}
Place = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Move:
    """One step of going into place. ``aside`` is where what was there waits."""

    staged: bytes
    final: bytes
    aside: bytes | None


class _Born(NamedTuple):
    """What the system gives to what is made in the staging folder; of the mode, what it allows."""

    uid: int
    gid: int
    mode: int


class FolderTarget:
    """A folder that a component is restored into; made if it is missing.

    What exists there is left alone: an entry of the same path is an error, unless ``overwrite``
    allows to replace it. Existing folders are merged into. With ``read_back``, `finish` reads all
    files again, from the disk where the system allows it, before anything is replaced.
    """

    def __init__(self, root: Path, *, overwrite: bool = False, read_back: bool = False) -> None:
        self._root = os.fsencode(root.absolute())
        self._overwrite = overwrite
        self._made: list[bytes] = []
        self._staging = b""
        self._new = b""
        self._born = _Born(-1, -1, 0)
        self._folders: dict[Place, Attributes] = {}
        self._merged: set[Place] = set()
        self._root_attributes: Attributes | None = None
        self._owners_failed = 0
        self._is_root = os.geteuid() == 0
        self._lock = threading.Lock()
        self._files = OpenFiles()
        self._read_back = ReadBack() if read_back else None
        self._warnings: list[str] = []

    # Writing beside

    def make(self, entry: TargetEntry) -> None:
        """Make a folder, a link or something special under the staging folder."""
        with self._explained(entry):
            path = self._admit(entry)
            if entry.link_to is not None:
                self._refuse_outside(entry.link_to)
                os.link(self._staged(entry.link_to), path, follow_symlinks=False)
            elif entry.type is NodeType.DIR:
                os.mkdir(path, 0o700)
                self._folders[entry.path] = entry.attributes
            elif self._make_special(path, entry):
                self._set_attributes(path, entry.attributes, entry.type, born=self._born)

    def check_file(self, entry: TargetEntry) -> None:
        """Fail early where something is in the way; `finish` decides again."""
        with self._explained(entry):
            self._admit(entry)

    def write_file(self, entry: TargetEntry, data: bytes | memoryview) -> None:
        """Write a file under the staging folder, in the fewest calls to the system."""
        path = self._staged(entry.path)
        try:
            attributes, born = entry.attributes, self._born
            is_born_right = (
                attributes[:3] == (attributes.mode & born.mode, born.uid, born.gid)
                and not attributes.xattrs
            )
            descriptor = os.open(path, _NEW_FILE, attributes.mode if is_born_right else 0o600)
            try:
                count = os.write(descriptor, data)
                if count < len(data):
                    _write_at(descriptor, memoryview(data)[count:], count)
                if is_born_right:
                    os.utime(descriptor, ns=(attributes.mtime_ns, attributes.mtime_ns))
                else:
                    self._set_attributes(path, attributes, NodeType.FILE, descriptor, born=born)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._explain(error, self._final(entry.path)) from error
        if self._read_back is not None:
            self._read_back.note(path, 0, data)

    def write_pieces(self, entry: TargetEntry, pieces: Sequence[Piece]) -> None:
        """Write parts of a file, which stays open for the next ones."""
        path = self._staged(entry.path)
        with self._explained(entry), self._files.use(path) as descriptor:
            for offset, data in pieces:
                _write_at(descriptor, data, offset)
        if self._read_back is not None:
            for offset, data in pieces:
                self._read_back.note(path, offset, data)

    def complete_file(self, entry: TargetEntry) -> None:
        """Set size and attributes."""
        path = self._staged(entry.path)
        with self._explained(entry):
            with self._files.use(path) as descriptor:
                os.ftruncate(descriptor, entry.size_bytes)
                self._set_attributes(
                    path, entry.attributes, NodeType.FILE, descriptor, born=self._born
                )
            self._files.close(path)

    def drop_file(self, entry: TargetEntry) -> None:
        """Remove what is there of a file."""
        path = self._staged(entry.path)
        with self._explained(entry):
            self._files.close(path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            if self._read_back is not None:
                self._read_back.forget(path)

    def _admit(self, entry: TargetEntry) -> bytes:
        """Return where an entry is staged, if its path is one and nothing is in the way."""
        parent = entry.path[:-1]
        if parent in self._folders:
            # What is above has been looked at, and this is called for every file.
            self._refuse_outside(entry.path[-1:])
        else:
            self._refuse_outside(entry.path)
        self._stage()
        # In a folder that is new here, nothing can be in the way.
        is_new = bool(self._made) or (parent in self._folders and parent not in self._merged)
        if not self._overwrite and not is_new:
            self._refuse_existing(entry)
        return self._staged(entry.path)

    @staticmethod
    def _refuse_outside(place: Place) -> None:
        if not place or not all(is_plain_name(name) for name in place):
            raise TargetError(f"refusing a path that leads elsewhere: {place!r}")

    def _refuse_existing(self, entry: TargetEntry) -> None:
        final = self._final(entry.path)
        found = _lstat(final)
        if found is None:
            return
        if entry.type is NodeType.DIR and stat_module.S_ISDIR(found.st_mode):
            self._merged.add(entry.path)
        else:
            raise _in_the_way(final)

    def _stage(self) -> None:
        if self._staging:
            return
        folder, missing = self._root, []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for new in reversed(missing):
            os.mkdir(new)
            self._made.append(new)
        staging = os.path.join(self._root, os.fsencode(_STAGING_PREFIX + secrets.token_hex(8)))
        os.mkdir(staging, 0o700)
        try:
            new = os.path.join(staging, b"new")
            os.mkdir(new)
            os.mkdir(os.path.join(staging, b"old"), 0o700)
            # Whom what is made in there belongs to, and with which permissions: the folder's group
            # or access list may be handed down, and a server may make somebody else of root.
            found = os.lstat(new)
            self._born = _Born(found.st_uid, found.st_gid, found.st_mode & 0o777)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        self._staging, self._new = staging, new

    def _staged(self, path: Place) -> bytes:
        return b"/".join((self._new, *path))

    def _final(self, path: Place) -> bytes:
        return b"/".join((self._root.rstrip(b"/"), *path))

    def _make_special(self, path: bytes, entry: TargetEntry) -> bool:
        shown = os.fsdecode(b"/".join(entry.path))
        match entry.type:
            case NodeType.SYMLINK:
                os.symlink(entry.target, path)
            case NodeType.FIFO:
                os.mkfifo(path, 0o600)
            case NodeType.CHARDEV | NodeType.BLOCKDEV:
                if not self._is_root:
                    self._warnings.append(f"{shown}: devices can be made by root only")
                    return False
                kind = (
                    stat_module.S_IFCHR if entry.type is NodeType.CHARDEV else stat_module.S_IFBLK
                )
                os.mknod(path, 0o600 | kind, entry.attributes.rdev)
            case _:
                self._warnings.append(f"{shown}: sockets are made by the programs that use them")
                return False
        return True

    def _set_attributes(
        self,
        path: bytes,
        attributes: Attributes,
        type_: NodeType,
        descriptor: int | None = None,
        *,
        born: _Born | None = None,
    ) -> None:
        """Set owner, extended attributes, mode and times, in the order in which they last.

        ``born`` says whom it belongs to as it was just made, None where that is not known.
        """
        subject: int | bytes = path if descriptor is None else descriptor
        is_link = type_ is NodeType.SYMLINK
        mode = attributes.mode
        if (attributes.uid, attributes.gid) != (born and born[:2]) and not self._set_owner(
            subject, attributes, is_link=is_link
        ):
            # A program that runs as its owner must not run as whoever restored it.
            mode &= ~(stat_module.S_ISUID | stat_module.S_ISGID)
        for name, value in attributes.xattrs:
            try:
                os.setxattr(subject, name, value, follow_symlinks=not is_link)
            except OSError as error:
                self._warn_attribute(path, name, error)
        if not is_link:
            os.chmod(subject, mode)
        times = (attributes.mtime_ns, attributes.mtime_ns)
        if descriptor is not None:
            os.utime(descriptor, ns=times)
        else:
            os.utime(path, ns=times, follow_symlinks=False)

    def _set_owner(self, subject: int | bytes, attributes: Attributes, *, is_link: bool) -> bool:
        """Set owner and group; return whether they are as wanted."""
        try:
            os.chown(subject, attributes.uid, attributes.gid, follow_symlinks=not is_link)
        except OSError as error:
            # Invalid: a number that a user namespace, as of a rootless container, does not know.
            if error.errno not in (errno.EPERM, errno.EACCES, errno.EINVAL):
                raise
            if (attributes.uid, attributes.gid) != (os.geteuid(), os.getegid()):
                with self._lock:
                    self._owners_failed += 1
                return False
        return True

    def _warn_attribute(self, path: bytes, name: bytes, error: OSError) -> None:
        if error.errno not in _ATTRIBUTE_REFUSED:
            raise error
        self._warnings.append(
            f"{os.fsdecode(os.path.basename(path))}: attribute {os.fsdecode(name)} could not be "
            f"set: {error.strerror}"
        )

    # Into place

    def set_root(self, attributes: Attributes) -> None:
        """Keep what the folder itself should have: set last, since moving things in changes it."""
        self._root_attributes = attributes

    def finish(self) -> list[str]:
        """Move everything into place, then set what moving disturbs; durable on return."""
        try:
            self._stage()
            moves: list[_Move] = []
            self._plan((), moves)
            # Before anything of the user's goes, what replaces it is on disk.
            self._files.close_all()
            sync_disk(self._staging)
            if self._read_back is not None:
                self._read_back.compare()
                self._read_back.close()
            self._carry_out(moves)
            shutil.rmtree(self._staging)
            self._staging = b""
            if self._root_attributes is not None:
                self._set_attributes(self._root, self._root_attributes, NodeType.DIR)
            sync_disk(self._root)
        except OSError as error:
            raise self._explain(error, self._root) from error
        if self._owners_failed:
            self._warnings.append(
                f"the owner of {self._owners_failed} entries could not be set: restore as root"
            )
        return self._warnings

    def _plan(self, above: Place, moves: list[_Move]) -> None:
        """List the renames; folders that exist are gone into, all else is moved whole."""
        for name in sorted(os.listdir(self._staged(above))):
            path = (*above, name)
            staged, final = self._staged(path), self._final(path)
            found = _lstat(final)
            if found is None:
                moves.append(_Move(staged, final, None))
            elif stat_module.S_ISDIR(found.st_mode) and path in self._folders:
                self._plan(path, moves)
            elif self._overwrite:
                aside = os.path.join(self._staging, b"old", b"%d" % len(moves))
                moves.append(_Move(staged, final, aside))
            else:
                raise _in_the_way(final)

    def _carry_out(self, moves: list[_Move]) -> None:
        """Rename everything into place and set the folders' attributes, or undo all of it."""
        begun: list[_Move] = []
        try:
            for move in moves:
                # Before the renames: an interruption may come between them.
                begun.append(move)
                if move.aside is not None:
                    os.rename(move.final, move.aside)
                os.rename(move.staged, move.final)
            for path in sorted(self._folders, key=len, reverse=True):
                self._set_attributes(self._final(path), self._folders[path], NodeType.DIR)
        except BaseException as error:
            self._put_back(begun, error)
            raise

    def _put_back(self, begun: list[_Move], error: BaseException) -> None:
        """Undo renames; what was there before is never given up, even if that fails too."""
        stuck = False
        for move in reversed(begun):
            try:
                if _lstat(move.staged) is None:
                    os.rename(move.final, move.staged)
                if move.aside is not None and _lstat(move.aside) is not None:
                    os.rename(move.aside, move.final)
            except OSError:
                stuck = True
        if stuck:
            kept, self._staging = os.fsdecode(self._staging), b""
            reason = getattr(error, "strerror", None) or "interrupted"
            raise TargetError(
                f"{reason}; not everything that was replaced could be put back",
                f"what was there before is in {kept}/old",
            ) from error

    def abort(self) -> None:
        """Remove all that was written, and the folders that were made for it."""
        self._files.close_all()
        if self._read_back is not None:
            self._read_back.close()
        if self._staging:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = b""
        for folder in reversed(self._made):
            try:
                os.rmdir(folder)
            except OSError:
                # Somebody put something there meanwhile.
                break

    @contextlib.contextmanager
    def _explained(self, entry: TargetEntry) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._explain(error, self._final(entry.path)) from error

    def _explain(self, error: OSError, path: bytes) -> TargetError:
        shown = os.fsdecode(path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return TargetError(
                f"{shown}: {error.strerror}", "free some space there; nothing was replaced"
            )
        hint = _HINTS.get(error.errno or 0, "")
        return TargetError(f"{shown}: {error.strerror or error}", hint)


def _lstat(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _in_the_way(path: bytes) -> TargetError:
    return TargetError(
        f"{os.fsdecode(path)} exists already",
        "choose an empty folder, or allow replacing with --overwrite",
    )


def _write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    count = os.pwrite(descriptor, data, offset)
    while count < len(data):
        count += os.pwrite(descriptor, memoryview(data)[count:], offset + count)
