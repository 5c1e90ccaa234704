"""Another state of a Neo4j in a container, made in its own volume and exchanged with its data.

Everything is done by one-off containers: by `neo4j-admin`, and for the folders by a shell.
"""

import posixpath
from collections.abc import Sequence
from typing import Protocol

from snap.errors import SourceError, TargetError
from snap.repo.clock import SECOND_NS
from snap.repo.source import Source

from .abandoned import is_abandoned
from .neo4j_conf import Neo4jConf
from .neo4j_exchange import Step, swap_by_renames
from .neo4j_install_stage import CHECK_MEMORY, KEPT_PREFIX, STAGE_PREFIX, not_consistent
from .neo4j_server import (
    ByteStream,
    StoreInfo,
    check_database_name,
    essence,
    explain_admin,
    parse_infos,
    warnings_of,
)

_SETTINGS = "snap-stage.conf"
_IN_USE = "exchanging"
# Arguments: the stage's folders, the live ones, the staged ones, the text of the settings.
_MAKE = """set -eu
mkdir -p "$3" "$4"
mkdir -p -m 700 "$1" "$2"
mkdir -p "$5" "$6"
printf %s "$7" > "$1/snap-stage.conf"
for f in "$1" "$3"; do stat -c %d "$f"; done
for f in "$2" "$4"; do stat -c %d "$f"; done
stat -f -c '%a %S' "$1"
stat -f -c '%a %S' "$2"
"""
# Each with its age in seconds. One may go meanwhile.
_LIST = """for f in "$@"; do
  for g in "$f"/.snap-in-place-*; do
    if [ -d "$g" ] && changed=$(stat -c %Y "$g"); then
      echo "$(($(date +%s) - changed)) $g"
    fi
  done
done
"""
_IDENTIFY = 'for f in "$@"; do stat -c %i "$f" 2>/dev/null || echo -; done'
_RENAME = """set -eu
: > "$1/exchanging"; shift
while [ $# -gt 0 ]; do
  if [ -e "$2" ]; then echo "$2 is there already" >&2; exit 1; fi
  mv -T "$1" "$2"; shift 2
done
if command -v sync >/dev/null; then sync; fi
"""


class Container(Protocol):
    """What runs programs with a container's volumes."""

    @property
    def place(self) -> str:
        """The container's name."""
        ...

    def feed(self, arguments: Sequence[str], data: ByteStream) -> tuple[int, str]:
        """Run `neo4j-admin` with a standard input; return its exit code and what it said."""
        ...

    def run(self, arguments: Sequence[str], program: str = "") -> tuple[int, str, str]:
        """Run `neo4j-admin` or another program to its end: exit code, output, what else it said."""
        ...


class DockerStage:
    """The folders ``.snap-in-place-<token>`` beside the stores and beside the transaction logs."""

    def __init__(self, container: Container, conf: Neo4jConf, token: str) -> None:
        self._container = container
        self._conf = conf
        self._token = token
        self._live = tuple(str(folder) for folder in conf.data_folders())
        self._parents = tuple(str(folder.parent) for folder in conf.data_folders())
        self._stages = tuple(f"{parent}/{STAGE_PREFIX}{token}" for parent in self._parents)
        self._staged = (f"{self._stages[0]}/databases", f"{self._stages[1]}/transactions")
        self._free_bytes = 0

    def make(self) -> None:
        """Make it, in the same volume as the data."""
        self._remove_abandoned()
        settings = (
            f"server.directories.data={self._stages[0]}\n"
            f"server.directories.transaction.logs.root={self._staged[1]}\n"
        )
        said = self._shell(_MAKE, *self._stages, *self._live, *self._staged, settings).split("\n")
        if said[0] != said[1] or said[2] != said[3]:
            raise TargetError(
                f"container {self._container.place} has its databases or its transaction logs in "
                "a volume of their own, where nothing can be made beside them",
                "restore it with --target, stop it, and load the dumps with neo4j-admin",
            )
        frees = [line.split() for line in said[4:6]]
        self._free_bytes = min(int(blocks) * int(size) for blocks, size in frees)

    def _remove_abandoned(self) -> None:
        for line in self._shell(_LIST, *set(self._parents)).splitlines():
            age, folder = line.split(" ", 1)
            if is_abandoned(posixpath.basename(folder), STAGE_PREFIX, int(age) * SECOND_NS):
                self._shell('[ -e "$1/exchanging" ] || rm -rf "$1"', folder)

    def free_bytes(self) -> int:
        """Return what was free in the volumes."""
        return self._free_bytes

    def load(self, database: str, dump: ByteStream) -> Sequence[str]:
        """Load a dump."""
        code, said = self._container.feed(self._arguments("load", "--from-stdin", database), dump)
        if code:
            raise explain_admin("load", database, code, said)
        return warnings_of(said)

    def info(self, database: str) -> StoreInfo:
        """Return its state."""
        code, out, said = self._container.run(self._arguments("info", "--format=json", database))
        if code:
            raise explain_admin("info", database, code, said)
        return parse_infos(out)[0]

    def check(self, database: str) -> None:
        """Run `neo4j-admin database check`."""
        options = [f"--max-off-heap-memory={CHECK_MEMORY}", f"--report-path={self._stages[0]}"]
        code, out, said = self._container.run(self._arguments("check", *options, database))
        if code:
            raise not_consistent(database, said or out)

    def _arguments(self, command: str, *others: str) -> list[str]:
        expand = ["--expand-commands"] if self._conf.has_commands else []
        settings = f"--additional-config={self._stages[0]}/{_SETTINGS}"
        return ["database", command, *expand, settings, *others]

    def folders(self, database: str) -> list[tuple[str, str]]:
        """Return the store's folder and that of the transaction logs, live and staged."""
        check_database_name(database)
        return [
            (f"{live}/{database}", f"{staged}/{database}")
            for live, staged in zip(self._live, self._staged, strict=True)
        ]

    def identify(self, paths: Sequence[str]) -> dict[str, str]:
        """Return inode numbers."""
        said = self._shell(_IDENTIFY, *paths).split()
        return {
            path: "" if inode == "-" else inode for path, inode in zip(paths, said, strict=True)
        }

    def apply(self, steps: Sequence[Step]) -> None:
        """Rename, and exchange by renaming."""
        renames = [
            pair
            for step in steps
            for pair in (swap_by_renames(step) if step.swaps else [(step.source, step.target)])
        ]
        if renames:
            self._shell(_RENAME, self._stages[0], *(name for pair in renames for name in pair))

    def plain_sources(self, database: str, name: str) -> list[Source]:
        """Return none: the files are in a volume."""
        return []

    def remove(self) -> None:
        """Remove the folders."""
        self._shell('rm -rf "$@"', *set(self._stages))

    def keep(self) -> str:
        """Rename the folders."""
        for parent, stage in dict(zip(self._parents, self._stages, strict=True)).items():
            kept = f"{parent}/{KEPT_PREFIX}{self._token}"
            self._shell('[ ! -e "$1" ] || mv -T "$1" "$2"', stage, kept)
        return f"{self._parents[0]}/{KEPT_PREFIX}{self._token} of container {self._container.place}"

    def _shell(self, script: str, *arguments: str) -> str:
        code, out, said = self._container.run(["-c", script, "snap", *arguments], program="sh")
        if code:
            raise SourceError(
                f"container {self._container.place}: its data folder cannot be changed: "
                f"{essence(said)}",
                "is its volume full, or read-only?",
            )
        return out
