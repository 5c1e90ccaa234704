"""The contract on a real sshd, and what is particular to SFTP."""

import secrets
from collections.abc import Iterator

import pytest

from snap.backends.base import Backend
from snap.backends.sftp import SftpBackend
from snap.backends.sftp_place import SftpPlace
from tests.servers.sshd import ALIAS, Sshd

from .contract import BackendContract


def opened(server: Sshd, place: str = "", timeout_seconds: float = 60) -> SftpBackend:
    path = f"{server.root}/{place or secrets.token_hex(4)}"
    return SftpBackend(
        SftpPlace(ALIAS, path), timeout_seconds=timeout_seconds, ssh_config=server.config
    )


class TestSftp(BackendContract):
    @pytest.fixture
    def backend(self, sshd: Sshd) -> Iterator[Backend]:
        backend = opened(sshd, f"{secrets.token_hex(4)}/new/store")
        yield backend
        backend.close()
