"""A Neo4j installed on this machine: its programs, its server, its data folder.

Everything that touches the data runs as the data's owner: a file of root's in there, and the server
does not start again.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from snap.errors import SourceError
from snap.repo.clock import SECOND_NS, Clock, system_clock

from .holders import describe_process
from .neo4j_admin import Account, AdminProgram, Ended
from .neo4j_conf import Neo4jConf
from .neo4j_install_stage import InstallStage
from .neo4j_online import back_up_beside_data
from .neo4j_server import (
    ByteStream,
    DatabaseInUse,
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

_INFO_SECONDS = 120.0
_START_SECONDS = 300.0
_STOP_SECONDS = 180.0
"""Neo4j itself waits 120 for what runs; then it writes what it has in memory."""
_LOCK_SECONDS = 60.0
"""A dump whose reader is gone runs on to its end, without waiting for anyone."""
_SLEEP_SECONDS = 0.2
_LOG_LINES = 5
_FLOCK = "hhqqi4x"
"""struct flock of 64-bit Linux: type, whence, start, length, process."""
_DEBIAN_HOME = Path("/var/lib/neo4j")
_DEBIAN_CONF = Path("/etc/neo4j")
_DEBIAN_UNIT = "neo4j.service"
_SYSTEMD = Path("/run/systemd/system")
"""There while systemd runs the machine."""


class Neo4jInstall:
    """One server's programs and data, for whoever is allowed to touch them.

    ``home`` is what NEO4J_HOME is for the server; ``programs`` the folder with ``neo4j-admin`` and
    ``neo4j``. Raises SourceError at once when this user is neither root nor the data's owner.
    """

    def __init__(
        self,
        home: Path,
        *,
        programs: Path | None = None,
        conf: Path | None = None,
        clock: Clock = system_clock,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.home = home.absolute()
        self.place = str(self.home)
        self.conf_folder = conf if conf is not None else self.home / "conf"
        self.conf = Neo4jConf.read(self.home, self.conf_folder)
        self._clock = clock
        self._sleep = sleep
        folder = programs if programs is not None else self.home / "bin"
        self._account = account = _account(self.conf.data_folders()[0])
        settings = {"NEO4J_HOME": str(self.home), "NEO4J_CONF": str(self.conf_folder)}
        self._admin = AdminProgram(folder / "neo4j-admin", settings=settings, account=account)
        self._server = AdminProgram(folder / "neo4j", settings=settings, account=account)

    @classmethod
    def find(
        cls,
        home: Path | None = None,
        *,
        debian: tuple[Path, Path] = (_DEBIAN_HOME, _DEBIAN_CONF),
        search: str | None = None,
    ) -> "Neo4jInstall":
        """Find the programs and the configuration that belong to a home; without one, any.

        ``debian`` are home and configuration as Debian's and Red Hat's packages lay them out;
        their programs are found in ``search``, a list of folders as in PATH.

        Raises:
            SourceError: no Neo4j is there, or not one that this user may touch.
        """
        if home is not None and (home / "bin/neo4j-admin").exists():
            return cls(home)
        found = shutil.which("neo4j-admin", path=search)
        if home is not None and home.absolute() != debian[0]:
            raise SourceError(
                f"{home} holds no Neo4j: there is no bin/neo4j-admin in it",
                "name the folder that Neo4j was unpacked into; of a package, "
                f"{debian[0]}; of a container, neo4j-docker:NAME",
            )
        if found is None:
            raise SourceError(
                "no Neo4j is installed here: neo4j-admin is not found",
                "name the folder that Neo4j was unpacked into, as neo4j:/opt/neo4j",
            )
        own = Path(os.path.realpath(found)).parent.parent
        if home is None and (own / "conf").is_dir() and (own / "lib").is_dir():
            return cls(own)
        return cls(debian[0], programs=Path(found).parent, conf=debian[1])

    # ------------------------------------------------------------ the databases

    def version(self) -> str:
        """Return the version of the programs, which is the server's."""
        ended = self._admin.run(["--version"], _INFO_SECONDS)
        if ended.code:
            raise SourceError(
                f"{self._admin.program} does not run: {essence(ended.stdout + ended.stderr)}",
                "Neo4j 5 needs Java 17 or 21",
            )
        return ".".join(str(part) for part in parse_version(ended.stdout))

    def info(self, database: str) -> StoreInfo:
        """Return the state of one database, read from its files."""
        check_database_name(database)
        try:
            return self._infos(database)[0]
        except DatabaseInUse:
            # Asked for one by its name it fails, asked for all it tells.
            return StoreInfo(
                database,
                in_use=True,
                recovery_required=False,
                store_format="",
                last_transaction=None,
            )

    def databases(self) -> list[StoreInfo]:
        """Return the states of all databases that have files."""
        return self._infos()

    def _infos(self, *database: str) -> list[StoreInfo]:
        ended = self._admin.run(self._arguments("info", "--format=json", *database), _INFO_SECONDS)
        if ended.code:
            said = ended.stdout + ended.stderr
            raise explain_admin("info", " ".join(database) or "*", ended.code, said)
        return parse_infos(ended.stdout)

    @contextmanager
    def dump(self, database: str) -> Iterator[DumpStream]:
        """Start a dump of a database that no server uses; leaving early ends it."""
        check_database_name(database)
        # Never with --verbose, which writes into the dump.
        with self._admin.stream(self._arguments("dump", "--to-stdout", database)) as output:

            def wait() -> tuple[int, str]:
                ended = output.wait()
                return ended.code, ended.stderr

            yield ProgramDump(database, output.read, wait)

    def back_up(self, database: str) -> AbstractContextManager[DumpStream]:
        """Have the running server's database backed up online."""
        check_database_name(database)
        return back_up_beside_data(self.conf, self._admin, self._account, database)

    def load(self, database: str, dump: ByteStream) -> Sequence[str]:
        """Replace a database that no server uses by a dump; return its warnings."""
        check_database_name(database)
        options = ["--from-stdin", "--overwrite-destination=true"]
        ended = self._admin.feed(self._arguments("load", *options, database), dump)
        said = ended.stdout + ended.stderr
        if ended.code:
            raise explain_admin("load", database, ended.code, said)
        return warnings_of(said)

    def stage(self, token: str) -> InstallStage:
        """Return a place beside the data where another state of it can be made."""
        return InstallStage(self.conf, self._admin, self._account, token)

    def _arguments(self, command: str, *others: str) -> list[str]:
        expand = ["--expand-commands"] if self.conf.has_commands else []
        return ["database", command, *expand, *others]

    # --------------------------------------------------------------- the server

    def is_running(self) -> bool:
        """Return whether a server has the data folder, however it was started."""
        return self._process() is not None

    def started_by(self) -> str:
        """Return the systemd unit that the server runs as, or would of a package; else nothing."""
        pid = self._process()
        if pid is None and self.home == _DEBIAN_HOME and _SYSTEMD.is_dir():
            return _DEBIAN_UNIT
        return _unit_of(pid) if pid else ""

    def stop(self, timeout_seconds: float = _STOP_SECONDS) -> None:
        """Stop the server cleanly; nothing happens where none runs."""
        self._wait_for_commands()
        pid = self._process()
        if pid is None:
            return
        unit = _unit_of(pid)
        if unit:
            _systemctl("stop", unit, timeout_seconds)
        elif pid != self._noted():
            raise SourceError(
                f"{self.place}: its server ({describe_process(pid)}) is not one that "
                "'neo4j stop' knows",
                "stop it the way it was started; of a container, name it as neo4j-docker:NAME",
            )
        else:
            settings = {"NEO4J_SHUTDOWN_TIMEOUT": str(max(1, int(timeout_seconds)))}
            ended = self._server.run(["stop"], timeout_seconds + 30, leaves=True, settings=settings)
            if ended.code:
                raise self._not_stopped(timeout_seconds, ended)
        if not self._wait_for(running=False, timeout_seconds=5.0):
            after = self._process()
            if after is not None and after != pid:
                raise SourceError(
                    f"{self.place}: the server was stopped, and something started it again at once "
                    f"({describe_process(after)})",
                    "stop it with whatever keeps it running, and back it up while it is stopped",
                )
            raise self._not_stopped(timeout_seconds)

    def _not_stopped(self, timeout_seconds: float, ended: Ended | None = None) -> SourceError:
        said = essence(ended.stdout + ended.stderr) if ended is not None else ""
        return SourceError(
            f"{self.place}: the server did not stop in {timeout_seconds:.0f} seconds"
            + (f": {said}" if said else ""),
            "let long queries end, or give it more time; it may still be stopping",
        )

    def start(self, started_by: str = "") -> None:
        """Start the server, as the systemd unit ``started_by`` or by `neo4j start`."""
        self._wait_for_commands()
        if self.is_running():
            return
        self._wait_for_databases()
        if started_by:
            _systemctl("start", started_by, _START_SECONDS)
        else:
            ended = self._server.run(["start"], _START_SECONDS, leaves=True)
            if ended.code:
                raise self._not_started(essence(ended.stdout + ended.stderr))
        if not self._wait_for(running=True, timeout_seconds=_START_SECONDS):
            raise self._not_started("")

    def _wait_for_commands(self) -> None:
        """Wait until no `neo4j start` or `neo4j stop` goes on, which a killed run may have left.

        Of two servers that start at once, the pid file may name the one that fails.
        """
        limit_ns = self._clock() + int(_STOP_SECONDS * SECOND_NS)
        while pids := commands_at(self.home):
            if self._clock() > limit_ns:
                raise SourceError(
                    f"{self.place}: it is being started or stopped ({describe_process(pids[0])})",
                    "wait until that has ended",
                )
            self._sleep(_SLEEP_SECONDS)

    def _wait_for_databases(self) -> None:
        """Wait until no `neo4j-admin` has a database.

        A server that starts meanwhile leaves that database offline for good.
        """
        limit_ns = self._clock() + int(_LOCK_SECONDS * SECOND_NS)
        while True:
            locks = self.conf.data_folders()[0].glob("*/database_lock")
            held = {path.parent.name: pid for path in locks if (pid := _lock_holder(path))}
            if not held:
                return
            if self._clock() > limit_ns:
                name, pid = next(iter(held.items()))
                raise SourceError(
                    f"{self.place}: the server was not started: {describe_process(pid)} still has "
                    f"the database {name}",
                    "end that program (a dump, a load or a check?), then start the server",
                )
            self._sleep(_SLEEP_SECONDS)

    def _not_started(self, said: str) -> SourceError:
        log = self.conf.folder("logs") / "neo4j.log"
        try:
            last = " | ".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        except OSError:
            last = ""
        told = "; ".join(part for part in (said, f"its log ends: {last}" if last else "") if part)
        return SourceError(
            f"{self.place}: the server does not start" + (f": {told}" if told else ""),
            f"look into {log}, and start it by hand",
        )

    def _wait_for(self, *, running: bool, timeout_seconds: float) -> bool:
        limit_ns = self._clock() + int(timeout_seconds * SECOND_NS)
        while self.is_running() is not running:
            if self._clock() > limit_ns:
                return False
            self._sleep(_SLEEP_SECONDS)
        return True

    def _process(self) -> int | None:
        """Return the server's process; 0 for one we cannot see, None for none."""
        holder = self._holder()
        return holder if holder is not None else self._starting()

    def _starting(self) -> int | None:
        """Return the process of the pid file if it is this home's server, without the lock yet."""
        pid = self._noted()
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return None
        # After a crash, the number may be another process', even another server's.
        is_ours = b"org.neo4j.server" in command and os.fsencode(self.home) in command
        return pid if is_ours else None

    def _noted(self) -> int | None:
        """Return the number in the pid file, by which `neo4j stop` finds its server."""
        try:
            return int((self.conf.folder("run") / "neo4j.pid").read_text())
        except (OSError, ValueError):
            return None

    def _holder(self) -> int | None:
        """Return the process that holds the data folder's lock; 0 for one we cannot see."""
        return _lock_holder(self.conf.data_folders()[0] / "store_lock")

    # ------------------------------------------------- what no dump has in it

    def plugins(self) -> list[Plugin]:
        """Return the files of the plugins folder, sorted by name."""
        found = []
        for path in _files_below(self.conf.folder("plugins")):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append(Plugin(path.name, path.stat().st_size, digest))
        return sorted(found, key=lambda plugin: plugin.name)

    def configuration(self) -> list[tuple[str, bytes]]:
        """Return names, below the configuration folder, and contents of its files, sorted."""
        return [
            (path.relative_to(self.conf_folder).as_posix(), path.read_bytes())
            for path in self.configuration_files()
        ]

    def configuration_files(self) -> list[Path]:
        """Return the files of the configuration folder, sorted."""
        return sorted(_files_below(self.conf_folder))


def _lock_holder(path: Path) -> int | None:
    """Return the process that has a lock on a file; 0 for one we cannot see."""
    try:
        with path.open("rb") as file:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = fcntl.fcntl(file, fcntl.F_GETLK, asked)
    except OSError:
        return None
    kind, _, _, _, pid = struct.unpack(_FLOCK, answer)
    return None if kind == fcntl.F_UNLCK else int(pid)


def commands_at(home: Path) -> list[int]:
    """Return the processes of `neo4j start` and `neo4j stop` that were begun here for a home."""
    wanted = os.fsencode(f"NEO4J_HOME={home}")
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                if command[-1] in (b"start", b"stop"):
                    given = (folder / "environ").read_bytes().split(b"\0")
                    if wanted in given or wanted in command:
                        found.append(int(folder.name))
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _account(databases: Path) -> Account | None:
    """Return whom to run as, so that the data stays its owner's; None for who we are."""
    for folder in (databases, databases.parent, databases.parent.parent):
        try:
            found = folder.stat()
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise SourceError(
                f"{folder}: {error.strerror}", "run snap as the owner of Neo4j's data, or as root"
            ) from error
        if found.st_uid == os.geteuid():
            return None
        if os.geteuid() == 0:
            return Account(found.st_uid, found.st_gid)
        raise SourceError(
            f"{folder} belongs to user {_name_of(folder)}, and only that user or root can dump it",
            f"run snap as that user (sudo -u {_name_of(folder)} snap ...), or as root",
        )
    raise SourceError(
        f"{databases} is not there, and neither is the folder it would be in",
        "check server.directories.data in neo4j.conf",
    )


def _name_of(folder: Path) -> str:
    try:
        return folder.owner()
    except KeyError:
        return str(folder.stat().st_uid)


def unit_in(cgroups: str) -> str:
    """Return the systemd service that ``/proc/<pid>/cgroup`` names, nothing for none."""
    found = re.findall(r"/([^/\s]+\.service)$", cgroups, re.MULTILINE)
    return "" if not found or found[-1].startswith("user@") else str(found[-1])


def _unit_of(pid: int) -> str:
    """Return the systemd service whose main process this is.

    A server that was started from a cron job is in cron's service, and must not be stopped so.
    """
    try:
        unit = unit_in(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:
        return ""
    if not unit or shutil.which("systemctl") is None:
        return ""
    done = subprocess.run(
        ["systemctl", "show", "--property=MainPID", "--value", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    return unit if done.stdout.strip() == str(pid) else ""


def _systemctl(verb: str, unit: str, timeout_seconds: float) -> None:
    try:
        done = subprocess.run(
            ["systemctl", verb, unit],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise SourceError(f"cannot {verb} {unit}: systemctl is not found") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(
            f"systemctl {verb} {unit} takes longer than {timeout_seconds:.0f} seconds",
            f"look at: systemctl status {unit}",
        ) from error
    if done.returncode:
        raise SourceError(
            f"systemctl {verb} {unit} failed: {done.stderr.strip()}",
            f"run snap as root, and look at: systemctl status {unit}",
        )
