"""Keys, known hosts and configurations that are wrong; and what a connection asks for."""

import asyncio
from pathlib import Path

import pytest

from snap.backends.base import BackendError, BackendUnavailable, PermissionDenied
from snap.backends.sftp_connection import connect
from snap.backends.sftp_place import SftpPlace
from tests.servers.sshd import ALIAS, Sshd, make_key, running_sshd

from .test_sftp import folder_of, opened


def refused(sshd: Sshd, tmp_path: Path, *lines: str) -> BackendError:
    """Return how a client with these lines in its configuration fails: for good."""
    store = opened(sshd, config=sshd.configure(tmp_path / "config", *lines))
    with pytest.raises(BackendError) as caught:
        store.put("a", b"x")
    store.close()
    assert not isinstance(caught.value, BackendUnavailable)
    assert caught.value.hint
    assert not folder_of(store).exists()
    return caught.value


@pytest.mark.parametrize("kind", ["unknown", "ed25519", "rsa"])
def test_a_host_key_that_is_not_the_known_one_is_refused(
    sshd: Sshd, tmp_path: Path, kind: str
) -> None:
    keys = [] if kind == "unknown" else [make_key(tmp_path / "other", kind)]
    known = sshd.known_hosts(tmp_path / "known_hosts", *keys)
    error = refused(sshd, tmp_path, f"UserKnownHostsFile {known}")
    assert "key" in str(error)
    assert "ssh " in error.hint


def test_the_check_of_the_host_key_cannot_be_turned_off(sshd: Sshd, tmp_path: Path) -> None:
    none = sshd.known_hosts(tmp_path / "known_hosts")
    for lines in (
        ("StrictHostKeyChecking no", f"UserKnownHostsFile {none}"),
        ("UserKnownHostsFile none",),
        (f"UserKnownHostsFile {tmp_path}/nothing",),
    ):
        assert "key" in str(refused(sshd, tmp_path, *lines))


def test_a_key_that_the_server_does_not_know_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    # A configuration may name several keys: the right one must not be among them.
    config = sshd.configure(tmp_path / "config")
    text = config.read_text().replace(f"{sshd.home}/.ssh/id_ed25519", f"{tmp_path}/stranger")
    config.write_text(text)
    store = opened(sshd, config=config)
    with pytest.raises(PermissionDenied) as caught:
        store.put("a", b"x")
    assert "ssh" in caught.value.hint
    store.close()


def test_a_host_that_does_not_exist_and_a_configuration_that_is_broken(
    sshd: Sshd, tmp_path: Path
) -> None:
    refused(sshd, tmp_path, "HostName no-such-host.invalid")
    refused(sshd, tmp_path, "Port many")
    refused(sshd, tmp_path, "ProxyCommand /nowhere/to/be/found")


def test_a_server_without_sftp_says_so(tmp_path: Path) -> None:
    with running_sshd("Subsystem other /bin/false") as server:
        # Its own line for sftp is left out where there is one for a subsystem.
        error = refused(server, tmp_path)
        assert "SFTP" in error.hint


@pytest.mark.parametrize(
    ("lines", "cipher"),
    [((), "aes128-gcm@openssh.com"), (("Ciphers aes256-ctr",), "aes256-ctr")],
)
def test_a_fast_cipher_is_asked_for_first_and_the_users_choice_counts(
    sshd: Sshd, tmp_path: Path, lines: tuple[str, ...], cipher: str
) -> None:
    config = sshd.configure(tmp_path / "config", *lines)

    async def chosen() -> object:
        connection = await connect(
            SftpPlace(ALIAS, str(sshd.root)), timeout_seconds=60, ssh_config=config
        )
        try:
            return connection._ssh.get_extra_info("send_cipher")
        finally:
            await connection.close()

    assert asyncio.run(chosen()) == cipher
