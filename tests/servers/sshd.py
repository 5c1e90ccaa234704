"""OpenSSH's sshd on a loopback port, with keys, known_hosts and an ssh configuration of its own."""

import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .services import free_port, guard, run_checked, unavailable

ALIAS = "snap-test"
"""The host's name in the ssh configuration; it is no name that could be looked up."""
_START_SECONDS = 60
_TRIES = 3
_PROGRAM = "/usr/sbin/sshd"


@dataclass
class Sshd:
    """One server. ``home`` is the client's home folder, with ``.ssh`` in it."""

    folder: Path
    port: int = 0
    options: tuple[str, ...] = ()
    process: "subprocess.Popen[bytes] | None" = None
    _guard: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def config(self) -> Path:
        return self.home / ".ssh/config"

    @property
    def root(self) -> Path:
        """A folder on the server that repositories are made below."""
        return self.folder / "root"

    def url(self, place: str = "store") -> str:
        return f"sftp://{ALIAS}{self.root}/{place}"

    @property
    def user(self) -> str:
        return getpass.getuser()

    def prepare(self) -> None:
        """Make the keys and the folders."""
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True)
        self.root.mkdir()
        self.root.chmod(0o777)
        for path in (self.folder / "host_key", ssh / "id_ed25519"):
            make_key(path)
        shutil.copy(ssh / "id_ed25519.pub", self.folder / "authorized_keys")
        self.known_hosts(ssh / "known_hosts", self.folder / "host_key.pub")

    def known_hosts(self, path: Path, *keys: Path) -> Path:
        """Write a known_hosts that has these keys of the server, and no other."""
        path.write_text("".join(f"{ALIAS} {key.read_text()}" for key in keys))
        return path

    def configure(self, path: Path, *first: str, port: int | None = None) -> Path:
        """Write a configuration of the client; the lines that come first go before its own."""
        ssh = self.home / ".ssh"
        lines = (
            *first,
            "HostName 127.0.0.1",
            f"Port {port or self.port}",
            f"User {self.user}",
            f"HostKeyAlias {ALIAS}",
            f"IdentityFile {ssh}/id_ed25519",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {ssh}/known_hosts",
            "GlobalKnownHostsFile /dev/null",
        )
        path.write_text(f"Host {ALIAS}\n" + "".join(f"  {line}\n" for line in lines))
        return path

    def start(self) -> None:
        """Start it; the client's configuration leads to it afterwards.

        Raises:
            RuntimeError: it does not start.
        """
        for last in (*([False] * (_TRIES - 1)), True):
            self.port = self.port or free_port()
            self._write_server_configuration()
            with (self.folder / "sshd.log").open("ab") as log:
                self.process = subprocess.Popen(
                    [_PROGRAM, "-D", "-e", "-f", str(self.folder / "sshd_config")],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                )
            self._guard = guard('pkill -9 -P "$1"; kill -9 "$1"', str(self.process.pid))
            if self._answers():
                break
            self.stop()
            if last:
                raise RuntimeError((self.folder / "sshd.log").read_text()[-2000:])
            # Somebody else took the port between our choosing it and the server's.
            self.port = 0
        self.configure(self.config)

    def _write_server_configuration(self) -> None:
        # The first line of a keyword counts.
        lines = [
            *self.options,
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder}/host_key",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "MaxStartups 100",
        ]
        if not any(line.startswith("Subsystem ") for line in self.options):
            lines.append("Subsystem sftp internal-sftp")
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def _answers(self) -> bool:
        assert self.process is not None
        ends = time.monotonic() + _START_SECONDS
        scan = ["ssh-keyscan", "-T", "5", "-p", str(self.port), "127.0.0.1"]
        mine = (self.folder / "host_key.pub").read_text().split()[1]
        while time.monotonic() < ends and self.process.poll() is None:
            done = subprocess.run(scan, capture_output=True, text=True, check=False)
            if mine in done.stdout:
                return True
            time.sleep(0.05)
        return False

    def drop_sessions(self) -> int:
        """Kill the server's side of every connection; return how many there were."""
        assert self.process is not None
        children = _children(self.process.pid)
        for child in children:
            # The unprivileged part first: it is what holds the connection.
            for grandchild in _children(child):
                _kill(grandchild)
            _kill(child)
        return len(children)

    def stop(self) -> None:
        """End it with all its connections."""
        if self.process is None:
            return
        self.process.kill()
        # Before its number is free for another process, which the guard would kill.
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
        self.process.wait()
        self.process = self._guard = None


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(word) for word in text.split()]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def make_key(path: Path, kind: str = "ed25519") -> Path:
    """Make a key pair without a passphrase; return the public part's path."""
    run_checked(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)], 60)
    return path.with_name(path.name + ".pub")


@contextmanager
def running_sshd(*options: str) -> Iterator[Sshd]:
    """Run a server with more lines in its configuration; skip where there is none."""
    if not Path(_PROGRAM).exists() or not shutil.which("ssh-keyscan"):
        unavailable("sshd", "openssh-server or openssh-client is not installed")
    if os.getuid() == 0:
        # What Debian's service makes at its start; without it sshd refuses to run.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="snap-sshd-") as name:
        os.chmod(name, 0o755)  # sshd reads authorized_keys as the user who logs in
        server = Sshd(Path(name), options=options)
        server.prepare()
        try:
            server.start()
        except (RuntimeError, OSError) as error:
            unavailable("sshd", f"it does not start: {error}")
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """A server that tests share and leave as it was; each has a repository of its own name."""
    with running_sshd() as server:
        yield server
