"""A real Neo4j Community server, put together from its published parts."""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.servers.services import (
    free_port,
    guard,
    link_tree,
    made_once,
    run_checked,
    runs,
    unavailable,
)

VERSION = "5.26.29"
_MAVEN_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_JARS = Path(__file__).parent / "neo4j-jars.sha256"
PASSWORD = "correct-horse-1"

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
 <modelVersion>4.0.0</modelVersion>
 <groupId>snap.tests</groupId><artifactId>neo4j-home</artifactId><version>1</version>
 <packaging>pom</packaging>
 <dependencies><dependency>
  <groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{VERSION}</version>
 </dependency></dependencies>
</project>
"""

_PROGRAM = """#!/bin/sh
B=$(CDPATH= cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
NEO4J_HOME=${NEO4J_HOME:-$B}; NEO4J_CONF=${NEO4J_CONF:-$NEO4J_HOME/conf}
export NEO4J_HOME NEO4J_CONF
J=java; [ -n "${JAVA_HOME:-}" ] && J=$JAVA_HOME/bin/java
exec "$J" -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$B/lib/*" \\
  -Dapp.name=NAME -Dapp.pid=$$ -Dapp.repo="$B/lib" -Dapp.home="$B" -Dbasedir="$B" \\
  org.neo4j.server.startup.CLASS "$@"
"""

# Quick to start and to stop, and small. The internal ones save ten seconds of waiting for idle
# connections at every stop.
SETTINGS = """
server.default_listen_address={address}
server.bolt.listen_address={address}:{port}
server.http.enabled=false
server.https.enabled=false
dbms.security.auth_enabled={auth}
dbms.usage_report.enabled=false
server.memory.heap.initial_size=256m
server.memory.heap.max_size=512m
server.memory.pagecache.size=64m
db.tx_log.preallocate=false
db.tx_log.rotation.size=1m
internal.server.bolt.thread_pool_shutdown_wait_time=0s
internal.dbms.bolt.netty_server_shutdown_quiet_period=0
internal.dbms.bolt.netty_server_shutdown_timeout=0
server.jvm.additional=-XX:TieredStopAtLevel=1
server.jvm.additional=-XX:+UseSerialGC
server.jvm.additional=--add-opens=java.base/java.nio=ALL-UNNAMED
server.jvm.additional=--add-opens=java.base/java.io=ALL-UNNAMED
server.jvm.additional=--add-opens=java.base/sun.nio.ch=ALL-UNNAMED
server.jvm.additional=--enable-native-access=ALL-UNNAMED
server.jvm.additional=-Dio.netty.tryReflectionSetAccessible=true
server.jvm.additional=-Dlog4j2.disable.jmx=true
"""


def _assemble(home: Path) -> None:
    (home / "pom.xml").write_text(_POM)
    lib = home / "lib"
    command = ["mvn", "-B", "-C", "-q", "-f", str(home / "pom.xml"), _MAVEN_PLUGIN]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={lib}"]
    run_checked(command, timeout_seconds=900)
    wanted: dict[str, str] = {}
    for line in _JARS.read_text().splitlines():
        digest, name = line.split()
        wanted[name] = digest
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in lib.glob("*.jar")}
    if found != wanted:
        other = sorted(name for name, _ in found.items() ^ wanted.items())
        raise RuntimeError(f"not the files of {_JARS.name}: {', '.join(other)}")
    (home / "bin").mkdir()
    for program_name, main in (("neo4j", "Neo4jCommand"), ("neo4j-admin", "Neo4jAdminCommand")):
        program = home / "bin" / program_name
        program.write_text(_PROGRAM.replace("NAME", program_name).replace("CLASS", main))
        program.chmod(0o755)


@cache
def _cached_home() -> Path | str:
    for program, package in (("mvn", "maven"), ("java", "openjdk-17-jre-headless")):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: {package})"
    try:
        return made_once(f"neo4j-{VERSION}", _assemble)
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        return f"it cannot be put together: {error}"


def neo4j_home() -> Path:
    """Return the folder of Neo4j's programs, made once a machine: not to be run in place."""
    home = _cached_home()
    if isinstance(home, str):
        unavailable("neo4j", home)
    return home


@dataclass
class Bolt:
    """Where a server answers; ``password`` is None where it asks for none."""

    port: int
    password: str | None

    @property
    def url(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    @property
    def auth(self) -> tuple[str, str] | None:
        return None if self.password is None else ("neo4j", self.password)

    def wait_online(self, timeout_seconds: float = 300) -> None:
        """Wait until the default database answers."""
        from neo4j.exceptions import DriverError, Neo4jError

        limit = time.monotonic() + timeout_seconds
        while True:
            try:
                self.run("RETURN 1")
            except (DriverError, Neo4jError):
                if time.monotonic() > limit:
                    raise
            else:
                return
            time.sleep(0.2)

    def run(self, cypher: str, database: str = "neo4j", **parameters: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        import neo4j

        with (
            neo4j.GraphDatabase.driver(
                self.url, auth=self.auth, notifications_min_severity="OFF"
            ) as driver,
            # An implicit transaction: CALL IN TRANSACTIONS takes one.
            driver.session(database=database) as session,
        ):
            return session.run(cypher, parameters).data()


@dataclass
class RealNeo4j(Bolt):
    """A home of its own, with a server that may run in it."""

    home: Path

    @property
    def conf(self) -> Path:
        return self.home / "conf"

    @property
    def data(self) -> Path:
        return self.home / "data"

    def configure(self, *lines: str) -> None:
        """Add lines to neo4j.conf; they count from the next start."""
        with (self.conf / "neo4j.conf").open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def admin(self, *arguments: str) -> str:
        return run_checked([str(self.home / "bin/neo4j-admin"), *arguments], 300)

    def start(self) -> None:
        run_checked([str(self.home / "bin/neo4j"), "start"], 300)
        self.wait_online()

    def stop(self) -> None:
        """Stop it as it should be; nothing happens where it does not run."""
        if self.is_running():
            run_checked([str(self.home / "bin/neo4j"), "stop"], 300)

    def kill(self) -> None:
        """End it as a power cut does."""
        pid = self.pid()
        if pid is not None:
            signal_process(pid, signal.SIGKILL)

    def pid(self) -> int | None:
        """Return the server's process, None where there is none."""
        try:
            pid = int((self.home / "run/neo4j.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return None
        return pid if str(self.home).encode() in command and state != "Z" else None

    def is_running(self) -> bool:
        return self.pid() is not None


def signal_process(pid: int, number: signal.Signals, timeout_seconds: float = 60) -> None:
    """Send a signal and wait until the process is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    limit = time.monotonic() + timeout_seconds
    while time.monotonic() < limit:
        if not runs(pid):
            return
        time.sleep(0.05)
    raise TimeoutError(f"process {pid} does not end")


_KILL = """for p in $(cat "$1/run/neo4j.pid"); do
grep -qF "$1" "/proc/$p/cmdline" && kill -9 "$p"; done"""


@contextmanager
def neo4j_in(folder: Path, *, password: str | None = PASSWORD) -> Iterator[RealNeo4j]:
    """Give a home below ``folder`` with a server that is not started yet.

    The server is gone when this is left, and when this process dies.
    """
    cached = neo4j_home()
    home = folder / "neo4j-home"
    home.mkdir()
    link_tree(cached / "bin", home / "bin")
    link_tree(cached / "lib", home / "lib")
    for name in ("conf", "data", "logs", "plugins", "run", "import", "licenses"):
        (home / name).mkdir()
    port = free_port()
    settings = SETTINGS.format(
        address="127.0.0.1", port=port, auth="false" if password is None else "true"
    )
    (home / "conf/neo4j.conf").write_text(settings)
    watch = guard(_KILL, str(home))
    server = RealNeo4j(port, password, home)
    try:
        if password is not None:
            server.admin("dbms", "set-initial-password", password)
        yield server
    finally:
        server.kill()
        watch.communicate()


@pytest.fixture
def neo4j_server(tmp_path: Path) -> Iterator[RealNeo4j]:
    """A server with a password, not started yet."""
    with neo4j_in(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def running_neo4j() -> Iterator[RealNeo4j]:
    """A server with a password, started, one for all tests of a module: leave it running."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with neo4j_in(folder) as server:
            server.start()
            yield server
