"""Neo4j Enterprise's own backup of a database that its server goes on serving.

`neo4j-admin database backup` of Neo4j 5 asks the server's backup service and writes one file,
``<database>-<time>.backup``. Written from Neo4j's documentation: no Enterprise Edition could be had
to try it, only the refusal of Community's program.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snap.errors import SourceError

from .neo4j_admin import Account, AdminProgram
from .neo4j_conf import Neo4jConf
from .neo4j_server import SYSTEM, ByteStream, DumpStream, essence
from .spool import spool_folder

ENTERPRISE = "enterprise"
"""What such a server says its edition is."""
BACKUP = "backup"
"""What its file is called behind the dot, and what `statistics["artifact"]` says of it."""
UNTRIED = (
    "taken online from Enterprise Edition, a way that snap's authors could not test: restore it "
    "once to be sure"
)
PROGRAM_SECONDS = 7 * 86400.0
"""A backup takes as long as it takes."""
_COPIES = 2
"""The program copies the store, and packs the copy."""
ROOM_HINT = (
    "free some space on the disk of Neo4j's data folder: the backup lies there while it is stored; "
    "or have the server stopped for a dump, which takes none: --offline"
)
_ARTIFACT = re.compile(r"(.+)-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.backup")


def backup_arguments(
    database: str, *, address: str, folder: str, expand_commands: bool
) -> list[str]:
    """Return what `neo4j-admin` is told, to put a whole backup of one database into a folder."""
    expand = ["--expand-commands"] if expand_commands else []
    # Users and roles are inside `system`, for which the option is refused.
    metadata = [] if database == SYSTEM else ["--include-metadata=all"]
    return [
        "database",
        "backup",
        *expand,
        "--type=FULL",
        # Compressed, it would have nothing in common with the one of the day before.
        "--compress=false",
        *metadata,
        f"--from={address}",
        f"--to-path={folder}",
        database,
    ]


def artifact_in(names: Iterable[str], database: str) -> str:
    """Return which of the names in a folder is the backup of a database.

    Raises:
        SourceError: none is, or several are.
    """
    found = []
    for name in names:
        parts = _ARTIFACT.fullmatch(name)
        if parts and parts.group(1).lower() == database.lower():
            found.append(name)
    if len(found) != 1:
        raise SourceError(
            f"neo4j-admin database backup {database} ended well and left {len(found)} backups",
            "run it by hand and look at what it writes, or stop the server for a dump: --offline",
        )
    return found[0]


def explain_backup(database: str, code: int, said: str) -> SourceError:
    """Return the error for a backup that failed; ``said`` is what the program printed."""
    how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    words = essence(said)
    lowered = words.lower()
    if "license" in lowered or "licence" in lowered:
        hint = "accept Neo4j's licence for neo4j-admin as for the server"
    elif "unmatched argument" in lowered or "unknown option" in lowered:
        hint = "is neo4j-admin that of the Enterprise server that runs?"
    elif "no space left" in lowered:
        hint = "free some space on the disk of Neo4j's data folder"
    else:
        hint = (
            "see server.backup.enabled and server.backup.listen_address in neo4j.conf: the "
            "server's backup service has to be on"
        )
    return SourceError(
        f"neo4j-admin database backup {database} {how}" + (f": {words}" if words else ""),
        f"{hint}; or have the server stopped for a dump: --offline",
    )


def room_for(size_bytes: int) -> int:
    """Return what a backup of a database of this size takes while it is made."""
    return _COPIES * size_bytes


@contextmanager
def back_up_beside_data(
    conf: Neo4jConf, admin: AdminProgram, account: Account | None, database: str
) -> Iterator[DumpStream]:
    """Have a backup made in a folder beside the data, give it, and remove it.

    There, since the program runs as the data's owner, who cannot enter a cache of root's.

    Raises:
        SourceError: there is no room, or the program fails: with its own words.
    """
    size_bytes = sum(map(_size_of, (folder / database.lower() for folder in conf.data_folders())))
    data = conf.folder("data")
    with spool_folder(data, room_for(size_bytes), data / "databases", ROOM_HINT) as folder:
        if account is not None:
            os.chown(folder, *account)
        arguments = backup_arguments(
            database,
            address=conf.backup_address,
            folder=str(folder),
            expand_commands=conf.has_commands,
        )
        ended = admin.run(arguments, PROGRAM_SECONDS)
        if ended.code:
            raise explain_backup(database, ended.code, ended.stdout + ended.stderr)
        name = artifact_in(os.listdir(folder), database)
        with (folder / name).open("rb") as file:
            yield Artifact(file)


def _size_of(folder: Path) -> int:
    size_bytes = 0
    for path in folder.rglob("*"):
        # The server removes logs that it needs no more.
        with suppress(FileNotFoundError):
            size_bytes += path.stat().st_size
    return size_bytes


class Artifact:
    """A backup that lies there whole: its program has ended."""

    def __init__(self, file: ByteStream) -> None:
        self._file = file

    def read(self, length: int) -> bytes:
        """Return at most ``length`` bytes; none at the end."""
        return self._file.read(length)

    def finish(self) -> None:
        """Do nothing: what is wrong was told before it was given."""
