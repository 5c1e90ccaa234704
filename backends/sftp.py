"""A folder on a server that speaks SFTP, as every SSH server does.

An object is a file of the same relative name, as in a local folder: a put writes a file under
``tmp/``, makes it durable where the server has ``fsync@openssh.com``, and moves it into place.
``sftp://user@host:port/path`` names the folder from the server's root, ``sftp://host/~/path``
from the user's home; what is left out comes from ``~/.ssh/config``.

All threads share one connection, which a thread of its own drives. It is made by the first call,
and made anew by the first one after it was lost.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TypeVar, cast

import asyncssh

from snap.errors import UsageError

from .base import (
    BackendError,
    Buffer,
    ObjectExists,
    ObjectNotFound,
    ObjectStat,
    ShortRead,
    check_prefix,
    refuse_retention,
)
from .files import STALE_SECONDS, TEMPORARY, check_file_name
from .loop_thread import LoopThread
from .sftp_connection import Connection, connect
from .sftp_errors import NO_SUCH, TAKEN, connection_lost, full, lost, request_failed
from .sftp_place import SftpPlace

_T = TypeVar("_T")
_Entries = list[tuple[str, asyncssh.SFTPAttrs]]
_Names = list[str]
_Listing = tuple[list[ObjectStat], _Names]
"""The objects and the folders in one folder."""
_Listings = list[_Listing]

_TIMEOUT_SECONDS = 60.0
_FOLDERS_AT_ONCE = 16
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600


class SftpBackend:
    """Objects as files below a folder of a server, which is made by the first put.

    Args:
        place: The folder, and the server it is on.
        timeout_seconds: After so long without any answer the connection is given up.
        ssh_config: Read instead of ``~/.ssh/config``.
    """

    keeps_deleted = False
    parallel_requests = 1
    """One fills the line by itself; two packs of 32 MiB and asyncssh's share are 250 MiB."""

    def __init__(
        self,
        place: SftpPlace,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        ssh_config: Path | None = None,
    ) -> None:
        self._place = place
        self._timeout_seconds = timeout_seconds
        self._ssh_config = ssh_config
        self._thread = LoopThread()
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._root_was_there: bool | None = None
        self._folders: set[str] = set()
        self._swept = False

    @property
    def location(self) -> str:
        """Return the URL; it has no password."""
        return self._place.location

    def put(
        self,
        name: str,
        data: Buffer,
        *,
        exclusive: bool = False,
        retain_until_ns: int | None = None,
    ) -> None:
        """Store an object: temporary file, fsync, rename or link, fsync of the folder."""
        check_file_name(name)
        refuse_retention(self.location, retain_until_ns)
        view = memoryview(data).cast("B")
        self._run(name, lambda c: self._put(c, name, view, exclusive=exclusive))

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return the object or a range of it."""
        check_file_name(name)
        return self._run(name, lambda c: self._get(c, name, offset, length))

    def stat(self, name: str) -> ObjectStat:
        """Return size and time."""
        check_file_name(name)

        async def find(connection: Connection) -> ObjectStat:
            found = await connection.ask(connection.sftp.stat(self._path(name)))
            if not self._is_file(found):
                raise ObjectNotFound(f"{name}: not found in {self.location}")
            return _stat_of(name, found)

        return self._run(name, find)

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """Yield the objects below a folder; what vanishes meanwhile may be left out."""
        prefixes = [check_prefix(prefix)]
        while prefixes:
            # Several at once, for the answers of a distant server are long in coming.
            some, prefixes = prefixes[-_FOLDERS_AT_ONCE:], prefixes[:-_FOLDERS_AT_ONCE]
            for objects, below in self._run("", partial(self._scan_all, prefixes=some)):
                prefixes += below
                yield from objects

    def delete(self, name: str) -> None:
        """Remove an object."""
        check_file_name(name)
        self._run(name, lambda c: self._delete(c, name))

    def close(self) -> None:
        """End the connection and its thread; calls after this are refused."""
        self._thread.stop(self._shut)

    # -- one call ----------------------------------------------------------------------------

    def _run(self, name: str, operation: Callable[[Connection], Awaitable[_T]]) -> _T:
        return self._thread.run(self._carry_out(name, operation))

    async def _carry_out(self, name: str, operation: Callable[[Connection], Awaitable[_T]]) -> _T:
        connection = await self._connected()
        try:
            if self._root_was_there is None:
                self._root_was_there = await self._find_root(connection)
            return await operation(connection)
        except (asyncssh.Error, OSError) as error:
            if connection_lost(error):
                connection.drop()
                raise lost(self.location, connection.why(error)) from error
            raise request_failed(error, name, self.location) from error

    async def _connected(self) -> Connection:
        """Return the connection; of several that need a new one, one makes it for all."""
        if self._connection is not None and not self._connection.lost:
            return self._connection
        if self._connecting is None:
            self._connecting = asyncio.ensure_future(self._connect())
            self._connecting.add_done_callback(self._connecting_ended)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Connection:
        self._connection = await connect(
            self._place, timeout_seconds=self._timeout_seconds, ssh_config=self._ssh_config
        )
        return self._connection

    def _connecting_ended(self, _: "asyncio.Task[Connection]") -> None:
        self._connecting = None

    async def _shut(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            await self._connection.close()

    # -- names -------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        root = self._place.path
        return f"{root.rstrip('/')}/{name}" if name else root

    def _is_file(self, found: asyncssh.SFTPAttrs) -> bool:
        return found.type == asyncssh.FILEXFER_TYPE_REGULAR

    async def _look(self, connection: Connection, name: str) -> asyncssh.SFTPAttrs | None:
        """Return what a name has, links not followed; None for nothing."""
        try:
            return await connection.ask(connection.sftp.lstat(self._path(name)))
        except NO_SUCH:
            return None

    async def _find_root(self, connection: Connection) -> bool:
        try:
            found = await connection.ask(connection.sftp.stat(self._path("")))
        except NO_SUCH:
            return False
        if found.type != asyncssh.FILEXFER_TYPE_DIRECTORY:
            raise UsageError(f"{self.location} is not a folder", "name the folder of a repository")
        return True

    def _root_is_gone(self) -> BackendError:
        return BackendError(
            f"{self.location}: the repository's folder is gone",
            "check that it is still there, and its disk mounted",
        )

    # -- reading -----------------------------------------------------------------------------

    async def _get(
        self, connection: Connection, name: str, offset: int, length: int | None
    ) -> bytes:
        file = await connection.ask(connection.sftp.open(self._path(name), "rb", block_size=0))
        try:
            found = await connection.ask(file.stat())
            if not self._is_file(found):
                raise ObjectNotFound(f"{name}: not found in {self.location}")
            size = found.size or 0
            end = size if length is None else offset + length
            if end > size or offset > size:
                raise ShortRead(f"{name}: {size} bytes long, {end} were asked for")
            return await self._read(connection, name, file, range(offset, end))
        finally:
            await self._close_file(connection, file)

    async def _read(
        self, connection: Connection, name: str, file: asyncssh.SFTPClientFile, whole: range
    ) -> bytes:
        # Filled in any order, and its bytes taken out of it without another copy.
        buffer = BytesIO()
        if whole:
            buffer.seek(len(whole) - 1)
            buffer.write(b"\0")

        async def read(at: int, size: int) -> None:
            while size:
                part = await connection.ask(_read_once(file, size, whole.start + at))
                if not part:
                    raise ShortRead(f"{name}: became shorter while it was read")
                buffer.seek(at)
                buffer.write(part)
                at, size = at + len(part), size - len(part)

        await connection.read_blocks(len(whole), read)
        return buffer.getvalue()

    async def _scan_all(self, connection: Connection, prefixes: _Names) -> _Listings:
        scans = [self._scan(connection, prefix) for prefix in prefixes]
        results = await asyncio.gather(*scans, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return cast(_Listings, results)

    async def _scan(self, connection: Connection, prefix: str) -> _Listing:
        """Return the objects and the folders in a folder; what is not ours is left out."""
        objects: dict[str, ObjectStat] = {}
        folders: dict[str, None] = {}
        for name, found in await self._entries(connection, prefix):
            with suppress(UsageError):
                check_file_name(name)
                if found.type == asyncssh.FILEXFER_TYPE_DIRECTORY:
                    folders[f"{name}/"] = None
                elif self._is_file(found):
                    objects[name] = _stat_of(name, found)
        return [*objects.values()], [*folders]

    async def _entries(self, connection: Connection, prefix: str) -> _Entries:
        try:
            entries = await connection.scan(self._path(prefix).rstrip("/") or "/")
        except NO_SUCH as error:
            if self._root_was_there and not await self._find_root(connection):
                raise self._root_is_gone() from error
            return []
        return [(f"{prefix}{_text(entry.filename)}", entry.attrs) for entry in entries]

    # -- writing -----------------------------------------------------------------------------

    async def _put(
        self, connection: Connection, name: str, data: memoryview, *, exclusive: bool
    ) -> None:
        try:
            try:
                await self._make_folders(connection, name)
                await self._place_file(connection, name, data, exclusive=exclusive)
            except NO_SUCH:
                # A folder that was there has gone: somebody tidied up, or the disk was unmounted.
                self._folders.clear()
                await self._make_folders(connection, name)
                await self._place_file(connection, name, data, exclusive=exclusive)
        except asyncssh.SFTPFailure as error:
            # What servers of the common version 3 say of a full disk as of everything else.
            if await self._is_full(connection, len(data)):
                raise full(f"{self.location}: {name}") from error
            raise
        except NO_SUCH as error:
            # Not ObjectNotFound: that would say something of the object, not of its place.
            raise BackendError(
                f"{self.location}: {name} cannot be stored: {error}",
                "check that the folder is still there, and its disk mounted",
            ) from error

    async def _place_file(
        self, connection: Connection, name: str, data: memoryview, *, exclusive: bool
    ) -> None:
        temporary = f"{TEMPORARY}/{secrets.token_hex(16)}"
        modified = await self._write(connection, temporary, data)
        moved = False
        try:
            if exclusive:
                await self._link(connection, temporary, name, data)
            else:
                await self._rename(connection, temporary, name)
                moved = True
        finally:
            if not moved:
                await self._remove_part(connection, temporary)
        await self._sync_folder(connection, name.rpartition("/")[0])
        await self._sweep_once(connection, modified)

    async def _write(self, connection: Connection, name: str, data: memoryview) -> int:
        """Write a new file durably; return its time by the server's clock, in seconds."""
        attributes = asyncssh.SFTPAttrs(permissions=_FILE_MODE)
        file = await connection.ask(
            connection.sftp.open(self._path(name), "xb", attributes, block_size=0)
        )

        async def write(at: int, size: int) -> None:
            # Written through the view: the library makes its packet of it in one copy.
            part = cast(bytes, data[at : at + size])
            await connection.ask(file.write(part, at))

        try:
            try:
                await connection.write_blocks(len(data), write)
                with suppress(asyncssh.SFTPOpUnsupported):
                    await connection.ask(file.fsync())
                found = await connection.ask(file.stat())
            finally:
                await self._close_file(connection, file)
            if found.size != len(data):
                raise BackendError(
                    f"{self.location}: {name}: the server kept {found.size} of {len(data)} bytes",
                    "check its disk and its log",
                )
        except BaseException as error:
            # Looked up while the part still takes its room.
            is_full = isinstance(error, asyncssh.SFTPFailure) and await self._is_full(
                connection, len(data)
            )
            await self._remove_part(connection, name)
            if is_full:
                raise full(f"{self.location}: {name}") from error
            raise
        return found.mtime or 0

    async def _remove_part(self, connection: Connection, name: str) -> None:
        if not connection.lost:
            with suppress(asyncssh.Error, OSError):
                await connection.ask(connection.sftp.remove(self._path(name)))

    async def _rename(self, connection: Connection, temporary: str, name: str) -> None:
        old, new = self._path(temporary), self._path(name)
        try:
            await connection.ask(connection.sftp.posix_rename(old, new))
        except asyncssh.SFTPOpUnsupported:
            # A server of the old kind does not replace. Between the two steps there is no object,
            # never half of one.
            if await self._look(connection, name) is not None:
                await connection.ask(connection.sftp.remove(new))
            await connection.ask(connection.sftp.rename(old, new))

    async def _link(
        self, connection: Connection, temporary: str, name: str, data: memoryview
    ) -> None:
        try:
            await connection.ask(connection.sftp.link(self._path(temporary), self._path(name)))
        except TAKEN as error:
            await self._refuse_existing(connection, name, error)
        except asyncssh.SFTPOpUnsupported:
            pass
        else:
            return
        # No links there, as on FAT. A cut in the middle can leave a part here, which only a new
        # repository's `config` could be: it would be told as damaged.
        try:
            await self._write(connection, name, data)
        except TAKEN as error:
            await self._refuse_existing(connection, name, error)
            raise

    async def _refuse_existing(self, connection: Connection, name: str, error: Exception) -> None:
        if await self._look(connection, name) is not None:
            raise ObjectExists(f"{name}: exists already in {self.location}") from error

    async def _make_folders(self, connection: Connection, name: str) -> None:
        """Make the folders that a put needs, each durable in its parent."""
        await self._make_folder(connection, TEMPORARY)
        await self._make_folder(connection, name.rpartition("/")[0])

    async def _make_folder(self, connection: Connection, folder: str) -> None:
        if folder in self._folders:
            return
        if folder:
            await self._make_folder(connection, folder.rpartition("/")[0])
            await self._make_one(connection, self._path(folder))
            await self._sync_folder(connection, folder.rpartition("/")[0])
        elif not await self._find_root(connection):
            if self._root_was_there:
                raise self._root_is_gone()
            await self._make_root(connection)
        else:
            self._root_was_there = True
        self._folders.add(folder)

    async def _make_root(self, connection: Connection) -> None:
        path = self._path("")
        for at, letter in enumerate(path[1:], 1):
            if letter == "/":
                await self._make_one(connection, path[:at])
        await self._make_one(connection, path)
        self._root_was_there = True

    async def _make_one(self, connection: Connection, path: str) -> None:
        sftp = connection.sftp
        attributes = asyncssh.SFTPAttrs(permissions=_FOLDER_MODE)
        try:
            await connection.ask(sftp.mkdir(path, attributes))
        except TAKEN:
            if not await connection.ask(sftp.isdir(path)):
                raise

    async def _sync_folder(self, connection: Connection, folder: str) -> None:
        path = self._path(folder)
        try:
            file = await connection.ask(connection.sftp.open(path, "rb", block_size=0))
            try:
                await connection.ask(file.fsync())
            finally:
                await self._close_file(connection, file)
        except asyncssh.SFTPError as error:
            # OpenSSH opens folders too. Where a server does not, a rename is as durable as it
            # makes it.
            if connection_lost(error):
                raise

    async def _close_file(self, connection: Connection, file: asyncssh.SFTPClientFile) -> None:
        if not connection.lost:
            await connection.ask(file.close())

    async def _is_full(self, connection: Connection, size: int) -> bool:
        try:
            disk = await connection.ask(connection.sftp.statvfs(self._path("")))
        except asyncssh.SFTPError:
            return False
        return disk.bavail * disk.frsize < size or (disk.files > 0 and disk.favail == 0)

    async def _sweep_once(self, connection: Connection, now: int) -> None:
        """Remove what puts that died left behind; ``now`` is the server's time."""
        if self._swept:
            return
        self._swept = True
        # What was put is there by now, whatever becomes of this.
        with suppress(asyncssh.Error, BackendError):
            await self._sweep(connection, now)

    async def _sweep(self, connection: Connection, now: int) -> None:
        for name, found in await self._entries(connection, f"{TEMPORARY}/"):
            if self._is_file(found) and (found.mtime or now) < now - STALE_SECONDS:
                with suppress(asyncssh.SFTPError):
                    await connection.ask(connection.sftp.remove(self._path(name)))

    async def _delete(self, connection: Connection, name: str) -> None:
        try:
            await connection.ask(connection.sftp.remove(self._path(name)))
        except (asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied) as error:
            found = await self._look(connection, name)
            if found is None or found.type == asyncssh.FILEXFER_TYPE_DIRECTORY:
                raise ObjectNotFound(f"{name}: not found in {self.location}") from error
            raise
        await self._sync_folder(connection, name.rpartition("/")[0])


def _stat_of(name: str, found: asyncssh.SFTPAttrs) -> ObjectStat:
    modified_ns = (found.mtime or 0) * 10**9 + (found.mtime_ns or 0)
    return ObjectStat(name, found.size or 0, modified_ns)


async def _read_once(file: asyncssh.SFTPClientFile, size: int, offset: int) -> bytes:
    return await file.read(size, offset)


def _text(filename: str | bytes) -> str:
    return filename if isinstance(filename, str) else filename.decode("utf-8", "surrogateescape")
