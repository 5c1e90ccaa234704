"""An SSH connection with an SFTP session on it, watched so that no request hangs for ever.

The user's ``~/.ssh/config``, keys, agent and known_hosts are used as ``ssh`` uses them. Nobody is
ever asked for a password, and a host whose key is not known is refused.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .base import BackendError, BackendUnavailable, PermissionDenied

if TYPE_CHECKING:
    import asyncssh

_T = TypeVar("_T")

_FAST_CIPHERS = (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com")
"""Tried before the rest of the library's list, which stays: they cost it half of the others."""

_KEEPALIVE_SECONDS = 15
_KEEPALIVES_MISSED = 4
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
_WATCHES_A_TIMEOUT = 8
_CLOSING_SECONDS = 2.0

_NOT_FOR_NOW = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EINVAL})
_NO_SUCH_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


@dataclass(frozen=True, slots=True)
class SftpPlace:
    """A folder on a server.

    Attributes:
        host: A name, an address, or a ``Host`` of the ssh configuration.
        path: From the server's root, or from the user's home where it does not begin with ``/``.
        user: None leaves it to the ssh configuration.
        port: The same.
    """

    host: str
    path: str
    user: str | None = None
    port: int | None = None

    @property
    def location(self) -> str:
        """Return it as people wrote it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        path = self.path if self.path.startswith("/") else f"/~/{self.path}"
        return f"sftp://{user}{host}{port}{path}"


class Connection:
    """One connection; once it is `lost`, a new one has to be made.

    Attributes:
        sftp: The session. What is asked of it goes through `ask`.
        block_bytes: The most that the server takes in a read and in a write.
    """

    def __init__(
        self,
        ssh: "asyncssh.SSHClientConnection",
        sftp: "asyncssh.SFTPClient",
        timeout_seconds: float,
    ) -> None:
        self._ssh = ssh
        self.sftp = sftp
        self._timeout_seconds = timeout_seconds
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
    import asyncssh  # noqa: PLC0415 - an extra, and slow to load

    try:
        options = _options(place, timeout_seconds, ssh_config)
        async with asyncio.timeout(timeout_seconds):
            ssh = await asyncssh.connect(options.host, options.port, options=options)
            try:
                sftp = await ssh.start_sftp_client()
            except BaseException:
                ssh.abort()
                raise
    except (asyncssh.Error, OSError, ValueError) as error:
        raise _meaning(error, place, timeout_seconds) from error
    return Connection(ssh, sftp, timeout_seconds)


def _options(
    place: SftpPlace, timeout_seconds: float, ssh_config: Path | None
) -> "asyncssh.SSHClientConnectionOptions":
    import asyncssh  # noqa: PLC0415 - as above
    from asyncssh.encryption import get_default_encryption_algs  # noqa: PLC0415 - as above

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
    }
    if ssh_config is not None:
        given["config"] = [str(ssh_config)]
    if place.user is not None:
        given["username"] = place.user
    if place.port is not None:
        given["port"] = place.port
    options = asyncssh.SSHClientConnectionOptions(**given)
    changes: dict[str, Any] = {"known_hosts": _known_hosts(options, place)}
    default = list(get_default_encryption_algs())
    if list(options.encryption_algs) == default:
        fast = [cipher for cipher in _FAST_CIPHERS if cipher in default]
        changes["encryption_algs"] = [
            cipher.decode() for cipher in (*fast, *(c for c in default if c not in fast))
        ]
    return asyncssh.SSHClientConnectionOptions(options, **changes)


def _known_hosts(options: "asyncssh.SSHClientConnectionOptions", place: SftpPlace) -> Any:
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


def _meaning(error: Exception, place: SftpPlace, timeout_seconds: float) -> BackendError:
    """Return what it means that no connection came about."""
    import asyncssh  # noqa: PLC0415 - as above

    where, host = place.location, place.host
    if isinstance(error, TimeoutError):
        return BackendUnavailable(
            f"{where}: no connection within {timeout_seconds:g} seconds",
            "check that the server is up and reachable",
        )
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return BackendError(
            f"{where}: the host's key is unknown, or not the one that is known",
            f"connect once with 'ssh {host}' and compare the key with the server's own; where one "
            "was known, find out why it changed before you remove it with 'ssh-keygen -R'",
        )
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return BackendError(
            f"{where}: {error}",
            f"see what 'ssh -v {host}' says; the host may have another kind of key than is known",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return PermissionDenied(
            f"{where}: the server accepts none of the keys",
            f"check that 'ssh {host}' works without a password: a key in ~/.ssh, or an agent",
        )
    if isinstance(error, asyncssh.ChannelOpenError | asyncssh.SFTPError):
        return BackendError(
            f"{where}: no SFTP there: {error}", "check that the server offers SFTP to this user"
        )
    if isinstance(error, socket.gaierror):
        kind = BackendError if error.errno in _NO_SUCH_HOST else BackendUnavailable
        return kind(f"{where}: the host's name is not known", "check how the host is written")
    if isinstance(error, ValueError | asyncssh.ConfigParseError | asyncssh.KeyImportError):
        return BackendError(f"{where}: {error}", "check ~/.ssh/config and the keys that it names")
    if isinstance(error, OSError) and error.errno in _NOT_FOR_NOW:
        return BackendError(f"{where}: {error}", "check ~/.ssh/config and what it names")
    return BackendUnavailable(f"{where}: {error}", "check that the server is up and reachable")
