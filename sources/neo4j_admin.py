"""Running Neo4j's own programs: as the owner of the data, with little memory, killed when left."""

import contextlib
import fcntl
import os
import pwd
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from snap.errors import SourceError

from .holders import process_ids
from .neo4j_server import ByteStream

_HEAP = "256m"
"""A dump takes no more, however large the database (a default would take a part of the machine)."""
_PIPE_BYTES = 1 << 20
_PIECE_BYTES = 1 << 20
_NOTICE_MILLISECONDS = 200
_GRACE_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_TAIL_BYTES = 1 << 20
"""More than a list of a thousand databases takes."""


class Account(NamedTuple):
    """Whom to run as."""

    uid: int
    gid: int


class Ended(NamedTuple):
    """A program that has ended, with the last of what it said."""

    code: int
    stdout: str
    stderr: str


class AdminProgram:
    """One of ``bin/neo4j-admin`` and ``bin/neo4j``.

    ``account`` is None to run as who we are. ``settings`` are added to the environment.
    """

    def __init__(
        self, program: Path, *, settings: Mapping[str, str], account: Account | None
    ) -> None:
        self.program = program
        # NEO4J_DEBUG makes some of Neo4j's scripts print into a dump.
        self._start = ["env", "-u", "NEO4J_DEBUG", f"HEAP_SIZE={_HEAP}"]
        self._start += [f"{key}={value}" for key, value in settings.items()]
        self._start.append(str(program))
        self._account = account

    def run(
        self,
        arguments: Sequence[str],
        timeout_seconds: float,
        *,
        leaves: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run it to its end. ``leaves`` says that a process it starts is to go on.

        Raises:
            SourceError: it cannot be run, or takes longer.
        """
        # Files, not pipes: a server that is left running would keep a pipe open for ever.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            extra = [f"{key}={value}" for key, value in (settings or {}).items()]
            process = self._popen(
                arguments, extra, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
            try:
                code = process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                raise SourceError(
                    f"{self.program.name} {' '.join(arguments)} takes longer than "
                    f"{timeout_seconds:.0f} seconds: {_tail(err)}".rstrip(": ")
                ) from None
            finally:
                _end(process, only_itself=leaves)
            return Ended(code, _tail(out), _tail(err))

    @contextmanager
    def stream(self, arguments: Sequence[str]) -> Iterator["OutputStream"]:
        """Run it and give its standard output; leaving early ends it."""
        with tempfile.TemporaryFile() as err:
            process = self._popen(
                arguments, (), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err
            )
            try:
                yield OutputStream(process, err)
            finally:
                _end(process)
                if process.stdout is not None:
                    process.stdout.close()

    def feed(self, arguments: Sequence[str], data: ByteStream) -> Ended:
        """Run it to its end with ``data`` as standard input; it may end before it read all.

        Raises:
            SourceError: it cannot be run. What ``data`` raises, after the program was ended.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self._popen(arguments, (), stdin=subprocess.PIPE, stdout=out, stderr=err)
            try:
                _write_all(process, data)
                return Ended(process.wait(), _tail(out), _tail(err))
            finally:
                _end(process)

    def _popen(
        self,
        arguments: Sequence[str],
        extra: Sequence[str],
        *,
        stdin: int,
        stdout: int | IO[bytes],
        stderr: IO[bytes],
    ) -> "subprocess.Popen[bytes]":
        command = [*self._start[:-1], *extra, self._start[-1], *arguments]
        account = self._account
        try:
            # A session of its own: a Ctrl-C is for us, and never for a server started by it.
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                bufsize=0,
                cwd="/",
                start_new_session=True,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else _groups(account),
            )
        except OSError as error:
            raise SourceError(
                f"cannot run {self.program}: {error.strerror}", "check Neo4j's programs"
            ) from error


class OutputStream:
    """Standard output of a program that runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", err: IO[bytes]) -> None:
        if process.stdout is None:
            raise ValueError("the process has no pipe")
        self._process = process
        self._err = err
        self._descriptor = process.stdout.fileno()
        with contextlib.suppress(OSError, AttributeError):
            # Fewer, larger reads.
            fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def read(self, length: int) -> bytes:
        """Return at most ``length`` bytes; none at the end."""
        # With a time limit, so that a Ctrl-C just before the call is noticed.
        while not self._poll.poll(_NOTICE_MILLISECONDS):
            pass
        return os.read(self._descriptor, length)

    def wait(self) -> Ended:
        """Wait until it has ended; standard output is not in the result."""
        return Ended(self._process.wait(), "", _tail(self._err))


def _write_all(process: "subprocess.Popen[bytes]", data: ByteStream) -> None:
    if process.stdin is None:
        raise ValueError("the process has no pipe")
    # Ended early, it tells why by itself.
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        while piece := data.read(_PIECE_BYTES):
            rest = memoryview(piece)
            while rest:
                rest = rest[pipe.write(rest) or 0 :]


def _end(process: "subprocess.Popen[bytes]", *, only_itself: bool = False) -> None:
    """End a program that still runs, and the processes that it started."""
    if process.poll() is None:
        # Neo4j's programs are two processes each: the second signal is also for the one that
        # outlives the first, and would keep the database's lock.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if only_itself:
                    process.send_signal(number)
                else:
                    os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def end_programs_in(folder: Path) -> None:
    """Kill the programs that were given something in a folder, as ``--option=FOLDER/...``.

    For what a killed run of ours left running in a folder that only that run knew: each of Neo4j's
    programs is two processes, both with all arguments. Returns when they are gone, or after five
    seconds where one cannot be ended (another account's).
    """
    limit = time.monotonic() + _GRACE_SECONDS
    while pids := [pid for pid in process_ids() if _is_in(pid, os.fsencode(folder))]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > limit:
            return
        # They are no children of ours, so there is nothing to wait for but their names.
        time.sleep(_LOOK_SECONDS)


def _is_in(pid: int, folder: bytes) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        # Gone meanwhile, or not ours to look into.
        return False
    values = (argument.partition(b"=")[2] for argument in line.split(b"\0"))
    return any(value.startswith(folder + b"/") for value in values)


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    return file.read().decode("utf-8", "backslashreplace")


def _groups(account: Account) -> list[int]:
    try:
        name = pwd.getpwuid(account.uid).pw_name
    except KeyError:
        return [account.gid]
    return os.getgrouplist(name, account.gid)
