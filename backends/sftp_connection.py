"""An SSH connection with an SFTP session on it, watched so that no request hangs for ever.

The user's ``~/.ssh/config``, keys, agent and known_hosts are used as ``ssh`` uses them. Nobody is
ever asked for a password, and a host whose key is not known is refused.
"""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
from asyncssh.encryption import get_default_encryption_algs

from .base import BackendError
from .sftp_errors import connecting_failed
from .sftp_place import SftpPlace

_T = TypeVar("_T")
_Transfer = Callable[[int, int], Coroutine[Any, Any, None]]

_FAST_CIPHERS = (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com")
"""Tried before the rest of the library's list, which stays: they cost it half of the others."""

_READS_IN_FLIGHT = 32
_WRITES_IN_FLIGHT = 16
"""Blocks of up to 255 KiB, over all threads. OpenSSH's server takes no more than 2 MiB ahead."""
_WINDOW_BYTES = 8 << 20
"""What the server may send ahead: as much as is asked for. The library's 2 MiB slow a long line."""

_HUNG_UP = (asyncssh.ConnectionLost, ConnectionResetError, BrokenPipeError)
_KEEPALIVE_SECONDS = 15
_KEEPALIVES_MISSED = 4
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
_WATCHES_A_TIMEOUT = 8
_CLOSING_SECONDS = 2.0


class Connection:
    """One connection; once it is `lost`, a new one has to be made.

    Attributes:
        sftp: The session. What is asked of it goes through `ask`.
        block_bytes: The most that the server takes in a read and in a write.
    """

    def __init__(
        self,
        ssh: asyncssh.SSHClientConnection,
        sftp: asyncssh.SFTPClient,
        timeout_seconds: float,
    ) -> None:
        self._ssh = ssh
        self.sftp = sftp
        self._timeout_seconds = timeout_seconds
        self._reads = asyncio.Semaphore(_READS_IN_FLIGHT)
        self._writes = asyncio.Semaphore(_WRITES_IN_FLIGHT)
        self._waiting = 0
        self._lost = False
        self._stalled = False
        self._loop = asyncio.get_running_loop()
        self._answered = self._loop.time()
        self._watch = asyncio.ensure_future(self._watch_answers())

    @property
    def lost(self) -> bool:
        """Return whether nothing can be asked here any more."""
        return self._lost or self._ssh.is_closed()

    @property
    def block_bytes(self) -> int:
        """Return the largest block that can be read and written in one request."""
        return min(self.sftp.limits.max_read_len, self.sftp.limits.max_write_len)

    async def ask(self, request: Awaitable[_T]) -> _T:
        """Return the answer to a request; it is lost with the connection when none comes."""
        if not self._waiting:
            self._answered = self._loop.time()
        self._waiting += 1
        try:
            return await request
        finally:
            self._waiting -= 1
            self._answered = self._loop.time()

    async def scan(self, path: str) -> list[asyncssh.SFTPName]:
        """Return what a folder holds. Each part of a long list counts as an answer."""
        entries = []
        scanned = self.sftp.scandir(path)
        while True:
            try:
                entries.append(await self.ask(anext(scanned)))
            except StopAsyncIteration:
                return entries

    async def read_blocks(self, size: int, read: _Transfer) -> None:
        """Read a whole of ``size`` bytes by calling ``read(offset, length)`` for each block."""
        await self._in_blocks(size, read, self._reads)

    async def write_blocks(self, size: int, write: _Transfer) -> None:
        """Write a whole of ``size`` bytes in the same way."""
        await self._in_blocks(size, write, self._writes)

    async def _in_blocks(self, size: int, transfer: _Transfer, turn: asyncio.Semaphore) -> None:
        """Transfer many blocks at a time; after a failure none is begun."""
        block = self.block_bytes
        starts = deque(range(0, size, block))

        async def work() -> None:
            while starts:
                async with turn:
                    if not starts:
                        return
                    at = starts.popleft()
                    try:
                        await transfer(at, min(block, size - at))
                    except BaseException:
                        starts.clear()
                        raise

        workers = [work() for _ in range(min(_READS_IN_FLIGHT, len(starts)))]
        for result in await asyncio.gather(*workers, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _watch_answers(self) -> None:
        # Not a timeout of each request: behind a slow line, one may wait for many before it.
        while True:
            await asyncio.sleep(self._timeout_seconds / _WATCHES_A_TIMEOUT)
            silent = self._loop.time() - self._answered
            if self._waiting and silent > self._timeout_seconds:
                self._stalled = True
                self.drop()

    def drop(self) -> None:
        """Give the connection up at once; whatever waits for an answer fails."""
        self._lost = True
        self._watch.cancel()
        self._ssh.abort()

    def why(self, error: Exception) -> str:
        """Return in words why the connection was lost."""
        if self._stalled:
            return f"the server did not answer for {self._timeout_seconds:g} seconds"
        return str(error) or type(error).__name__

    async def close(self) -> None:
        """End it in order, or at once where the server does not take part."""
        self._lost = True
        self._watch.cancel()
        self._ssh.close()
        with suppress(Exception):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._ssh.wait_closed()
        self._ssh.abort()


async def connect(
    place: SftpPlace, *, timeout_seconds: float, ssh_config: Path | None
) -> Connection:
    """Connect and log in.

    Raises:
        BackendUnavailable: there is no way through, for now.
        PermissionDenied: none of the keys is accepted.
        BackendError: the host's key is not the known one, or anything else that stays.
    """
    try:
        options = _options(place, timeout_seconds, ssh_config)
        async with asyncio.timeout(timeout_seconds):
            try:
                ssh = await asyncssh.connect(**options)
            except (*_HUNG_UP, asyncssh.KeyExchangeFailed):
                # A server with no key of the kinds that are known hangs up without a word. Asked
                # for any key, it shows the one that it has, which is then checked as ever.
                ssh = await asyncssh.connect(**options, server_host_key_algs="default")
            try:
                sftp = await ssh.start_sftp_client(path_errors="surrogateescape")
            except BaseException:
                ssh.abort()
                raise
    except (asyncssh.Error, OSError, ValueError) as error:
        raise connecting_failed(error, place, timeout_seconds) from error
    return Connection(ssh, sftp, timeout_seconds)


def _options(place: SftpPlace, timeout_seconds: float, ssh_config: Path | None) -> dict[str, Any]:
    """Return what the library is called with; it reads the configuration again by itself."""
    given: dict[str, Any] = {
        "host": place.host,
        "password_auth": False,
        "kbdint_auth": False,
        "connect_timeout": timeout_seconds,
        "login_timeout": timeout_seconds,
        "keepalive_interval": _KEEPALIVE_SECONDS,
        "keepalive_count_max": _KEEPALIVES_MISSED,
        # What is stored is compressed and encrypted: squeezing it again is for nothing.
        "compression_algs": ["none"],
        "window": _WINDOW_BYTES,
    }
    if ssh_config is not None:
        given["config"] = [str(ssh_config)]
    if place.user is not None:
        given["username"] = place.user
    if place.port is not None:
        given["port"] = place.port
    options = asyncssh.SSHClientConnectionOptions(**given)
    given["known_hosts"] = _known_hosts(options, place)
    default = list(get_default_encryption_algs())
    if list(options.encryption_algs) == default:
        fast = [cipher for cipher in _FAST_CIPHERS if cipher in default]
        given["encryption_algs"] = [
            cipher.decode() for cipher in (*fast, *(c for c in default if c not in fast))
        ]
    return given


def _known_hosts(options: asyncssh.SSHClientConnectionOptions, place: SftpPlace) -> Any:
    """Return the files of known keys that are there; the library fails over one that is not."""
    configured = options.known_hosts
    if configured is None:
        # What the library makes of "UserKnownHostsFile none": it would trust every key.
        raise BackendError(
            f"{place.location}: the ssh configuration turns the check of the host's key off",
            "give the host a UserKnownHostsFile that has its key",
        )
    files = list(configured) if isinstance(configured, list) else []
    paths = [Path(str(file)).expanduser() for file in files or ["~/.ssh/known_hosts"]]
    there = [str(p) for p in (*paths, Path(_SYSTEM_KNOWN_HOSTS)) if os.access(p, os.R_OK)]
    return there or b""
