"""Ways to an SSH server other than a key in a file and a straight line: an agent, a jump host."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snap.backends.base import BackendError, PermissionDenied
from snap.backends.sftp import SftpBackend
from snap.backends.sftp_place import SftpPlace
from tests.servers.services import guard, run_checked
from tests.servers.sshd import ALIAS, Sshd, make_key, running_sshd

JUMP = "snap-jump"


@contextmanager
def running_agent(folder: Path) -> Iterator[Path]:
    """Run an ssh-agent without keys; give its socket."""
    socket = folder / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL, start_new_session=True
    )
    watch = guard('kill -9 "$1"', str(process.pid))
    try:
        limit = time.monotonic() + 30
        while not socket.exists():
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.01)
        yield socket
    finally:
        process.send_signal(signal.SIGKILL)
        watch.kill()
        watch.communicate()
        process.wait()


def stores_and_reads(config: Path, folder: Path) -> bool:
    backend = SftpBackend(SftpPlace(ALIAS, str(folder)), ssh_config=config)
    try:
        backend.put("one", b"content")
        return backend.get("one") == b"content"
    finally:
        backend.close()


def test_a_key_that_only_an_agent_has_logs_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_sshd() as server, running_agent(tmp_path) as agent:
        key = tmp_path / "key"
        make_key(key)
        # This one, and no other that the user may have.
        (server.folder / "authorized_keys").write_bytes(key.with_suffix(".pub").read_bytes())
        monkeypatch.setenv("HOME", str(tmp_path))
        config = tmp_path / "config"
        known = server.home / ".ssh/known_hosts"
        config.write_text(
            f"Host {ALIAS}\n  HostName 127.0.0.1\n  Port {server.port}\n  User {server.user}\n"
            f"  HostKeyAlias {ALIAS}\n  UserKnownHostsFile {known}\n"
        )
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        with pytest.raises(PermissionDenied):
            stores_and_reads(config, server.root / "store")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        run_checked(["ssh-add", "-q", str(key)], 60)
        key.unlink()
        assert stores_and_reads(config, server.root / "store")
        # As somebody has it who keeps the socket's place in the configuration.
        monkeypatch.delenv("SSH_AUTH_SOCK")
        config.write_text(config.read_text() + f"  IdentityAgent {agent}\n")
        assert stores_and_reads(config, server.root / "store")


def jump_config(server: Sshd, jump: Sshd, path: Path, known: Path) -> Path:
    server.configure(path, f"ProxyJump {JUMP}")
    ssh = jump.home / ".ssh"
    path.write_text(
        path.read_text() + f"Host {JUMP}\n  HostName 127.0.0.1\n  Port {jump.port}\n"
        f"  User {jump.user}\n  HostKeyAlias {JUMP}\n  IdentityFile {ssh}/id_ed25519\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile /dev/null\n"
    )
    return path


def test_a_jump_host_is_gone_through_and_its_key_is_checked_as_well(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with running_sshd("LogLevel VERBOSE") as jump:
        known = tmp_path / "known"
        known.write_text(f"{JUMP} {(jump.folder / 'host_key.pub').read_text()}")
        config = jump_config(sshd, jump, tmp_path / "config", known)
        folder = sshd.root / os.urandom(4).hex()
        assert stores_and_reads(config, folder)
        assert (folder / "one").read_bytes() == b"content"
        assert "Accepted publickey" in (jump.folder / "sshd.log").read_text()
        make_key(tmp_path / "other")
        known.write_text(f"{JUMP} {(tmp_path / 'other.pub').read_text()}")
        with pytest.raises(BackendError, match="key"):
            stores_and_reads(config, folder)
        jump.stop()
        with pytest.raises(BackendError):
            stores_and_reads(config, folder)
