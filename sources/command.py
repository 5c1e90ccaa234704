"""The output of any program, or standard input, as one file.

What moment the output shows is the program's affair (`pg_dump` gives one transaction, `cat` none),
so no more than `Consistency.CRASH` is recorded.
"""

import contextlib
import fcntl
import io
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, BinaryIO, cast

from snap.errors import SourceError
from snap.repo.clock import SECOND_NS, Clock, system_clock
from snap.repo.source import Attributes, Consistency, Entry, NodeType, ViewReport

_STDERR_TAIL_BYTES = 4096
_GRACE_SECONDS = 5.0
_PARTING_SECONDS = 0.5
_FILE_MODE = 0o600
_PIPE_BYTES = 1 << 20
_NOTICE_MILLISECONDS = 200


class _PipeReader:
    """Reads a pipe to its end and counts."""

    def __init__(self, stream: BinaryIO | IO[bytes]) -> None:
        self._stream = stream
        self.bytes_read = 0
        self._poll = select.poll()
        self._descriptor = _descriptor_of(stream)
        if self._descriptor is not None:
            self._poll.register(self._descriptor, select.POLLIN)

    def __enter__(self) -> "_PipeReader":
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the stream open: it belongs to the view."""

    def read(self, length: int) -> bytes:
        # A pipe gives 64 KiB at a time; the chunker wants large pieces.
        parts, wanted = [], length
        while wanted:
            part = self._read_some(wanted)
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
        data = b"".join(parts)
        self.bytes_read += len(data)
        return data

    def _read_some(self, wanted: int) -> bytes:
        if self._descriptor is None:
            return self._stream.read(wanted)
        # A signal that comes just before a read does not end it: without the time limit, a Ctrl-C
        # would now and then be noticed only when the program prints something.
        while not self._poll.poll(_NOTICE_MILLISECONDS):
            pass
        return os.read(self._descriptor, min(wanted, _PIPE_BYTES))

    def hole(self) -> int:
        return 0

    def is_changed(self) -> bool:
        return False


def _descriptor_of(stream: BinaryIO | IO[bytes]) -> int | None:
    """Return a stream's descriptor, None for a stream that has none."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return None
    with contextlib.suppress(OSError, AttributeError):
        # Fewer, larger reads; refused for what is no pipe.
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return descriptor


def _only_entry(name: str, reader: _PipeReader, now_ns: int) -> Entry:
    attributes = Attributes(mode=_FILE_MODE, uid=os.getuid(), gid=os.getgid(), mtime_ns=now_ns)
    return Entry((os.fsencode(name),), NodeType.FILE, attributes, open=lambda: reader)


class CommandSource:
    """A program's standard output; no snapshot when it fails or prints nothing.

    ``command`` as text runs in a shell, in bash with ``pipefail`` where there is one, so that a
    failure on the left of a pipe is not taken for success.
    """

    kind = "command"
    can_wait = False

    def __init__(
        self, command: Sequence[str] | str, *, name: str, clock: Clock = system_clock
    ) -> None:
        self.name = name
        self.place = command if isinstance(command, str) else " ".join(command)
        self._arguments = _arguments(command)
        self._clock = clock

    @contextmanager
    def open(self) -> Iterator["_CommandView"]:
        """Start the program; leaving early ends it and all that it started."""
        try:
            process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise SourceError(
                f"cannot run {self._arguments[0]}: {error.strerror}", "check the command"
            ) from error
        view = _CommandView(process, self.name, self._clock)
        try:
            yield view
        finally:
            view.close()


def _arguments(command: Sequence[str] | str) -> list[str]:
    if not isinstance(command, str):
        return list(command)
    bash = shutil.which("bash")
    if bash is not None:
        return [bash, "-o", "pipefail", "-c", command]
    return ["/bin/sh", "-c", command]


class _CommandView:
    is_sorted = True

    def __init__(self, process: subprocess.Popen[bytes], name: str, clock: Clock) -> None:
        if process.stdout is None or process.stderr is None:
            raise ValueError("the process has no pipes")
        self._process = process
        self._name = name
        self._clock = clock
        self._started_ns = clock()
        self._reader = _PipeReader(process.stdout)
        self._stderr = cast(io.FileIO, process.stderr)
        self._tail = b""
        self._drain = threading.Thread(target=self._keep_tail, daemon=True)
        self._drain.start()

    def entries(self) -> Iterator[Entry]:
        yield _only_entry(self._name, self._reader, self._started_ns)

    def finish(self) -> ViewReport:
        code = self._process.wait()
        # Something that it left running may hold its stderr for as long as it likes.
        self._drain.join(_GRACE_SECONDS)
        said = self._tail.decode("utf-8", "backslashreplace").strip()
        if code != 0:
            how = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
            raise SourceError(f"the command failed: {how}" + (f": {said}" if said else ""))
        if self._reader.bytes_read == 0:
            raise SourceError(
                "the command printed nothing" + (f": {said}" if said else ""),
                "run it by hand and look at its output",
            )
        return ViewReport(
            consistency=Consistency.CRASH,
            point_ns=self._started_ns,
            statistics={
                "bytes": self._reader.bytes_read,
                "exit_code": code,
                "seconds": (self._clock() - self._started_ns) / SECOND_NS,
            },
            warnings=[f"the command said: {said}"] if said else [],
        )

    def close(self) -> None:
        # What it left running and that holds its stderr is ended too; a daemon, which does not, may
        # be what the command was to start.
        if self._process.poll() is None or self._drain.is_alive():
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)
            self._drain.join(_PARTING_SECONDS)
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._drain.join(_GRACE_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _keep_tail(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            while part := self._stderr.read(_STDERR_TAIL_BYTES):
                self._tail = (self._tail + part)[-_STDERR_TAIL_BYTES:]


class StdinSource:
    """Whatever arrives on a stream; an empty one is an error."""

    kind = "stdin"
    can_wait = False

    def __init__(self, stream: BinaryIO, *, name: str, clock: Clock = system_clock) -> None:
        self.name = name
        self.place = "standard input"
        self._stream = stream
        self._clock = clock

    @contextmanager
    def open(self) -> Iterator["_StdinView"]:
        """Give the stream; it is not closed."""
        yield _StdinView(self._stream, self.name, self._clock())


class _StdinView:
    is_sorted = True

    def __init__(self, stream: BinaryIO, name: str, now_ns: int) -> None:
        self._reader = _PipeReader(stream)
        self._name = name
        self._now_ns = now_ns

    def entries(self) -> Iterator[Entry]:
        yield _only_entry(self._name, self._reader, self._now_ns)

    def finish(self) -> ViewReport:
        if self._reader.bytes_read == 0:
            raise SourceError(
                "standard input was empty",
                "if a program feeds it, let snap run that: --command notices when it fails",
            )
        return ViewReport(
            consistency=Consistency.CRASH,
            point_ns=self._now_ns,
            statistics={"bytes": self._reader.bytes_read},
        )
