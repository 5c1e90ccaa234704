"""Databases of a Neo4j back where they live, for one stop of its server.

The new state is loaded and checked beside the data while the server goes on. Then the server is
stopped, what is there is kept, all folders are exchanged as one step (`neo4j_exchange`), and the
server is started and asked what it holds. Whatever fails after that, the old state goes back.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from snap.errors import IntegrityError, SnapError, SourceError, TargetError
from snap.repo.clock import Clock, system_clock
from snap.repo.source import Source

from .abandoned import own_token
from .neo4j import Neo4jService
from .neo4j_bolt import Neo4jBolt
from .neo4j_downtime import note_started, note_stop
from .neo4j_exchange import (
    BACK,
    FORWARD,
    Exchange,
    StageableServer,
    begin_exchange,
    end_exchange,
    find_exchange,
    put_back,
    put_in_place,
    turn,
)
from .neo4j_outage import Outage
from .neo4j_proof import compare_counts, require_not_older
from .neo4j_server import SYSTEM, Neo4jOptions

_SPARE_BYTES = 64 << 20
Save = Callable[[Sequence[Source]], Sequence[str]]
"""Stores components in one snapshot; returns the names of those that could not be."""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """A database as a snapshot holds it.

    Attributes:
        name: The component's.
        statistics, versions: What was recorded with it.
        size_bytes: The size of its files.
        open_dump: Yields the dump that `neo4j-admin` loads.
    """

    name: str
    database: str
    statistics: Mapping[str, Any]
    versions: Mapping[str, str]
    size_bytes: int
    open_dump: Callable[[], Iterator[bytes | memoryview]]


@dataclass(slots=True)
class ReplacedDatabases:
    """What was done; proofs by component."""

    proofs: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    downtime_ns: int = 0


class Neo4jPlace:
    """A server, whether it runs or not, and the states that its databases are to get."""

    def __init__(
        self,
        server: StageableServer,
        options: Neo4jOptions,
        states: Sequence[DatabaseState],
        *,
        state_folder: Path,
        clock: Clock = system_clock,
    ) -> None:
        self.server = server
        self.options = options
        self.states = states
        self._folder = state_folder
        self._clock = clock
        self._token = own_token()
        self._stage = server.stage(self._token)
        self._result = ReplacedDatabases()
        self._started_by = ""
        self._was_running = False

    def users(self) -> list[str]:
        """Return the clients that are connected, for people; none where that is not known."""
        with suppress(SnapError), self._bolt() as bolt:
            return bolt.clients()
        return []

    def is_running(self) -> bool:
        """Return whether its server will have to be stopped."""
        return self.server.is_running()

    def restore(self, save: Save) -> ReplacedDatabases:
        """Replace the databases; ``save`` keeps what is there in a snapshot.

        Raises:
            SnapError: it could not be done. What was there before is in its place, or, where even
                that failed, the message says where it is.
        """
        self._require_able()
        self._mend()
        kept = False
        try:
            self._stage.make()
            self._prepare()
            self._was_running = self.server.is_running()
            kept = self._replace(save)
        finally:
            if not kept:
                self._stage.remove()
        return self._result

    def _mend(self) -> None:
        try:
            mended = self._outage().mend_last()
        except SourceError as error:
            if find_exchange(self._folder, kind=self.options.kind, place=self.server.place):
                raise
            # A server that cannot come up may be just why this is restored.
            mended = str(error)
        if mended:
            self._result.warnings.append(mended)

    # ------------------------------------------------- while the server goes on

    def _require_able(self) -> None:
        """Find out before anything is touched what would fail later.

        Raises:
            SourceError, TargetError: it would.
        """
        version = self.server.version()
        for state in self.states:
            require_not_older(version, state.versions, state.name)
        if self.options.auth is None and not self.options.is_open:
            raise SourceError(
                f"{self.server.place}: a restore is proven by asking the server, and no password "
                "was given",
                "set NEO4J_PASSWORD",
            )
        if not self.server.is_running():
            return
        try:
            with self._bolt() as bolt:
                bolt.version()
        except SourceError as error:
            hint = error.hint
            if "password" in str(error):
                hint = "set the password that the server has now; if it had another one when the "
                hint += "snapshot was made, stop the server and restore with that one"
            raise SourceError(f"{error}; nothing was changed", hint) from error

    def _prepare(self) -> None:
        """Load and check all databases beside the data."""
        wanted = sum(state.size_bytes for state in self.states) + _SPARE_BYTES
        free = self._stage.free_bytes()
        if free < wanted:
            raise TargetError(
                f"{self.server.place}: the databases take {wanted >> 20} MiB beside the old ones, "
                f"and {free >> 20} MiB are free there; nothing was changed",
                "free some space on the disk of Neo4j's data folder",
            )
        for state in self.states:
            with closing(_Pieces(state.open_dump())) as pieces:
                self._result.warnings += self._stage.load(state.database, pieces)
            self._prove_staged(state)

    def _prove_staged(self, state: DatabaseState) -> None:
        info = self._stage.info(state.database)
        if info.recovery_required:
            raise IntegrityError(
                f"the restored database {state.database} is not one that was closed cleanly"
            )
        for key, found in (
            ("store_format", info.store_format),
            ("last_transaction", info.last_transaction),
        ):
            recorded = state.statistics.get(key)
            if recorded not in (None, "", found):
                raise IntegrityError(
                    f"the restored database {state.database}: {key} is {found!r}, recorded was "
                    f"{recorded!r}",
                    "restore an earlier snapshot",
                )
        self._stage.check(state.database)
        self._result.proofs[state.name] = [
            f"Neo4j's own check ok, transaction {info.last_transaction}"
        ]

    # -------------------------------------------------- while the server stands

    def _replace(self, save: Save) -> bool:
        """Stop, keep, exchange, start, prove. Returns whether the old files are still needed."""
        outage = self._outage()
        old = self._old_services(outage)
        try:
            outage.begin()
            self._started_by = outage.started_by
            is_kept = self._keep(old, save)
            self._require_stopped()
            exchange = begin_exchange(
                self._folder,
                self._stage,
                kind=self.options.kind,
                place=self.server.place,
                token=self._token,
                databases=[state.database for state in self.states],
            )
        except BaseException:
            outage.end()
            raise
        try:
            put_in_place(self._stage, exchange)
            # It might have opened the old folders in between, and would go on writing to them.
            self._require_stopped()
            exchange = turn(self._folder, exchange, FORWARD)
            self._start(outage)
            self._prove()
        except BaseException as error:
            outage.abandon()
            self._undo(exchange, error)
            raise
        self._result.downtime_ns = outage.downtime_ns
        self._result.warnings += outage.warnings
        return self._finish(exchange, is_kept=is_kept)

    def _require_stopped(self) -> None:
        if self.server.is_running():
            raise SourceError(
                f"{self.server.place} was started by something else while its databases were to be "
                "replaced",
                "pause what looks after it (a restart policy, an orchestrator, a watchdog) during "
                "the restore",
            )

    def _finish(self, exchange: Exchange, *, is_kept: bool) -> bool:
        if is_kept:
            self._stage.remove()
        else:
            where = self._stage.keep()
            self._result.warnings.append(
                f"what was there could not be kept in a snapshot; its files are in {where}"
            )
        end_exchange(self._folder, exchange)
        return not is_kept

    def _old_services(self, outage: Outage) -> list[tuple[DatabaseState, Neo4jService]]:
        """Return what backs up each database that is there; it is counted before the stop."""
        services = []
        for state in self.states:
            options = replace(
                self.options,
                databases=((state.name, state.database),),
                configuration=False,
                skip_unchanged=False,
            )
            service = Neo4jService(
                self.server, options, state_folder=self._folder, clock=self._clock, outage=outage
            )
            with suppress(SourceError):
                # Damaged, it is replaced all the same.
                service.look()
            services.append((state, service))
        return services

    def _keep(self, old: Sequence[tuple[DatabaseState, Neo4jService]], save: Save) -> bool:
        """Store what is there; return whether all of it is stored."""
        there = [(state, service) for state, service in old if self._is_there(state)]
        if not there:
            return True
        damaged = save([source for _, service in there for source in service.sources])
        plain: list[Source] = []
        is_kept = True
        for state, _ in there:
            if state.name in damaged:
                files = self._stage.plain_sources(state.database, state.name)
                plain += files
                is_kept = is_kept and bool(files)
        if plain and save(plain):
            raise SourceError(
                f"{self.server.place}: what is there can be kept neither as dumps nor as files; "
                "nothing was changed",
                "look at the warnings above, or move its data away by hand",
            )
        return is_kept

    def _is_there(self, state: DatabaseState) -> bool:
        paths = [live for live, _ in self._stage.folders(state.database)]
        return any(self._stage.identify(paths).values())

    def _start(self, outage: Outage) -> None:
        if self._was_running:
            outage.end()
            return
        self.server.start(self.server.started_by())
        outage.wait_online()
        # Of a run that was killed, whose server could not be started with the old state.
        note_started(self._folder, kind=self.options.kind, place=self.server.place)
        self._result.warnings.append("the server did not run; it was started and goes on")

    def _prove(self) -> None:
        for state in self.states:
            with self._bolt() as bolt:
                bolt.wait_online(state.database)
                if state.database == SYSTEM:
                    proof = "the server takes the password that was given"
                elif "nodes" not in state.statistics:
                    bolt.statistics(state.database)
                    proof = "online; what it held was not counted at the backup"
                else:
                    bolt.wait_for_indexes(state.database)
                    proof = compare_counts(
                        state.database, state.statistics, bolt.statistics(state.database)
                    )
            self._result.proofs[state.name].append(proof)

    def _undo(self, exchange: Exchange, error: BaseException) -> None:
        """Put the old state back and start its server.

        Raises:
            TargetError: always where ``error`` is for people; it says what was done.
        """
        reason = str(error) or "interrupted"
        try:
            if exchange.direction != BACK:
                exchange = turn(self._folder, exchange, BACK)
            if self._was_running:
                note_stop(
                    self._folder,
                    kind=self.options.kind,
                    place=self.server.place,
                    started_by=self._started_by,
                    clock=self._clock,
                )
            if self.server.is_running():
                self.server.stop(self.options.stop_seconds)
            put_back(self._stage, exchange)
        except (SnapError, OSError) as again:
            raise TargetError(
                f"{reason}; and what was there before could not be put back yet: {again}",
                "leave the server stopped; the next 'snap restore' or 'snap backup' of it, or "
                "'snap status --mend', puts it back",
            ) from error
        self._stage.remove()
        end_exchange(self._folder, exchange)
        said = self._start_old()
        if isinstance(error, (SnapError, OSError)):
            raised = TargetError(
                f"{reason}; what was there before is back in its place{said}",
                getattr(error, "hint", ""),
            )
            raise raised from error

    def _start_old(self) -> str:
        if not self._was_running:
            return ""
        try:
            self.server.start(self._started_by)
            note_started(self._folder, kind=self.options.kind, place=self.server.place)
            with self._bolt() as bolt:
                # The database itself may have been what is broken.
                bolt.wait_online(SYSTEM)
        except SnapError as error:
            return f", but its server: {error}"
        return ", and the server is started"

    def _outage(self) -> Outage:
        return Outage(self.server, self.options, self._folder, self._clock)

    def _bolt(self) -> Neo4jBolt:
        return Neo4jBolt(self.options.url, self.options.auth, clock=self._clock)


class _Pieces:
    """An iterator of bytes as something that is read."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, length: int) -> bytes:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = memoryview(piece)
        taken, self._rest = self._rest[:length], self._rest[length:]
        return bytes(taken)

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
