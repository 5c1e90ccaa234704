"""The part over the network: remote. A repository on an SSH server and in an S3 bucket.

Both servers are the tests' own (OpenSSH's sshd, SeaweedFS), on this machine, with their data in the
memory file system; restic and snap use the same ones in turn.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark import Bench, Runs
from datasets import make_rows
from record import times_as_fast
from scratch import require_space
from tools import PASSWORD, ROOT, Measured, Restic, Snap, Tool

_FILES = 4
_ROOM = 5.0
"""Data, one restore, and what both servers keep of it."""


@dataclass(frozen=True)
class Server:
    """A running server, as each tool is told of it.

    Attributes:
        places: By tool: the location of a repository of a name.
        options: Of restic, on every call.
        times: How many times as fast as restic snap has to be.
    """

    name: str
    environment: dict[str, str]
    places: dict[str, Callable[[str], str]]
    times: float
    options: tuple[str, ...] = ()


def measure_remote(bench: Bench, megabytes: int) -> None:
    """Measure backup, restore and copying of a repository, over SFTP and over S3."""
    bench.record.begin("remote", {"megabytes": megabytes, "repeat": bench.repeat})
    require_space(bench.scratch, megabytes * 1e6 * _ROOM, "remote")
    data = bench.scratch / "data"
    data.mkdir()
    try:
        for number in range(_FILES):
            make_rows(data / f"rows-{number}", megabytes * 1_000_000 // _FILES, number)
        for running in (_sftp, _s3):
            with running(bench.scratch) as server:
                _measure_server(bench, server, data, f"{megabytes} MB over {server.name}")
        with _counted_s3(bench.scratch) as (server, count):
            _count_requests(bench, server, data, count, megabytes)
    finally:
        for place in bench.scratch.iterdir():
            shutil.rmtree(place, ignore_errors=True)


def _measure_server(bench: Bench, server: Server, data: Path, label: str) -> None:
    budget = times_as_fast(server.times)
    kinds: list[type[Tool]] = [Restic, Snap]
    backups: Runs = {kind.name: [] for kind in kinds}
    restores: Runs = {kind.name: [] for kind in kinds}
    copies: Runs = {kind.name: [] for kind in kinds}
    for number in range(bench.repeat):
        # One after the other, each kind of work: a shared machine is not as fast all the time.
        tools = [_tool(bench, kind, server, f"r{number}") for kind in kinds]
        for tool in tools:
            tool.init()
            backups[tool.name].append(tool.backup(data))
        for tool in tools:
            restores[tool.name].append(bench.restore_once(tool, data))
        for kind in kinds:
            copies[kind.name].append(_copy(bench, kind, server, data, f"c{number}"))
    bench.note_runs(f"{label}: first backup", backups, budget)
    bench.note_runs(f"{label}: restore", restores, budget)
    bench.note_runs(f"{label}: copy of a local repository", copies, budget)


def _tool(bench: Bench, kind: type[Tool], server: Server, place: str) -> Tool:
    """Return a tool whose repository is a new place on the server; its cache is empty."""
    folder = bench.scratch / f"{kind.name}-{server.name}-{place}"
    folder.mkdir()
    tool = kind(bench.programs[kind.name], folder)
    Path(tool.environment["HOME"]).mkdir()
    tool.environment |= server.environment
    tool.environment[_VARIABLES[kind.name]] = server.places[kind.name](place)
    if kind is Restic:
        tool.program = [*tool.program, *server.options]
    return tool


_VARIABLES = {"restic": "RESTIC_REPOSITORY", "snap": "SNAP_REPOSITORY"}


def _copy(bench: Bench, kind: type[Tool], server: Server, data: Path, place: str) -> Measured:
    """Copy a local repository of one snapshot to the server; return what that took."""
    local = bench.tool(kind, f"local-{kind.name}-{server.name}-{place}")
    local.backup(data)
    there = _tool(bench, kind, server, place)
    here = str(local.repository)
    if kind is Snap:
        there.run("init", "--copy-of", here)
        local.environment |= server.environment
        measured = local.run("replicate", "-q", server.places["snap"](place))
    else:
        there.environment["RESTIC_FROM_PASSWORD"] = PASSWORD
        there.run("init", "-q", "--from-repo", here, "--copy-chunker-params")
        measured = there.run("copy", "-q", "--from-repo", here)
    shutil.rmtree(local.repository)
    return measured


def _count_requests(
    bench: Bench, server: Server, data: Path, count: Callable[[], int], megabytes: int
) -> None:
    """Count the requests of a backup and of a restore, of both tools."""
    per_gigabyte = 1000 / megabytes
    backups: dict[str, float] = {}
    restores: dict[str, float] = {}
    kinds: list[type[Tool]] = [Restic, Snap]
    for kind in kinds:
        tool = _tool(bench, kind, server, "counted")
        tool.init()
        before = count()
        tool.backup(data)
        between = count()
        bench.restore_once(tool, data)
        backups[kind.name] = (between - before) * per_gigabyte
        restores[kind.name] = (count() - between) * per_gigabyte
    bench.note("S3: requests of a first backup, per GB", "", backups)
    bench.note("S3: requests of a restore, per GB", "", restores)


def _tests_servers() -> None:
    """Make the tests' servers importable, and what they store go to the memory file system."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


@contextmanager
def _temporary_below(folder: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _sftp(scratch: Path) -> Iterator[Server]:
    _tests_servers()
    from tests.servers.sshd import ALIAS, running_sshd  # noqa: PLC0415 - only where it is wanted

    with _temporary_below(scratch), running_sshd() as sshd:
        command = f"ssh -F {sshd.config} {ALIAS} -s sftp"
        yield Server(
            "SFTP",
            {"HOME": str(sshd.home)},
            {
                "restic": lambda place: f"sftp:{ALIAS}:{sshd.root}/restic-{place}",
                "snap": lambda place: sshd.url(f"snap-{place}"),
            },
            1,
            ("-o", f"sftp.command={command}"),
        )


@contextmanager
def _s3(scratch: Path) -> Iterator[Server]:
    _tests_servers()
    from tests.servers.s3 import s3_server  # noqa: PLC0415

    with _temporary_below(scratch), s3_server() as server, server.bucket() as bucket:
        yield _s3_of(server, bucket, server.endpoint)


def _s3_of(server: Any, bucket: Any, endpoint: str) -> Server:
    return Server(
        "S3",
        server.environment(),
        {
            "restic": lambda place: f"s3:{endpoint}/{bucket.name}/restic-{place}",
            "snap": lambda place: (
                f"s3://{bucket.name}/snap-{place}?endpoint={endpoint}&region=us-east-1"
            ),
        },
        1.5,
    )


@contextmanager
def _counted_s3(scratch: Path) -> Iterator[tuple[Server, Callable[[], int]]]:
    _tests_servers()
    from tests.servers.http_proxy import proxy  # noqa: PLC0415
    from tests.servers.s3 import s3_server  # noqa: PLC0415

    with (
        _temporary_below(scratch),
        s3_server() as server,
        server.bucket() as bucket,
        proxy(server.endpoint) as before,
    ):
        yield _s3_of(server, bucket, before.endpoint), lambda: len(before.seen)
