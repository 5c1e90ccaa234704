"""The time in which a server is stopped: noted before, ended whatever happens."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from snap.errors import SnapError, SourceError
from snap.repo.clock import SECOND_NS, Clock

from .neo4j_bolt import Neo4jBolt
from .neo4j_downtime import note_started, note_stop, stopped_servers
from .neo4j_exchange import (
    BACK,
    StageableServer,
    end_exchange,
    find_exchange,
    put_back,
)
from .neo4j_server import Neo4jOptions

_ONLINE_SECONDS = 300.0
_PORT_SECONDS = 0.2


class Outage:
    """The time in which the server is stopped; begun and ended at most once.

    ``warnings`` tell what else happened to it, once it has ended.
    """

    def __init__(
        self,
        server: StageableServer,
        options: Neo4jOptions,
        folder: Path,
        clock: Clock,
    ) -> None:
        self._server = server
        self._options = options
        self._kind = options.kind
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._started_by = ""
        self._is_on = False
        self._has_stopped = False
        self._thread: threading.Thread | None = None
        self._error: SnapError | None = None
        self.point_ns = 0
        self.downtime_ns = 0
        self.warnings: list[str] = []

    def mend_last(self) -> str:
        """Finish what an earlier run left because it was killed: an exchange, a stopped server.

        Returns what was done, for people; nothing where nothing was left.

        Raises:
            SnapError: it cannot be finished, or another process is at it.
        """
        done = self._finish_exchange()
        for note in stopped_servers(self._folder):
            if (note.kind, note.place) == (self._kind, self._server.place):
                age_ns = self._clock() - note.since_ns
                if age_ns < self._options.stop_seconds * SECOND_NS:
                    # What the killed run began goes on without it: this stop ends when that does.
                    self._server.stop(self._options.stop_seconds)
                if not self._server.is_running():
                    self._server.start(note.started_by)
                    self.wait_online()
                    done = done or f"{self._server.place} was left stopped and is started"
                note_started(self._folder, kind=self._kind, place=self._server.place)
        return done

    def _finish_exchange(self) -> str:
        place = self._server.place
        left = find_exchange(self._folder, kind=self._kind, place=place)
        if left is None:
            return ""
        if not left.is_left():
            raise SourceError(
                f"{place}: another snap (process {left.pid}) is restoring into it",
                "wait until it has ended",
            )
        stage = self._server.stage(left.token)
        kept, was_running = "", False
        if left.direction == BACK:
            # Started by hand meanwhile, it has what is only half of anything.
            was_running = self._server.is_running()
            if was_running:
                self.begin()
            if put_back(stage, left):
                kept = stage.keep()
        if not kept:
            stage.remove()
        end_exchange(self._folder, left)
        if left.direction == BACK:
            if was_running:
                self.end()
            said = f"{place}: an interrupted restore was undone, its databases are as before it"
            return said + (f"; what was there meanwhile is in {kept}" if kept else "")
        return f"{place}: an interrupted restore is finished, its databases are the restored ones"

    @property
    def started_by(self) -> str:
        """Return how the server had been started that was stopped."""
        return self._started_by

    def abandon(self) -> None:
        """Leave the server as it is: who calls this sees to it from now on."""
        if self._thread is not None:
            self._thread.join()
        self._is_on = False

    def begin(self) -> None:
        """Stop the server, if it runs."""
        if self._is_on or self.point_ns:
            return
        begun_ns = self._clock()
        if self._server.is_running():
            self._started_by = self._server.started_by()
            note_stop(
                self._folder,
                kind=self._kind,
                place=self._server.place,
                started_by=self._started_by,
                clock=self._clock,
            )
            self._is_on = True
            self._begun_ns = begun_ns
            self._server.stop(self._options.stop_seconds)
            self._has_stopped = True
        self.point_ns = self._clock()

    def end_soon(self) -> None:
        """Start the server in a thread of its own."""
        with self._lock:
            if self._is_on and self._thread is None:
                self._thread = threading.Thread(target=self._start, name="snap-neo4j-start")
                self._thread.start()

    def end(self) -> None:
        """Start the server, unless that was done, and wait until it answers.

        Raises:
            SourceError: it does not start.
        """
        self.end_soon()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        try:
            if not self._server.is_running():
                self._server.start(self._started_by)
                self.wait_online()
            elif self._has_stopped:
                self._end_with_one_that_runs()
            else:
                # It did not stop in time, and no dump had anything of it.
                self.wait_online()
            self._is_on = False
            self.downtime_ns = self._clock() - self._begun_ns
            note_started(self._folder, kind=self._kind, place=self._server.place)
        except SnapError as error:
            self._error = error

    def _end_with_one_that_runs(self) -> None:
        """Bring all databases of a server online that something else has started meanwhile.

        One that a dump had at that moment stays offline until the server is started anew.
        """
        told = f"{self._server.place} was started by something else meanwhile"
        can_ask = self._options.auth is not None or self._options.is_open
        with suppress(SourceError):
            self.wait_online()
            if can_ask:
                self.warnings.append(told)
                return
        # Whatever started it may be quicker than we are, which is as good.
        with suppress(SourceError):
            self._server.stop(self._options.stop_seconds)
        if not self._server.is_running():
            self._server.start(self._started_by)
        self.wait_online()
        why = "a database of it was offline" if can_ask else "without a password it cannot be asked"
        self.warnings.append(f"{told}, and once more by snap, because {why}")

    def wait_online(self) -> None:
        """Wait until the server answers.

        Raises:
            SourceError: it does not.
        """
        options = self._options
        if options.auth is not None or options.is_open:
            with Neo4jBolt(options.url, options.auth, clock=self._clock) as bolt:
                bolt.wait_online(options.database, _ONLINE_SECONDS)
            return
        address = urlsplit(options.url)
        limit_ns = self._clock() + int(_ONLINE_SECONDS * SECOND_NS)
        while self._clock() < limit_ns:
            try:
                place = (address.hostname or "127.0.0.1", address.port or 7687)
                socket.create_connection(place, timeout=5).close()
            except OSError:
                threading.Event().wait(_PORT_SECONDS)
            else:
                return
        raise SourceError(
            f"{self._server.place}: the server was started and does not listen at {options.url}",
            "look into its neo4j.log",
        )
