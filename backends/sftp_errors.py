"""What the errors of an SSH connection and of an SFTP server mean."""

import errno
import os
import socket

import asyncssh

from .base import (
    BackendError,
    BackendUnavailable,
    ObjectNotFound,
    PermissionDenied,
    StorageFull,
)
from .sftp_place import SftpPlace

NO_SUCH = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPNotADirectory)

TAKEN = (asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied, asyncssh.SFTPFileAlreadyExists)
"""What servers answer, by their kind and version, where a name is taken; and to much else."""

_CHECK_SERVER = "check that the server is up and reachable"
_CHECK_CONFIGURATION = "check ~/.ssh/config and what it names"
_TO_STAY = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EINVAL})
"""What the system says of a file or program on this side, not of the way to the server."""
_NO_SUCH_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def connecting_failed(error: Exception, place: SftpPlace, timeout_seconds: float) -> BackendError:
    """Return what it means that no connection came about."""
    where = place.location
    if isinstance(error, TimeoutError):
        return BackendUnavailable(
            f"{where}: no connection within {timeout_seconds:g} seconds", _CHECK_SERVER
        )
    if isinstance(error, asyncssh.Error | ValueError):
        return _refused(error, place)
    if isinstance(error, socket.gaierror):
        kind = BackendError if error.errno in _NO_SUCH_HOST else BackendUnavailable
        return kind(f"{where}: the host's name is not known", "check how the host is written")
    if isinstance(error, OSError) and error.errno in _TO_STAY:
        return BackendError(f"{where}: {error}", _CHECK_CONFIGURATION)
    code = getattr(error, "errno", None)
    reason = os.strerror(code) if code else str(error)
    return BackendUnavailable(f"{where}: {reason}", _CHECK_SERVER)


def _refused(error: Exception, place: SftpPlace) -> BackendError:
    host = f"{place.user}@{place.host}" if place.user else place.host
    where, ssh = place.location, f"ssh -p {place.port} {host}" if place.port else f"ssh {host}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return BackendError(
            f"{where}: the host's key is unknown, or not the one that is known",
            f"connect once with '{ssh}' and compare the key with the server's own; where one "
            "was known, find out why it changed before you remove it with 'ssh-keygen -R'",
        )
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return BackendError(
            f"{where}: {error}",
            f"see what '{ssh} -v' says; the host may have another kind of key than is known",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return PermissionDenied(
            f"{where}: the server accepts none of the keys",
            f"check that '{ssh}' works without a password: a key in ~/.ssh, or an agent",
        )
    if isinstance(error, asyncssh.DisconnectError | asyncssh.SFTPConnectionLost):
        return lost(where, str(error))
    hint = _CHECK_CONFIGURATION
    if isinstance(error, asyncssh.ChannelOpenError | asyncssh.SFTPError):
        hint = "check that the server offers SFTP to this user"
    return BackendError(f"{where}: {error}", hint)


def connection_lost(error: Exception) -> bool:
    """Return whether an error is the connection's, not an answer of the server."""
    if isinstance(error, asyncssh.SFTPError):
        return isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection)
    return not isinstance(error, asyncssh.ChannelOpenError)


def lost(where: str, why: str) -> BackendUnavailable:
    """Return what a lost connection means: that it may be tried again."""
    return BackendUnavailable(f"{where}: the connection was lost: {why}", _CHECK_SERVER)


def full(where: str, reason: str = "no space left on the server") -> StorageFull:
    """Return what it means that there is no room."""
    return StorageFull(
        f"{where}: {reason}", "free some space there; nothing that was stored is lost"
    )


def request_failed(error: Exception, name: str, location: str) -> BackendError:
    """Return what a server's answer to a request for an object means."""
    where = f"{location}: {name}" if name else location
    if isinstance(error, NO_SUCH):
        return ObjectNotFound(f"{name}: not found in {location}")
    if isinstance(error, asyncssh.SFTPPermissionDenied | asyncssh.SFTPWriteProtect):
        return PermissionDenied(
            f"{where}: {error}", "check the owner and mode of the folder on the server"
        )
    if isinstance(error, asyncssh.SFTPNoSpaceOnFilesystem | asyncssh.SFTPQuotaExceeded):
        return full(where, str(error))
    return BackendError(f"{where}: the server answers: {error}", "its own log may say more")
