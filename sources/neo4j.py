"""Neo4j as sources of a snapshot: its databases and its configuration, for one stop of the server.

Community's databases can be dumped only while no server has them. So the server is stopped when
the first dump begins and started when the last one has been read, whatever happens in between; a
note on disk tells of it should this process be killed (`neo4j_downtime`).

Enterprise's server is not stopped: its own online backup is used (`neo4j_online`). That way could
not be tried against a real Enterprise Edition, and every snapshot that was made so says it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from snap.errors import SnapError, SourceError
from snap.repo.clock import Clock, system_clock
from snap.repo.source import (
    Attributes,
    Consistency,
    Entry,
    NodeType,
    Source,
    Unchanged,
    ViewReport,
)

from .neo4j_bolt import Neo4jBolt
from .neo4j_exchange import StageableServer
from .neo4j_online import BACKUP, ENTERPRISE, UNTRIED
from .neo4j_outage import Outage
from .neo4j_server import (
    SYSTEM,
    DatabaseInUse,
    Neo4jOptions,
    StoreInfo,
    UncleanShutdown,
    require_clean_dumps,
)
from .neo4j_view import DumpView, MemoryReader

_COUNTS = ("nodes", "relationships", "labels", "relationship_types")


class Neo4jService:
    """One server, and the sources that share its stop.

    ``previous`` gives the statistics that the last good snapshot recorded for a component.
    ``outage`` is one that another has begun or will begin, and ends.
    """

    def __init__(
        self,
        server: StageableServer,
        options: Neo4jOptions,
        *,
        state_folder: Path,
        previous: Callable[[str], Mapping[str, Any] | None] = lambda _name: None,
        clock: Clock = system_clock,
        outage: Outage | None = None,
    ) -> None:
        self.server = server
        self.options = options
        self._previous = previous
        self._clock = clock
        self._outage = outage or Outage(server, options, state_folder, clock)
        self._ends_outage = outage is None
        self._before: dict[str, _Seen] = {}
        self._looked = False
        self._is_online = False
        self._others_online: list[str] = []
        self._at_rest: dict[str, StoreInfo] = {}
        name = options.name
        names = [(f"{name}-system", SYSTEM)] if options.system else []
        # The one that matters is last: its downtime is that of all.
        usual = (*names, (name, options.database))
        self._databases = [
            _DatabaseSource(self, component, database)
            for component, database in options.databases or usual
        ]
        self._configuration = _ConfigurationSource(self, f"{name}-configuration")
        self._waiting = [source.name for source in self._databases]

    @property
    def sources(self) -> list[Source]:
        """Return the sources in the order in which they are to be stored."""
        return [*self._databases, *([self._configuration] if self.options.configuration else [])]

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Make sure that a server that was stopped is started again when this is left."""
        try:
            yield
        finally:
            if self._ends_outage:
                self._outage.end()

    def mend(self) -> str:
        """Finish what a killed run left of this server; return what was done, for people.

        Raises:
            SnapError: it cannot be finished.
        """
        return self._outage.mend_last()

    def look(self) -> None:
        """Find out, before anything is stopped, whether and what there is to dump."""
        if self._looked:
            return
        if self._ends_outage:
            self._outage.mend_last()
        self.version = self.server.version()
        self._was_running = self.server.is_running()
        if self._was_running and (self.options.auth is not None or self.options.is_open):
            with Neo4jBolt(self.options.url, self.options.auth, clock=self._clock) as bolt:
                self._ask(bolt)
        else:
            self.edition = ""
            require_clean_dumps(self.version, self.server.place)
            for source in self._databases:
                info = self.server.info(source.database)
                self._before[source.database] = _Seen(info.last_transaction, {})
        self._looked = True

    def _ask(self, bolt: Neo4jBolt) -> None:
        self.edition = bolt.version().edition
        # Not where another stops the server, for a restore.
        self._is_online = (
            self.edition == ENTERPRISE and not self.options.offline and self._ends_outage
        )
        formats = {}
        if self._is_online:
            states = bolt.databases()
            formats = {state.name: state.store for state in states}
            self._others_online = [s.name for s in states if s.kind == "standard"]
        else:
            require_clean_dumps(self.version, self.server.place)
        for source in self._databases:
            self._before[source.database] = _Seen(
                bolt.last_transaction(source.database),
                bolt.statistics(source.database) if source.counts else {},
                formats.get(source.database.lower(), ""),
            )

    def unchanged_since(self, source: "_DatabaseSource") -> int | None:
        """Return the last transaction of a database if it is the one that was recorded.

        A database that was restored, or made anew, and written to since may have come to the same
        number: what it holds has to be as much as then, too.
        """
        before = self._previous(source.name)
        seen = self._before[source.database]
        if before is None or before.get("last_transaction") != seen.transaction:
            return None
        if any(seen.statistics.get(what) != before.get(what) for what in _COUNTS):
            return None
        return seen.transaction

    @contextmanager
    def open(self, source: "_DatabaseSource") -> Iterator[DumpView]:
        """Dump one database; the first one stops the server, the last one starts it.

        Of a running Enterprise server it is backed up online instead, and nothing is stopped.
        """
        self.look()
        if self.options.skip_unchanged:
            known = [self.unchanged_since(one) for one in self._databases]
            if None not in known:
                raise Unchanged(
                    f"nothing was written since the last snapshot (transaction "
                    f"{self.unchanged_since(source)})"
                )
        with self._online(source) if self._is_online else self._stopped(source) as view:
            yield view

    @contextmanager
    def _online(self, source: "_DatabaseSource") -> Iterator[DumpView]:
        seen = self._before[source.database]
        try:
            with self.server.back_up(source.database) as artifact:
                point_ns = self._clock()
                if not self._is_still(source.database, seen.transaction):
                    # What was counted is not what the backup has.
                    seen = replace(seen, statistics={})
                told = StoreInfo(
                    source.database,
                    in_use=True,
                    recovery_required=False,
                    store_format=seen.store_format,
                    # Of before the backup, which has it and maybe more: never skipped wrongly.
                    last_transaction=seen.transaction,
                )
                yield DumpView(
                    source.database,
                    artifact,
                    at_end=lambda: self._done_with(source),
                    report=lambda found, warnings: self._report_online(
                        source, {**found, **_recorded(told, seen)}, warnings, point_ns
                    ),
                    artifact=BACKUP,
                )
        finally:
            self._done_with(source)

    def _is_still(self, database: str, transaction: int | None) -> bool:
        """Return whether nothing was written to a running database since a transaction."""
        with (
            suppress(SourceError),
            Neo4jBolt(self.options.url, self.options.auth, clock=self._clock) as bolt,
        ):
            return transaction is not None and bolt.last_transaction(database) == transaction
        return False

    @contextmanager
    def _stopped(self, source: "_DatabaseSource") -> Iterator[DumpView]:
        try:
            self._outage.begin()
            info = self._require_clean(source.database)
            seen = self._before[source.database]
            if seen.transaction != info.last_transaction:
                # Written to between the count and the stop: what was counted is not this moment.
                seen = replace(seen, statistics={})
            with self.server.dump(source.database) as dump:
                yield DumpView(
                    source.database,
                    dump,
                    at_end=lambda: self._done_with(source),
                    report=lambda found, warnings: self._report(
                        source, {**found, **_recorded(info, seen)}, warnings
                    ),
                )
        except DatabaseInUse as error:
            if not self.server.is_running():
                raise
            raise SourceError(
                f"{self.server.place} was started by something else while {source.database} was to "
                "be dumped",
                "pause what looks after it (a restart policy, an orchestrator, a watchdog) during "
                "the backup",
            ) from error
        finally:
            self._done_with(source)

    def _require_clean(self, database: str) -> StoreInfo:
        if not self._at_rest:
            # One program for all databases: each is a Java that starts while the server stands.
            self._at_rest = {info.database: info for info in self.server.databases()}
        info = self._at_rest.get(database) or self.server.info(database)
        if info.recovery_required:
            raise UncleanShutdown(
                f"the database {database} was not shut down cleanly, it has to be recovered first",
                "start the server, wait until it is online, and back it up again",
            )
        return info

    def _done_with(self, source: "_DatabaseSource") -> None:
        if source.name in self._waiting:
            self._waiting.remove(source.name)
        if not self._waiting and self._ends_outage:
            # The programs that dump have ended; what they gave is stored meanwhile.
            self._outage.end_soon()

    def _report(
        self, source: "_DatabaseSource", statistics: Mapping[str, Any], warnings: list[str]
    ) -> ViewReport:
        warnings = self._and_about(source, statistics, warnings)
        if not self._waiting and self._ends_outage:
            try:
                self._outage.end()
            except SnapError as error:
                # The dump is good all the same; `hold` tells it once more, as the run's error.
                warnings = [*warnings, str(error)]
            warnings = [*warnings, *self._outage.warnings]
        return ViewReport(
            consistency=Consistency.QUIESCED,
            point_ns=self.point_ns,
            statistics=statistics,
            versions=self._versions(),
            warnings=warnings,
            downtime_ns=0 if self._waiting else self._outage.downtime_ns,
        )

    def _report_online(
        self,
        source: "_DatabaseSource",
        statistics: Mapping[str, Any],
        warnings: list[str],
        point_ns: int,
    ) -> ViewReport:
        return ViewReport(
            consistency=Consistency.TRANSACTION,
            point_ns=point_ns,
            statistics=statistics,
            versions=self._versions(),
            warnings=[*self._and_about(source, statistics, warnings), UNTRIED],
            downtime_ns=0,
        )

    def _versions(self) -> dict[str, str]:
        return {"neo4j": self.version} | ({"edition": self.edition} if self.edition else {})

    def _and_about(
        self, source: "_DatabaseSource", statistics: Mapping[str, Any], warnings: list[str]
    ) -> list[str]:
        """Return the warnings, and those about what is not in the snapshot, or not known."""
        same = self.unchanged_since(source)
        if same is not None:
            warnings = [*warnings, f"unchanged since the last snapshot (transaction {same})"]
        if self._was_running and "nodes" not in statistics and source.counts:
            warnings = [*warnings, self._why_not_counted()]
        if source.counts and (others := self._others()):
            warnings = [
                *warnings,
                f"not in this snapshot: {', '.join(others)}; back up each with --database NAME",
            ]
        return warnings

    def _others(self) -> list[str]:
        """Return the databases that lie there and are nobody's component."""
        if self.options.databases:
            return []
        known = {SYSTEM, *(source.database for source in self._databases)}
        return sorted({*self._at_rest, *self._others_online} - known)

    @property
    def point_ns(self) -> int:
        """Return the moment of all dumps; now, where none was made."""
        return self._outage.point_ns or self._clock()

    def _why_not_counted(self) -> str:
        if self.options.auth is None and not self.options.is_open:
            return (
                "what it holds was not counted, because no password was given: set NEO4J_PASSWORD"
            )
        until = "while it was backed up" if self._is_online else "until it was stopped"
        return f"what it holds was not counted: it was written to {until}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was found out of a database before its server was stopped, or its backup began."""

    transaction: int | None
    statistics: Mapping[str, Any]
    store_format: str = ""


def _recorded(info: Any, seen: _Seen) -> dict[str, Any]:
    return {
        "store_format": info.store_format,
        "last_transaction": info.last_transaction,
        **seen.statistics,
    }


class _DatabaseSource:
    """One database of a server."""

    can_wait = False

    def __init__(self, service: Neo4jService, name: str, database: str) -> None:
        self._service = service
        self.name = name
        self.database = database
        self.kind = service.options.kind
        self.place = f"{service.server.place}/{database}"
        self.counts = database != SYSTEM

    @contextmanager
    def open(self) -> Iterator[DumpView]:
        """Dump it, with the server stopped, or have Enterprise back it up."""
        with self._service.open(self) as view:
            yield view


class _ConfigurationSource:
    """The configuration files, and which plugins there are: no dump has them."""

    can_wait = False
    kind = "files"

    def __init__(self, service: Neo4jService, name: str) -> None:
        self._service = service
        self.name = name
        self.place = f"{service.server.place}/configuration"

    @contextmanager
    def open(self) -> Iterator["_ConfigurationView"]:
        """Read them."""
        server = self._service.server
        plugins = [
            {"name": p.name, "size_bytes": p.size_bytes, "sha256": p.sha256}
            for p in server.plugins()
        ]
        listed = json.dumps({"plugins": plugins}, indent=2).encode() + b"\n"
        files = [(f"conf/{name}", data) for name, data in server.configuration()]
        yield _ConfigurationView([*files, ("plugins.json", listed)], self._service)


class _ConfigurationView:
    is_sorted = True

    def __init__(self, files: list[tuple[str, bytes]], service: Neo4jService) -> None:
        self._files = files
        self._service = service

    def entries(self) -> Iterator[Entry]:
        folders: set[tuple[bytes, ...]] = set()
        paths = {tuple(name.encode().split(b"/")): data for name, data in self._files}
        for path, data in sorted(paths.items()):
            for depth in range(1, len(path)):
                if path[:depth] not in folders:
                    folders.add(path[:depth])
                    yield Entry(path[:depth], NodeType.DIR, Attributes(0o755))
            yield Entry(
                path,
                NodeType.FILE,
                # Passwords may stand in them.
                Attributes(0o600),
                size_bytes=len(data),
                open=partial(MemoryReader, data),
            )

    def finish(self) -> ViewReport:
        return ViewReport(
            consistency=Consistency.QUIESCED,
            point_ns=self._service.point_ns,
            statistics={"files": [name for name, _ in self._files]},
        )
