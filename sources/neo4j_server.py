"""What the backup asks of a Neo4j server, be it installed on this machine or in a container.

`Neo4jServer` is that interface; the rest is what its implementations share: how `neo4j-admin`'s
answers are read. The texts are those of Neo4j 5 (seen on 5.26.29).
"""

import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from snap.errors import SourceError

OLDEST_VERSION = (5, 0)
"""Neo4j 4 has other commands: `neo4j-admin dump`."""
CLEAN_STDOUT_VERSION = (5, 19)
"""Before it, `dump --to-stdout` writes its progress into the dump (neo4j/neo4j#13397)."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9.-]{2,62}")
_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d [\d:.+-]+ +[A-Z]+ +(?:\[\S+\] *)?")
_NOISE = re.compile(
    r"^(?:Run with '--verbose'|(?:Dump|Load) failed for databases:|Files: \d+/|Done: \d+ |"
    r"Starting (?:dump|load) of|WARNING: Max \d+ open files|\s*$)"
)
_SAID_CHARACTERS = 600
STOP_SECONDS = 180.0
SYSTEM = "system"
"""The database of users, passwords and databases; every server has it."""


class DatabaseInUse(SourceError):
    """A server, or another `neo4j-admin`, holds the database's lock."""


class UncleanShutdown(SourceError):
    """The database has to be recovered, by a start and a clean stop, before it can be dumped."""


class DatabaseMissing(SourceError):
    """There is no database of that name."""


class StoreInfo(NamedTuple):
    """What `neo4j-admin database info` says of one database.

    Attributes:
        in_use: A server has it; then nothing but the name is known.
        recovery_required: It was not closed cleanly, and cannot be dumped.
        store_format: ``record-aligned-1.1`` or the like, empty where not known.
        last_transaction: Number of the last committed one, None where not known. The same
            number as at the last backup: nothing was written since.
    """

    database: str
    in_use: bool
    recovery_required: bool
    store_format: str
    last_transaction: int | None


@dataclass(frozen=True, slots=True)
class Plugin:
    """A file among the server's plugins: a dump does not hold it."""

    name: str
    size_bytes: int
    sha256: str


class ByteStream(Protocol):
    """Bytes from front to back."""

    def read(self, length: int) -> bytes:
        """Return at most ``length`` bytes; none at the end."""
        ...


class DumpStream(ByteStream, Protocol):
    """A dump as `neo4j-admin` writes it, of a program that is still running."""

    def finish(self) -> None:
        """Wait for the program's end, after the last byte was read.

        Success does not prove that the dump is complete (a failed write is not noticed by
        `neo4j-admin`): its archive has to be checked as well.

        Raises:
            DatabaseInUse, UncleanShutdown, DatabaseMissing, SourceError: it failed.
        """
        ...


class ProgramDump:
    """A dump that a program writes.

    ``read`` gives what it wrote; ``wait`` waits for its end, and returns its exit code and the last
    that it said.
    """

    def __init__(
        self,
        database: str,
        read: Callable[[int], bytes],
        wait: Callable[[], tuple[int, str]],
    ) -> None:
        self._database = database
        self._read = read
        self._wait = wait

    def read(self, length: int) -> bytes:
        """Return at most ``length`` bytes; none at the end."""
        return self._read(length)

    def finish(self) -> None:
        """Wait for the program's end; raise what kept it from dumping."""
        code, said = self._wait()
        if code:
            raise explain_admin("dump", self._database, code, said)


class Neo4jServer(Protocol):
    """A server with its databases, whether it runs or not."""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    def version(self) -> str:
        """Return the version of the programs, ``5.26.29``.

        Raises:
            SourceError: they do not run, or are of a Neo4j older than 5.
        """
        ...

    def info(self, database: str) -> StoreInfo:
        """Return the state of one database, read from its files.

        Raises:
            DatabaseMissing, SourceError: there is none, or it cannot be read.
        """
        ...

    def databases(self) -> list[StoreInfo]:
        """Return the states of all databases that have files, ``system`` among them."""
        ...

    def is_running(self) -> bool:
        """Return whether a server has the data folder."""
        ...

    def started_by(self) -> str:
        """Return what has to be given to `start` later, of a server that runs now."""
        ...

    def stop(self, timeout_seconds: float) -> None:
        """Stop the server cleanly; it is gone on return.

        Raises:
            SourceError: it does not stop in time, or something starts it again.
        """
        ...

    def start(self, started_by: str = "") -> None:
        """Start the server; its databases may need some more time.

        Raises:
            SourceError: it does not start; with the last lines of its log.
        """
        ...

    def dump(self, database: str) -> AbstractContextManager[DumpStream]:
        """Start a dump of a database that no server uses; leaving early ends it."""
        ...

    def back_up(self, database: str) -> AbstractContextManager[DumpStream]:
        """Have a running Enterprise server's database backed up online; give the file.

        Nothing of it is left behind. The server is never stopped.

        Raises:
            SourceError: there is no room for it, or it failed: with the program's own words.
        """
        ...

    def load(self, database: str, dump: ByteStream) -> Sequence[str]:
        """Replace a database that no server uses by a dump; return its warnings.

        The old one is deleted before the first byte is read.

        Raises:
            DatabaseInUse, SourceError: it failed; what is there now cannot be used.
        """
        ...


class ConfiguredServer(Neo4jServer, Protocol):
    """A server whose configuration can be read as well."""

    def configuration(self) -> Sequence[tuple[str, bytes]]:
        """Return names and contents of the configuration files, sorted by name."""
        ...

    def plugins(self) -> Sequence[Plugin]:
        """Return the files among the plugins."""
        ...


@dataclass(frozen=True, slots=True)
class Neo4jOptions:
    """What of a server is backed up, and how.

    Attributes:
        kind, name: ``neo4j`` or ``neo4j-docker``; the component's name.
        database: The one beside ``system``; Community serves one.
        url, auth: Where and as whom it is asked what it holds. ``auth`` None: nobody may be asked,
            or no password is needed, as ``is_open`` says.
        system, configuration: Whether these are components as well.
        skip_unchanged: Whether the server goes on where nothing was written since last time.
        offline: Whether Enterprise is stopped for its dumps, as Community has to be.
        databases: Names of components and of databases, if not the usual ones.
    """

    kind: str
    name: str
    database: str
    url: str
    auth: tuple[str, str] | None = None
    is_open: bool = False
    stop_seconds: float = STOP_SECONDS
    system: bool = True
    configuration: bool = True
    skip_unchanged: bool = False
    offline: bool = False
    databases: tuple[tuple[str, str], ...] = ()


def check_database_name(name: str) -> None:
    """Refuse what could not be a name, or would mean several.

    Raises:
        SourceError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise SourceError(
            f"{name!r} is not a Neo4j database's name",
            "names have 3 to 63 letters, digits, dots and dashes; the default one is neo4j",
        )


def parse_version(said: str) -> tuple[int, ...]:
    """Return ``(5, 26, 29)`` from ``5.26.29`` or ``neo4j 5.26.29``.

    Raises:
        SourceError: no version is in it, or one older than 5.
    """
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    if found is None:
        raise SourceError(f"neo4j-admin does not tell its version: {said.strip()[:200]!r}")
    version = tuple(int(part) for part in found.groups() if part is not None)
    if version < OLDEST_VERSION:
        raise SourceError(
            f"Neo4j {found.group()} is too old: snap knows the commands of 5 and later",
            "dump it with --command 'neo4j-admin dump ...'",
        )
    return version


def require_clean_dumps(version: str, place: str) -> None:
    """Refuse a server whose dumps cannot be had as a stream, before it is stopped for them.

    Raises:
        SourceError: it is older than 5.19.
    """
    if parse_version(version)[:2] < CLEAN_STDOUT_VERSION:
        raise SourceError(
            f"{place}: Neo4j {version} writes its progress into the dump that it streams; 5.19 and "
            "later do not. Nothing was stopped",
            "update it within Neo4j 5, or stop it, dump it with --to-path and back up that folder",
        )


def parse_infos(said: str) -> list[StoreInfo]:
    """Read the output of `neo4j-admin database info --format=json`.

    Raises:
        SourceError: it is not what that command prints.
    """
    try:
        start = min(at for at in (said.find("["), said.find("{")) if at >= 0)
        found, _ = json.JSONDecoder().raw_decode(said[start:])
        rows = found if isinstance(found, list) else [found]
        return [_store_info(row) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"neo4j-admin database info is not understood: {said.strip()[:200]!r}"
        ) from error


def _store_info(row: Any) -> StoreInfo:
    in_use = row["inUse"] == "true"
    last = int(row["lastCommittedTransaction"] or -1)
    return StoreInfo(
        database=str(row["databaseName"]),
        in_use=in_use,
        # In use it is always said to be required.
        recovery_required=not in_use and row["recoveryRequired"] == "true",
        store_format=str(row["storeFormat"] or ""),
        last_transaction=last if last >= 0 else None,
    )


def explain_admin(doing: str, database: str, code: int, said: str) -> SourceError:
    """Return the error for a `neo4j-admin` that failed.

    ``doing`` is ``dump``, ``load`` or ``info``; ``said`` what stood on its standard error.
    """
    lowered = said.lower()
    if "is in use" in lowered:
        return DatabaseInUse(
            f"the database {database} is in use",
            "stop the server (and wait for other neo4j-admin commands to end) before",
        )
    if "active logical log" in lowered:
        return UncleanShutdown(
            f"the database {database} was not shut down cleanly, it has to be recovered first",
            "start the server, wait until it is online, and stop it again",
        )
    if "database does not exist" in lowered or "database not found" in lowered:
        return DatabaseMissing(
            f"there is no database {database}", "see the folder data/databases for its right name"
        )
    if "permission" in lowered or "accessdenied" in lowered or "access denied" in lowered:
        hint = "run it as the user that owns Neo4j's data folder, or as root"
    elif "no space left" in lowered:
        hint = "free some space on the disk of Neo4j's data folder"
    elif "not a valid neo4j archive" in lowered:
        hint = "this is not a dump of neo4j-admin"
    else:
        hint = f"run 'neo4j-admin database {doing} {database}' by hand and look at what it says"
    how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    words = essence(said)
    return SourceError(
        f"neo4j-admin database {doing} {database} {how}" + (f": {words}" if words else ""), hint
    )


def essence(said: str) -> str:
    """Return the telling lines of what a program of Neo4j printed, the last ones, as one line."""
    lines: list[str] = []
    for raw in said.splitlines():
        line = _LOG_PREFIX.sub("", raw.strip())
        if not _NOISE.match(line) and line not in lines:
            lines.append(line)
    text = " ".join(lines)
    return text if len(text) <= _SAID_CHARACTERS else "... " + text[-_SAID_CHARACTERS:]


def warnings_of(said: str) -> list[str]:
    """Return what a program of Neo4j printed as warnings about a load that went well."""
    return [
        _LOG_PREFIX.sub("", line.strip())
        for line in said.splitlines()
        if "is not on a supported version" in line
    ]
