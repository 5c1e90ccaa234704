"""Neo4j in a container: its programs run in one-off containers of the same image.

The one-off has the server's volumes, its user and its settings, no network, and `neo4j-admin` in
place of the image's entry point, which would print into a dump and change owners.
"""

import contextlib
import hashlib
import io
import posixpath
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from snap.errors import SourceError

from .neo4j_conf import Neo4jConf
from .neo4j_docker_job import Job, labels_of, remove_left
from .neo4j_docker_online import Inside, back_up_inside
from .neo4j_docker_stage import DockerStage
from .neo4j_server import (
    ByteStream,
    DumpStream,
    Plugin,
    ProgramDump,
    StoreInfo,
    check_database_name,
    essence,
    explain_admin,
    parse_infos,
    parse_version,
    warnings_of,
)

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

_HOME = "/var/lib/neo4j"
"""Of the official image; another is told by its NEO4J_HOME."""
_HEAP = "256m"
_KILLED = 137
_HTTP_SECONDS = 600
_PASSED_ON = ("JAVA_HOME", "PATH", "NEO4J_ACCEPT_LICENSE_AGREEMENT", "NEO4J_EDITION")


class DockerNeo4j:
    """A container by its name or id. ``url`` is the daemon's, None for the usual one.

    A `Neo4jServer`. All errors of the daemon are SourceErrors.
    """

    def __init__(self, container: str, *, url: str | None = None) -> None:
        self._name = container
        self._url = url
        self._client: docker.DockerClient | None = None
        self._user = ""
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """The container's name."""
        return self._name

    def close(self) -> None:
        """Close the connection to the daemon."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    # The server

    def version(self) -> str:
        """Return what `neo4j-admin --version` says in the server's image."""
        said = self._admin("version", "", ["--version"])
        parse_version(said)
        return said.strip().splitlines()[-1].removeprefix("neo4j ")

    def environment(self) -> dict[str, str]:
        """Return the environment that the container was made with."""
        with self._explained():
            return _environment(self._container())

    def bolt_address(self) -> tuple[str, int] | None:
        """Return where the daemon publishes the server's Bolt port, None where it does not."""
        with self._explained():
            ports = self._container().attrs["NetworkSettings"]["Ports"] or {}
        for binding in ports.get("7687/tcp") or ():
            host = binding["HostIp"]
            return (
                "127.0.0.1" if host in ("", "0.0.0.0", "::") else host,
                int(binding["HostPort"]),
            )
        return None

    def info(self, database: str) -> StoreInfo:
        """Return the state of one database."""
        check_database_name(database)
        # Of all, because of one that is in use it says nothing but that.
        for found in self.databases():
            if found.database == database:
                return found
        raise explain_admin("info", database, 1, "Database does not exist")

    def databases(self) -> list[StoreInfo]:
        """Return the states of all databases that have files."""
        return parse_infos(self._admin("info", "*", ["database", "info", "--format=json", "*"]))

    def is_running(self) -> bool:
        """Return whether the container runs."""
        with self._explained():
            return str(self._container().status) in ("running", "restarting", "paused")

    def started_by(self) -> str:
        """Return nothing: a container is started by its name."""
        return ""

    def stop(self, timeout_seconds: float) -> None:
        """Stop the container, and see that nothing starts it again."""
        with self._explained():
            container = self._container()
            # After Docker's own ten seconds a server would be killed, and could not be dumped.
            container.stop(timeout=round(timeout_seconds))
            code = container.wait(timeout=_HTTP_SECONDS)["StatusCode"]
        if self.is_running():
            raise SourceError(
                f"container {self._name} was started again by something else as it was stopped",
                "pause what looks after it (a restart policy, an orchestrator) during the backup",
            )
        if code == _KILLED:
            raise SourceError(
                f"container {self._name} did not stop within {timeout_seconds:.0f} seconds and was "
                "killed: its databases have to be recovered by a start before they can be dumped",
                "start it and wait until it is online, then back it up when it is less busy",
            )

    def start(self, started_by: str = "") -> None:
        """Start the container."""
        with self._explained():
            container = self._container()
            # A dump of a killed run would hold its databases.
            remove_left(self._connected(), str(container.id))
            container.start()
            container.reload()
            if container.status != "running":
                said = container.logs(tail=20).decode("utf-8", "backslashreplace")
                raise SourceError(
                    f"container {self._name} ended as soon as it was started: {essence(said)}",
                    f"see 'docker logs {self._name}'",
                )

    # Its files

    def plugins(self) -> list[Plugin]:
        """Return the files among the server's plugins."""
        found = []
        for name, data in self._files(f"{self._home()}/plugins"):
            found.append(Plugin(name, len(data), hashlib.sha256(data).hexdigest()))
        return found

    def configuration(self) -> list[tuple[str, bytes]]:
        """Return names and content of the server's configuration files."""
        return list(self._files(f"{self._home()}/conf"))

    def _files(self, folder: str) -> Iterator[tuple[str, bytes]]:
        archive = self._archive(folder)
        if archive is None:
            return
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in sorted(tar, key=lambda entry: entry.name):
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield posixpath.relpath(member.name, posixpath.basename(folder)), content.read()

    def _archive(self, path: str) -> bytes | None:
        """Return a path of the container as a tar, None where it is not there."""
        from docker.errors import NotFound  # noqa: PLC0415 - an optional dependency

        with self._explained():
            try:
                stream, _ = self._container().get_archive(path)
            except NotFound:
                return None
            return b"".join(stream)

    # Dumps

    @contextmanager
    def dump(self, database: str) -> Iterator[DumpStream]:
        """Start a dump; leaving early removes its container."""
        check_database_name(database)
        with self._job(["database", "dump", database, "--to-stdout"]) as job:
            yield ProgramDump(database, job.read, job.finish)

    @contextmanager
    def back_up(self, database: str) -> Iterator[DumpStream]:
        """Have the running server's database backed up online, inside its container."""
        check_database_name(database)
        with self._explained():
            inside = Inside(server := self._container(), self._owner(server), self._home())
            conf = Neo4jConf.among(self.configuration(), self._home())
            with back_up_inside(inside, conf, database) as artifact:
                yield artifact

    def load(self, database: str, dump: ByteStream) -> Sequence[str]:
        """Replace a database by a dump."""
        check_database_name(database)
        arguments = ["database", "load", database, "--from-stdin", "--overwrite-destination=true"]
        code, said = self.feed(arguments, dump)
        if code:
            raise explain_admin("load", database, code, said)
        return warnings_of(said)

    def feed(self, arguments: Sequence[str], data: ByteStream) -> tuple[int, str]:
        """Run `neo4j-admin` with a standard input; return its exit code and what it said."""
        with self._job(arguments, takes_input=True) as job:
            threads = [
                threading.Thread(target=work, name="snap-docker-load", daemon=True)
                for work in (job.read_all, job.end_input_with_program)
            ]
            for thread in threads:
                thread.start()
            job.send(data)
            for thread in threads:
                thread.join()
            return job.finish()

    def run(self, arguments: Sequence[str], program: str = "") -> tuple[int, str, str]:
        """Run `neo4j-admin` or another program to its end: exit code, output, what else it said."""
        with self._job(arguments, program=program) as job:
            out = job.read_all().decode("utf-8", "backslashreplace")
            code, said = job.finish()
            return code, out, said

    def stage(self, token: str) -> DockerStage:
        """Return a place in the data's volume where another state of it can be made."""
        return DockerStage(self, Neo4jConf.among(self.configuration(), self._home()), token)

    def _admin(self, doing: str, database: str, arguments: Sequence[str]) -> str:
        """Run `neo4j-admin` to its end and return its standard output."""
        code, out, said = self.run(arguments)
        if code:
            raise explain_admin(doing, database, code, said)
        return out

    # One-off containers

    @contextmanager
    def _job(
        self, arguments: Sequence[str], *, takes_input: bool = False, program: str = ""
    ) -> Iterator[Job]:
        with self._explained():
            server = self._container()
            remove_left(self._connected(), str(server.id))
            command = [program or f"{self._home()}/bin/neo4j-admin", *arguments]
            container = self._create(server, command, self._owner(server), takes_input=takes_input)
            job: Job | None = None
            try:
                self._copy_configuration(container)
                job = Job(container, takes_input=takes_input)
                yield job
            finally:
                if job is not None:
                    job.close()
                with contextlib.suppress(Exception):
                    container.remove(force=True)

    def _create(
        self, server: "Container", command: Sequence[str], user: str, *, takes_input: bool
    ) -> "Container":
        from docker.types import LogConfig  # noqa: PLC0415 - an optional dependency

        environment = {k: v for k, v in _environment(server).items() if k in _PASSED_ON}
        return self._connected().containers.create(
            # By its id: the tag may mean another image by now.
            server.attrs["Image"],
            entrypoint=[command[0]],
            command=list(command[1:]),
            volumes_from=[str(server.id)],
            network_mode="none",
            user=user,
            environment={**environment, "HEAP_SIZE": _HEAP},
            tty=False,
            stdin_open=takes_input,
            log_config=LogConfig(type="none"),
            labels=labels_of(str(server.id)),
        )

    def _owner(self, server: "Container") -> str:
        self._user = self._user or self._owner_of_data(server)
        return self._user

    def _owner_of_data(self, server: "Container") -> str:
        """Return whom to run as: who owns the data, so that nothing of root's is left in it."""
        from docker.types import LogConfig  # noqa: PLC0415 - an optional dependency

        container = self._connected().containers.create(
            server.attrs["Image"],
            entrypoint=["stat", "-L", "-c", "%u:%g"],
            command=[f"{self._home()}/data"],
            volumes_from=[str(server.id)],
            network_mode="none",
            user="0",
            log_config=LogConfig(type="none"),
            labels=labels_of(str(server.id)),
        )
        try:
            job = Job(container, takes_input=False)
            try:
                owner = job.read_all().decode().strip()
                code, said = job.finish()
            finally:
                job.close()
        finally:
            container.remove(force=True)
        if code or ":" not in owner:
            raise SourceError(
                f"container {self._name} has no data folder {self._home()}/data: {essence(said)}",
                "is it a Neo4j server, with its data in a volume?",
            )
        return owner

    def _copy_configuration(self, job: "Container") -> None:
        """Give the one-off the settings that the entry point wrote for the server."""
        home = self._home()
        archive = self._archive(f"{home}/conf")
        if archive is not None:
            job.put_archive(home, archive)

    def _home(self) -> str:
        return self.environment().get("NEO4J_HOME", _HOME)

    def require_lasting(self) -> None:
        """Make sure that the container and its data outlive a stop.

        Raises:
            SourceError: Docker would remove it, or the data lies in the container itself, which a
                one-off does not see.
        """
        with self._explained():
            attrs = self._container().attrs
        if attrs["HostConfig"].get("AutoRemove"):
            raise SourceError(
                f"container {self._name} was started with --rm: Docker removes it as soon as it "
                "is stopped, and its data with it where that is in no volume with a name",
                "start it without --rm; a backup has to stop it",
            )
        if not {m["Destination"] for m in attrs["Mounts"]} & {"/data", f"{self._home()}/data"}:
            raise SourceError(
                f"the data of container {self._name} is in no volume, and lost with the container",
                "make it anew with a volume at /data, and copy the data there",
            )

    # The daemon

    def _connected(self) -> "docker.DockerClient":
        with self._lock:
            if self._client is None:
                try:
                    import docker  # noqa: PLC0415 - an optional dependency
                except ImportError as error:
                    raise SourceError(
                        "the Docker client for Python is not installed",
                        "pip install 'snap-backup[docker,neo4j]'",
                    ) from error
                url = self._url or "unix:///var/run/docker.sock"
                self._client = docker.DockerClient(base_url=url, timeout=_HTTP_SECONDS)
            return self._client

    def _container(self) -> "Container":
        return self._connected().containers.get(self._name)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SourceError:
            raise
        except Exception as error:
            explained = _explain(error, self._name)
            if explained is None:
                raise
            raise explained from error


def _explain(error: Exception, name: str) -> SourceError | None:
    """Return what an error of the client means, None where it is none of its."""
    try:
        from docker.errors import DockerException, NotFound  # noqa: PLC0415 - an optional dependency
        from requests.exceptions import RequestException  # noqa: PLC0415 - as above
    except ImportError:
        return None
    if isinstance(error, NotFound) and "No such container" in str(error):
        return SourceError(f"there is no container {name}", "see 'docker ps -a' for its name")
    if isinstance(error, (DockerException, RequestException)):
        if "Permission denied" in str(error):
            hint = "run snap as root, or as a member of the group docker"
        elif "FileNotFoundError" in str(error) or "Connection refused" in str(error):
            hint = "does Docker run? DOCKER_HOST says where, if not at /var/run/docker.sock"
        else:
            hint = "see 'docker ps -a' and Docker's log"
        return SourceError(f"Docker: {essence(str(error))}", hint)
    return None


def _environment(container: "Container") -> dict[str, str]:
    entries: Sequence[str] = container.attrs["Config"]["Env"] or ()
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
