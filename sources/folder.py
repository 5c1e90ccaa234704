"""Restoring into a folder, beside what is there, and into place at the end.

Everything is written under ``.snap-restore-<random>`` in the target folder, a folder that only we
can enter; nothing outside of it is touched before `finish`. There it is moved into place by
renames, each undone if a later one fails.
"""

import errno
import os
import secrets
import shutil
import stat as stat_module
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import blake3

from snap.errors import TargetError
from snap.repo.source import Attributes, NodeType
from snap.repo.target import Segment, TargetEntry
from snap.repo.tree import is_plain_name

_STAGING_PREFIX = ".snap-restore-"
_DIGEST_BYTES = 16
_REREAD_BYTES = 4 << 20
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


class FolderTarget:
    """A folder that a component is restored into; made if it is missing.

    What exists there is left alone: an entry of the same path is an error, unless ``overwrite``
    allows to replace it. Existing folders are merged into.
    """

    def __init__(self, root: Path, *, overwrite: bool = False) -> None:
        self._root = os.fsencode(root.absolute())
        self._overwrite = overwrite
        self._made: list[bytes] = []
        self._staging = b""
        self._folders: dict[Place, Attributes] = {}
        self._root_attributes: Attributes | None = None
        self._owners_failed = 0
        self._is_root = os.geteuid() == 0
        self._warnings: list[str] = []

    # Writing beside

    def write(self, entry: TargetEntry, segments: Iterable[Segment]) -> None:
        """Write one entry under the staging folder and read it again."""
        for place in (entry.path, entry.path if entry.link_to is None else entry.link_to):
            if not place or not all(is_plain_name(name) for name in place):
                raise TargetError(f"refusing a path that leads elsewhere: {place!r}")
        self._refuse_existing(entry)
        try:
            self._stage()
            path = self._staged(entry.path)
            if entry.link_to is not None:
                os.link(self._staged(entry.link_to), path, follow_symlinks=False)
            elif entry.type is NodeType.DIR:
                os.mkdir(path, 0o700)
                self._folders[entry.path] = entry.attributes
            elif entry.type is NodeType.FILE:
                self._write_file(path, entry, segments)
            elif self._make_special(path, entry):
                self._set_attributes(path, entry.attributes, entry.type)
        except OSError as error:
            raise self._explain(error, b"/".join((self._root, *entry.path))) from error

    def _refuse_existing(self, entry: TargetEntry) -> None:
        """Fail early where something is in the way; `finish` decides again."""
        if self._overwrite:
            return
        final = self._final(entry.path)
        found = _lstat(final)
        if found is not None and not (
            entry.type is NodeType.DIR and stat_module.S_ISDIR(found.st_mode)
        ):
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
            os.mkdir(os.path.join(staging, b"new"), 0o700)
            os.mkdir(os.path.join(staging, b"old"), 0o700)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        self._staging = staging

    def _staged(self, path: Place) -> bytes:
        return b"/".join((self._staging, b"new", *path))

    def _final(self, path: Place) -> bytes:
        return b"/".join((self._root.rstrip(b"/"), *path))

    def _write_file(self, path: bytes, entry: TargetEntry, segments: Iterable[Segment]) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            written = _write_segments(descriptor, segments)
            os.ftruncate(descriptor, entry.size_bytes)
            _compare(descriptor, written, path)
            self._set_attributes(path, entry.attributes, entry.type, descriptor)
        except BaseException:
            # Nothing of a file that could not be written whole stays behind.
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)

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
        self, path: bytes, attributes: Attributes, type_: NodeType, descriptor: int | None = None
    ) -> None:
        """Set owner, extended attributes, mode and times, in the order in which they last."""
        subject: int | bytes = path if descriptor is None else descriptor
        is_link = type_ is NodeType.SYMLINK
        mode = attributes.mode
        try:
            os.chown(
                subject,
                attributes.uid,
                attributes.gid,
                follow_symlinks=not is_link or descriptor is not None,
            )
        except OSError as error:
            # Invalid: a number that a user namespace, as of a rootless container, does not know.
            if error.errno not in (errno.EPERM, errno.EACCES, errno.EINVAL):
                raise
            if (attributes.uid, attributes.gid) != (os.geteuid(), os.getegid()):
                self._owners_failed += 1
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
            os.sync()
            self._carry_out(moves)
            shutil.rmtree(self._staging)
            self._staging = b""
            if self._root_attributes is not None:
                self._set_attributes(self._root, self._root_attributes, NodeType.DIR)
            os.sync()
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
        if self._staging:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = b""
        for folder in reversed(self._made):
            try:
                os.rmdir(folder)
            except OSError:
                # Somebody put something there meanwhile.
                break

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


def _write_segments(descriptor: int, segments: Iterable[Segment]) -> list[tuple[int, int, bytes]]:
    """Write the segments that hold data; return offset, length and digest of each."""
    written = []
    for segment in segments:
        if segment.data is None:
            continue
        view, offset = memoryview(segment.data), segment.offset
        digest = blake3.blake3(view).digest(_DIGEST_BYTES)
        written.append((segment.offset, len(view), digest))
        while view:
            count = os.pwrite(descriptor, view, offset)
            view, offset = view[count:], offset + count
    return written


def _compare(descriptor: int, written: list[tuple[int, int, bytes]], path: bytes) -> None:
    """Read again what was written.

    Raises:
        TargetError: the file does not hold it.
    """
    for start, length, digest in written:
        hasher = blake3.blake3()
        offset, end = start, start + length
        while offset < end:
            part = os.pread(descriptor, min(_REREAD_BYTES, end - offset), offset)
            if not part:
                break
            hasher.update(part)
            offset += len(part)
        if hasher.digest(_DIGEST_BYTES) != digest:
            raise TargetError(
                f"{os.fsdecode(path)} reads back differently from what was written",
                "the disk or this machine's memory makes errors: restore elsewhere",
            )
