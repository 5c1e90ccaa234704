"""Neo4j's configuration, as far as a backup has to know it: folders, the Bolt port, names."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from snap.errors import SourceError

_BOLT_PORT = 7687
_BACKUP_PORT = 6362
_EVERYWHERE = {"", "0.0.0.0", "::", "[::]"}
_SETTING = re.compile(r"^\s*([A-Za-z0-9_.-]+)\s*=\s*(.*?)\s*$")
_FOLDERS = {
    "data": "data",
    "logs": "logs",
    "run": "run",
    "plugins": "plugins",
    "certificates": "certificates",
    "licenses": "licenses",
    "import": "import",
}


@dataclass(frozen=True)
class Neo4jConf:
    """The settings of one neo4j.conf; ``home`` is what its relative paths start from."""

    home: Path
    settings: Mapping[str, str]

    @classmethod
    def read(cls, home: Path, folder: Path) -> "Neo4jConf":
        """Read ``neo4j.conf`` of a folder; without one, everything is as Neo4j sets it.

        Raises:
            SourceError: it cannot be read.
        """
        path = folder / "neo4j.conf"
        try:
            text = path.read_text(errors="surrogateescape")
        except FileNotFoundError:
            text = ""
        except OSError as error:
            raise SourceError(
                f"{path}: {error.strerror}", "run snap as Neo4j's user, or as root"
            ) from error
        return cls(home, parse_settings(text))

    @classmethod
    def among(cls, files: Iterable[tuple[str, bytes]], home: str) -> "Neo4jConf":
        """Find it among configuration files, of which names and contents are given."""
        text = dict(files).get("neo4j.conf", b"").decode("utf-8", "surrogateescape")
        return cls(Path(home), parse_settings(text))

    @property
    def has_commands(self) -> bool:
        """Whether values are made by commands, which Neo4j runs only with --expand-commands."""
        return any(value.startswith("$(") for value in self.settings.values())

    def folder(self, name: str) -> Path:
        """Return where ``data``, ``logs``, ``run``, ``plugins``, ``certificates`` ... are.

        Raises:
            SourceError: a command in the configuration makes the path.
        """
        value = self.settings.get(f"server.directories.{name}", _FOLDERS[name])
        if value.startswith("$("):
            raise SourceError(
                f"server.directories.{name} in neo4j.conf is made by a command: {value}",
                "snap runs no commands of a configuration: write the path itself",
            )
        return self.home / value

    def data_folders(self) -> tuple[Path, Path]:
        """Return the folders that hold all databases, and all their transaction logs."""
        data = self.folder("data")
        logs = self.settings.get("server.directories.transaction.logs.root", "")
        return data / "databases", self.home / logs if logs else data / "transactions"

    @property
    def default_database(self) -> str:
        """The one that a Community server serves beside ``system``."""
        return self.settings.get("initial.dbms.default_database", "neo4j")

    @property
    def is_auth_enabled(self) -> bool:
        """Whether a password is asked for."""
        return self.settings.get("dbms.security.auth_enabled", "true").lower() != "false"

    @property
    def bolt_url(self) -> str:
        """Where a client on this machine reaches the server."""
        host, port = _split(self.settings.get("server.default_listen_address", "localhost"))
        own_host, own_port = _split(self.settings.get("server.bolt.listen_address", ""))
        host, port = own_host or host, own_port or port or _BOLT_PORT
        return f"bolt://{'127.0.0.1' if host in _EVERYWHERE else host}:{port}"

    @property
    def backup_address(self) -> str:
        """Where Enterprise's backup service is reached from the server's own machine.

        Raises:
            SourceError: a command in the configuration makes the address.
        """
        value = self.settings.get("server.backup.listen_address", "")
        if value.startswith("$("):
            raise SourceError(
                f"server.backup.listen_address in neo4j.conf is made by a command: {value}",
                "snap runs no commands of a configuration: write the address itself",
            )
        host, port = _split(value)
        return f"{'127.0.0.1' if host in _EVERYWHERE else host}:{port or _BACKUP_PORT}"


def parse_settings(text: str) -> dict[str, str]:
    """Return the settings of a configuration file, comments left out."""
    found = {}
    for line in text.splitlines():
        setting = _SETTING.match(line)
        if setting:
            found[setting.group(1)] = setting.group(2)
    return found


def _split(address: str) -> tuple[str, int | None]:
    """Split ``host:port``, ``:port``, ``[::1]:port`` and ``host``."""
    host, colon, port = address.strip().rpartition(":")
    if not colon or not port.isdigit():
        return address.strip(), None
    return host, int(port)
