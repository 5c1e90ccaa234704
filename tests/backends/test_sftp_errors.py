import errno
import socket

import asyncssh
import pytest

from snap.backends.base import (
    BackendError,
    BackendUnavailable,
    ObjectNotFound,
    PermissionDenied,
    StorageFull,
)
from snap.backends.sftp_errors import connecting_failed, connection_lost, request_failed
from snap.backends.sftp_place import SftpPlace

PLACE = SftpPlace("host", "/x")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), BackendUnavailable),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), BackendUnavailable),
        (OSError(errno.EHOSTUNREACH, "x"), BackendUnavailable),
        (OSError("several at once"), BackendUnavailable),
        (socket.gaierror(socket.EAI_AGAIN, "x"), BackendUnavailable),
        (socket.gaierror(socket.EAI_NONAME, "x"), BackendError),
        (FileNotFoundError(errno.ENOENT, "x"), BackendError),
        (asyncssh.ConnectionLost("x"), BackendUnavailable),
        (asyncssh.SFTPConnectionLost("x"), BackendUnavailable),
        (asyncssh.HostKeyNotVerifiable("x"), BackendError),
        (asyncssh.KeyExchangeFailed("x"), BackendError),
        (asyncssh.PermissionDenied("x"), PermissionDenied),
        (asyncssh.ChannelOpenError(1, "x"), BackendError),
        (asyncssh.SFTPBadMessage("x"), BackendError),
        (ValueError("x"), BackendError),
    ],
)
def test_why_no_connection_came_about(error: Exception, kind: type[BackendError]) -> None:
    meaning = connecting_failed(error, PLACE, 60)
    assert type(meaning) is kind
    assert meaning.hint


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncssh.SFTPNoSuchFile("x"), ObjectNotFound),
        (asyncssh.SFTPNotADirectory("x"), ObjectNotFound),
        (asyncssh.SFTPPermissionDenied("x"), PermissionDenied),
        (asyncssh.SFTPWriteProtect("x"), PermissionDenied),
        (asyncssh.SFTPQuotaExceeded("x"), StorageFull),
        (asyncssh.SFTPFailure("x"), BackendError),
    ],
)
def test_what_a_server_answers(error: Exception, kind: type[BackendError]) -> None:
    assert not connection_lost(error)
    assert type(request_failed(error, "a", PLACE.location)) is kind


@pytest.mark.parametrize(
    "error",
    [
        asyncssh.SFTPConnectionLost("x"),
        asyncssh.SFTPNoConnection("x"),
        asyncssh.ConnectionLost("x"),
        BrokenPipeError(),
    ],
)
def test_what_is_the_connections_fault(error: Exception) -> None:
    assert connection_lost(error)
