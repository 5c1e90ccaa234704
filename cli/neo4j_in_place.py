"""Neo4j's part of ``snap restore --in-place``: all databases of a server for one stop of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from snap.errors import SnapError, SourceError
from snap.repo.clock import SECOND_NS
from snap.repo.repository import Repository
from snap.repo.snapshot import FAILED, SUCCESS, Component, Snapshot
from snap.repo.source import Source
from snap.sources.neo4j_in_place import DatabaseState, Neo4jPlace
from snap.sources.neo4j_place import neo4j_service
from snap.sources.neo4j_restore import is_backup, is_dump
from snap.sources.neo4j_server import SYSTEM

from .errors import INCOMPLETE
from .in_place_outcome import Outcome, keep_what_is_there
from .neo4j_access import access_to
from .neo4j_dump import neo4j_dump
from .output import print_line, print_warning, shown_duration, shown_size
from .settings import Settings
from .times import local_time

_CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class Neo4jServerParts:
    """The components of a snapshot that go back into one server."""

    kind: str
    place: str
    components: Sequence[Component]

    def lines(self, place: Neo4jPlace) -> list[str]:
        """Return what is going to happen, for people."""
        lines = [
            f"{c.name}: the database {c.statistics['database']} ({shown_size(c.bytes)}) of "
            f"{self.kind}:{self.place} will be replaced by its state of {local_time(c.point_ns)}"
            for c in self.components
        ]
        if place.is_running():
            lines.append(f"The server {self.place} will be stopped meanwhile, and started again.")
            users = place.users()
            if users:
                more = f" and {len(users) - 5} more" if len(users) > 5 else ""
                lines.append(f"Connected to it now: {', '.join(users[:5])}{more}")
        return lines


def neo4j_parts(
    snapshot: Snapshot, name: str | None
) -> tuple[list[Neo4jServerParts], dict[str, str]]:
    """Return the servers that get something back.

    And by name the components that belong to them but have no place, with what to say of each.
    What Enterprise backed up online is not among them: its own program puts it back.
    """
    found: dict[tuple[str, str], list[Component]] = {}
    for component in snapshot.components:
        if name not in (None, component.name) or component.subtree is None:
            continue
        if is_dump(component) and not is_backup(component):
            place, _, _ = component.place.rpartition("/")
            found.setdefault((component.kind, place), []).append(component)
    servers = [Neo4jServerParts(kind, place, parts) for (kind, place), parts in found.items()]
    beside = {f"{server.place}/{_CONFIGURATION}" for server in servers}
    notes = {
        c.name: f"{c.name}: the server's configuration stays as it is (restore that of the "
        f"snapshot with --target, and compare)"
        for c in snapshot.components
        if c.kind == "files" and c.place in beside and name is None
    }
    return servers, notes


class Neo4jRestore:
    """Puts the databases of a snapshot back into one server."""

    def __init__(
        self,
        repository: Repository,
        snapshot: Snapshot,
        server: Neo4jServerParts,
        settings: Settings,
    ) -> None:
        self._repository = repository
        self._snapshot = snapshot
        self.server = server
        self._settings = settings
        self._outcomes = {c.name: Outcome(c) for c in server.components}

    def place(self) -> Neo4jPlace:
        """Return the server with what goes into it.

        Raises:
            SnapError: there is no server at the place, or this user may not touch it.
        """
        names = [str(c.statistics["database"]) for c in self.server.components]
        others = [name for name in names if name != SYSTEM]
        service = neo4j_service(
            self.server.kind,
            self.server.place,
            name=None,
            access=access_to(
                self._settings,
                self.server.kind,
                self.server.place,
                database=others[0] if len(others) == 1 else "",
            ),
            state_folder=self._settings.state_dir,
            previous=lambda _name: None,
        )
        states = [self._state(component) for component in self.server.components]
        return Neo4jPlace(
            service.server, service.options, states, state_folder=self._settings.state_dir
        )

    def _state(self, component: Component) -> DatabaseState:
        return DatabaseState(
            name=component.name,
            database=str(component.statistics["database"]),
            statistics=component.statistics,
            versions=component.versions,
            size_bytes=component.bytes,
            open_dump=partial(neo4j_dump, self._repository, self._snapshot, component),
        )

    def run(self) -> list[Outcome]:
        """Replace them all, or none; return what came of each."""
        outcomes = list(self._outcomes.values())
        try:
            done = self.place().restore(self._save)
        except (SnapError, OSError) as error:
            for outcome in outcomes:
                outcome.fail(error, self._settings)
            return outcomes
        for outcome in outcomes:
            outcome.proofs = done.proofs.get(outcome.component.name, [])
            if outcome.component.status != SUCCESS:
                outcome.exit_code = INCOMPLETE
        outcomes[0].warnings += done.warnings
        if done.downtime_ns:
            stopped = shown_duration(done.downtime_ns / SECOND_NS)
            outcomes[-1].proofs.append(f"the server was stopped for {stopped}")
        for outcome in outcomes:
            for warning in outcome.warnings:
                print_warning(f"{outcome.component.name}: {warning}", as_json=self._settings.json)
        return outcomes

    def _save(self, sources: Sequence[Source]) -> list[str]:
        """Keep what is there; return the names of what could not be."""
        try:
            kept = keep_what_is_there(self._repository, self._snapshot, sources, self._settings)
        except SourceError as error:
            self._first.warnings.append(f"what is there could not be backed up: {error}")
            return [source.name for source in sources]
        for component in kept.components:
            if component.name in self._outcomes and component.status != FAILED:
                self._outcomes[component.name].safety = kept
        failed = [c for c in kept.components if c.status == FAILED]
        for component in failed:
            self._first.warnings.append(
                f"what is there of {component.name} could not be backed up: {component.error}"
            )
        return [component.name for component in failed]

    @property
    def _first(self) -> Outcome:
        return next(iter(self._outcomes.values()))


def describe(restores: Sequence[Neo4jRestore]) -> None:
    """Print what is going to happen to the servers.

    Raises:
        SnapError: one is not there, or may not be touched.
    """
    for restore in restores:
        for line in restore.server.lines(restore.place()):
            print_line(line)
