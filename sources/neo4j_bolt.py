"""Asking a running Neo4j over Bolt: what it is, what it holds, whether it is ready."""

import base64
import difflib
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snap.errors import SourceError
from snap.repo.clock import SECOND_NS, Clock, system_clock

if TYPE_CHECKING:
    from neo4j import Driver

_CONNECT_SECONDS = 10.0
_QUERY_SECONDS = 300.0
_READY_SECONDS = 300.0
_SLEEP_SECONDS = 0.25
_SYSTEM = "system"
_OURSELVES = "snap-backup"
_BROKEN_STATES = {"offline", "dirty", "quarantined"}

_STATES = """SHOW DATABASES YIELD name, type, requestedStatus, currentStatus, statusMessage,
store, databaseID, lastCommittedTxn"""
_PING = "CALL dbms.components() YIELD name"
"""Unlike most queries, one that `system` answers too."""
_SCHEMES = re.compile(r"(?:bolt|neo4j)(?:\+s|\+ssc)?://[^/]", re.IGNORECASE)


class ServerUnreachable(SourceError):
    """Nobody answers at that address, or not yet."""


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """``version`` as ``5.26.29``; ``edition`` is ``community`` or ``enterprise``."""

    version: str
    edition: str


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """One database as the server sees it.

    Attributes:
        kind: ``standard``, ``system``, ``composite``.
        status: ``online``, ``offline``, ``starting`` ...; ``wanted`` is what it should be.
        message: Why it is not as wanted.
        store: Store format, ``record-aligned-1.1``; empty unless online.
        store_id: What the store has been called since it was made; empty unless online.
        last_transaction: Number of the last committed one, as `StoreInfo` has it when the server
            is stopped; None unless online, or where the server does not tell.
    """

    name: str
    kind: str
    status: str
    wanted: str
    message: str
    store: str
    store_id: str
    last_transaction: int | None


class Neo4jBolt:
    """A connection to one server, made when first needed; close it, or use it with ``with``.

    ``auth`` is (user, password), None where the server asks for none. Not for several threads.
    """

    def __init__(
        self,
        url: str,
        auth: tuple[str, str] | None,
        *,
        clock: Clock = system_clock,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.url = url
        self._auth = auth
        self._clock = clock
        self._sleep = sleep
        self._driver: Driver | None = None

    def __enter__(self) -> "Neo4jBolt":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def version(self) -> ServerVersion:
        """Ask for version and edition.

        Raises:
            ServerUnreachable, SourceError: it does not answer, or not to this password.
        """
        rows = self._ask(_SYSTEM, "CALL dbms.components() YIELD name, versions, edition")
        for row in rows:
            if row["name"] == "Neo4j Kernel":
                return ServerVersion(str(row["versions"][0]), str(row["edition"]))
        raise SourceError(f"{self.url} does not say what it is: {rows!r}")

    def databases(self) -> list[DatabaseState]:
        """Ask for the databases that this user may see, sorted by name."""
        rows = self._ask(_SYSTEM, _STATES)
        return sorted((_state(row) for row in rows), key=lambda state: state.name)

    def last_transaction(self, database: str) -> int | None:
        """Ask for the number of the last committed transaction; None where it is not told.

        It is what `StoreInfo` has of a stopped server: so that an unchanged database need not be
        stopped to find that out. Only Enterprise says it in `databases`; every server says it in
        the bookmark of a query that reads.
        """
        bookmarks: set[str] = set()
        with (
            self._translated(database),
            self._connected().session(database=database, default_access_mode="READ") as session,
        ):
            session.run(_PING).consume()
            bookmarks.update(session.last_bookmarks().raw_values)
        found = [transaction_in(bookmark) for bookmark in bookmarks]
        return found[0] if len(found) == 1 else None

    def statistics(self, database: str) -> dict[str, Any]:
        """Count what a database holds, from the server's own counters: it takes no time.

        ``nodes``, ``relationships``, ``labels`` and ``relationship_types`` (name to count),
        ``indexes`` and ``constraints`` (lists of maps). True to a moment only while nobody writes.

        Raises:
            SourceError: there is no such database (the nearest name is told), or no answer.
        """
        labels = self._names(database, "CALL db.labels() YIELD label RETURN label AS name")
        types = self._names(
            database, "CALL db.relationshipTypes() YIELD relationshipType AS name RETURN name"
        )
        return {
            "nodes": self._count(database, "MATCH (n) RETURN count(n) AS count"),
            "relationships": self._count(database, "MATCH ()-[r]->() RETURN count(r) AS count"),
            "labels": {
                name: self._count(database, f"MATCH (n:{_quoted(name)}) RETURN count(n) AS count")
                for name in labels
            },
            "relationship_types": {
                name: self._count(
                    database, f"MATCH ()-[r:{_quoted(name)}]->() RETURN count(r) AS count"
                )
                for name in types
            },
            "indexes": self._schema(
                database,
                "SHOW INDEXES YIELD name, type, entityType, labelsOrTypes, properties, state",
            ),
            "constraints": self._schema(
                database, "SHOW CONSTRAINTS YIELD name, type, entityType, labelsOrTypes, properties"
            ),
        }

    def clients(self) -> list[str]:
        """Return who is connected, but for us: programs with users and addresses."""
        rows = self._ask(
            _SYSTEM,
            "CALL dbms.listConnections() YIELD username, userAgent, clientAddress "
            "RETURN username, userAgent, clientAddress",
        )
        return sorted(
            f"{row['userAgent']} ({row['username']}, {row['clientAddress']})"
            for row in rows
            if row["userAgent"] != _OURSELVES
        )

    def wait_for_indexes(self, database: str) -> None:
        """Wait until every index is filled.

        Raises:
            SourceError: one cannot be, or not in time.
        """
        self._ask(database, f"CALL db.awaitIndexes({round(_QUERY_SECONDS)})")

    def wait_online(self, database: str, timeout_seconds: float = _READY_SECONDS) -> DatabaseState:
        """Wait until a database of a server that is starting can be asked.

        Raises:
            SourceError: it is not online in time, it cannot come up, or the password is wrong.
        """
        limit_ns = self._clock() + int(timeout_seconds * SECOND_NS)
        while True:
            why = ""
            try:
                state = self._state_of(database)
                if state.status == "online":
                    self._ask(database, _PING)
                    return state
                why = f"the database {database} is {state.status}"
                if state.message:
                    why += f": {state.message}"
                    if state.status in _BROKEN_STATES and state.wanted == "online":
                        raise SourceError(why, "look into the server's debug.log")
            except ServerUnreachable as error:
                why = str(error)
            if self._clock() > limit_ns:
                raise SourceError(
                    f"Neo4j was not ready in {timeout_seconds:.0f} seconds: {why}",
                    "look into the server's neo4j.log and debug.log",
                )
            self._sleep(_SLEEP_SECONDS)

    def _state_of(self, database: str) -> DatabaseState:
        states = self.databases()
        for state in states:
            if state.name == database.lower():
                return state
        raise self._missing(database, states)

    def _missing(self, database: str, states: list[DatabaseState]) -> SourceError:
        names = [state.name for state in states]
        near = difflib.get_close_matches(database.lower(), names, n=1, cutoff=0.5)
        return SourceError(
            f"{self.url} has no database {database}",
            f"did you mean {near[0]}?" if near else f"it has: {', '.join(names)}",
        )

    def _names(self, database: str, query: str) -> list[str]:
        return sorted(str(row["name"]) for row in self._ask(database, query))

    def _count(self, database: str, query: str) -> int:
        return int(self._ask(database, query)[0]["count"])

    def _schema(self, database: str, query: str) -> list[dict[str, Any]]:
        rows = self._ask(database, query)
        return sorted(
            (
                {
                    "name": row["name"],
                    "type": row["type"],
                    "entity": row["entityType"],
                    "on": list(row["labelsOrTypes"] or ()),
                    "properties": list(row["properties"] or ()),
                    **({"state": row["state"]} if "state" in row else {}),
                }
                for row in rows
            ),
            key=lambda entry: str(entry["name"]),
        )

    def _ask(self, database: str, query: str) -> list[Mapping[str, Any]]:
        with self._translated(database):
            import neo4j  # noqa: PLC0415 - only where it is used

            text = neo4j.Query(query, timeout=_QUERY_SECONDS)
            records, _, _ = self._connected().execute_query(
                text, database_=database, routing_=neo4j.RoutingControl.READ
            )
            return [record.data() for record in records]

    def _connected(self) -> "Driver":
        import neo4j  # noqa: PLC0415 - only where it is used

        if not _SCHEMES.match(self.url):
            raise SourceError(
                f"{self.url!r} is not the address of a Neo4j",
                "one looks like bolt://127.0.0.1:7687",
            )
        if self._driver is None:
            # What the driver logs would stand among our own messages; all of it comes as errors.
            logging.getLogger("neo4j").addHandler(logging.NullHandler())
            logging.getLogger("neo4j").propagate = False
            self._driver = neo4j.GraphDatabase.driver(
                self.url,
                auth=self._auth,
                notifications_min_severity="OFF",
                telemetry_disabled=True,
                connection_timeout=_CONNECT_SECONDS,
                connection_acquisition_timeout=_CONNECT_SECONDS,
                max_transaction_retry_time=0.0,
                user_agent=_OURSELVES,
            )
        return self._driver

    @contextmanager
    def _translated(self, database: str) -> Iterator[None]:
        """Turn what the driver raises into errors for people."""
        try:
            from neo4j.exceptions import (  # noqa: PLC0415 - only where it is used
                ConfigurationError,
                DriverError,
                Neo4jError,
                ServiceUnavailable,
                SessionExpired,
                TransientError,
            )
        except ModuleNotFoundError as error:
            raise SourceError(
                "asking Neo4j takes its Python driver", "pip install 'snap-backup[neo4j]'"
            ) from error
        try:
            yield
        except (ServiceUnavailable, SessionExpired) as error:
            raise ServerUnreachable(
                f"nobody answers at {self.url}: {_first_line(error)}",
                "check that the server runs, and its Bolt address (server.bolt.listen_address)",
            ) from error
        except TransientError as error:
            raise ServerUnreachable(f"{self.url}: {error.message}", "try again") from error
        except Neo4jError as error:
            raise self._explain(database, error.code or "", error.message or "") from error
        except (ConfigurationError, DriverError, ValueError) as error:
            raise SourceError(
                f"{self.url}: {_first_line(error)}", "one looks like bolt://127.0.0.1:7687"
            ) from error

    def _explain(self, database: str, code: str, message: str) -> SourceError:
        if code.endswith(".DatabaseNotFound"):
            return self._missing(database, self.databases())
        if code.endswith(".CredentialsExpired"):
            return SourceError(
                f"{self.url}: the password of {self._user} has to be changed first",
                "set one: ALTER CURRENT USER SET PASSWORD FROM 'old' TO 'new'",
            )
        if code.endswith((".Unauthorized", ".AuthenticationRateLimit")):
            return self._explain_auth(code)
        return SourceError(f"{self.url}: {message} ({code})")

    def _explain_auth(self, code: str) -> SourceError:
        if "RateLimit" in code:
            return SourceError(
                f"{self.url}: too many wrong passwords for {self._user}, it is locked for a while",
                "correct the password and wait some seconds",
            )
        if self._auth is None:
            return SourceError(
                f"{self.url} asks for a password, and none was given",
                "give the user and password of Neo4j",
            )
        return SourceError(
            f"{self.url}: wrong user or password for {self._user}",
            "check the password; the first one was set with neo4j-admin dbms set-initial-password",
        )

    @property
    def _user(self) -> str:
        return self._auth[0] if self._auth is not None else "nobody"


def _state(row: Mapping[str, Any]) -> DatabaseState:
    last = row["lastCommittedTxn"]
    return DatabaseState(
        name=str(row["name"]),
        kind=str(row["type"]),
        status=str(row["currentStatus"]),
        wanted=str(row["requestedStatus"]),
        message=str(row["statusMessage"] or ""),
        store=str(row["store"] or ""),
        store_id=str(row["databaseID"] or ""),
        last_transaction=int(last) if last is not None and int(last) >= 0 else None,
    )


def transaction_in(bookmark: str) -> int | None:
    """Return the number of the transaction that a bookmark of Neo4j 5 names, None if unclear.

    ``FB:`` and, in base 64, PackStream: a list of one (16 bytes of database id, number), an empty
    list.
    """
    prefix, _, text = bookmark.partition(":")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None
    if prefix != "FB" or raw[:3] != b"\x91\xcc\x10" or raw[-1:] != b"\x90":
        return None
    number = raw[19:-1]
    if len(number) == 1 and number[0] < 0x80:
        return number[0]
    # Markers C8 to CB: 1, 2, 4, 8 bytes.
    if len(number) > 1 and number[0] == 0xC8 + {2: 0, 3: 1, 5: 2, 9: 3}.get(len(number), 99):
        return int.from_bytes(number[1:], "big", signed=True)
    return None


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
