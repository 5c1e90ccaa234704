"""Enterprise's online backup of a server in a container, by its own `neo4j-admin` in there.

The backup is made in a folder beside the data in the container, and fetched out of it as a stream.
"""

import os
import secrets
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from snap.errors import SourceError
from snap.repo.lease import process_exists

from .neo4j_conf import Neo4jConf
from .neo4j_online import (
    ROOM_HINT,
    Artifact,
    artifact_in,
    backup_arguments,
    explain_backup,
    room_for,
)
from .neo4j_server import DumpStream, essence

if TYPE_CHECKING:
    from docker.models.containers import Container

_PREFIX = ".snap-online-"
_HEAP = "256m"
_SAID_BYTES = 16 << 10
_POLL_SECONDS = 0.05
_LIST = 'for f in "$1"/.snap-online-*; do [ -d "$f" ] && echo "${f##*/}"; done; :'
# Its folder, then those of the database. A folder that is not there is the program's to tell.
_MAKE = """set -eu
mkdir -m 700 "$1"
stat -f -c '%a %S' "$1"
shift; du -skc "$@" 2>/dev/null | tail -n 1
"""
# A program in a container goes on when nobody listens any more: its group is noted.
_RUN = """echo $$ > "$1/group"; folder=$1; shift
"$@" </dev/null; code=$?
rm -f "$folder/group"; exit $code
"""
_REMOVE = """if [ -e "$1/group" ]; then kill -s KILL -- "-$(cat "$1/group")"; fi
rm -rf "$1"
"""


class Inside(NamedTuple):
    """A running container, as whom programs are run in it, and Neo4j's home there."""

    container: "Container"
    user: str
    home: str


@contextmanager
def back_up_inside(inside: Inside, conf: Neo4jConf, database: str) -> Iterator[DumpStream]:
    """Have a backup made in the container, give it as a stream, and remove it.

    Raises:
        SourceError: there is no room, or the program fails: with its own words.
    """
    data = str(conf.folder("data"))
    _remove_abandoned(inside, data)
    folder = f"{data}/{_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        stores = [f"{parent}/{database.lower()}" for parent in conf.data_folders()]
        blocks, size, kib = _told(inside, _MAKE, folder, *stores).split()[:3]
        free_bytes, needed_bytes = int(blocks) * int(size), room_for(int(kib) << 10)
        if free_bytes < needed_bytes:
            raise SourceError(
                f"no room for a backup of {database}: {needed_bytes} bytes needed in {data} of "
                f"container {inside.container.name}, {free_bytes} free",
                ROOM_HINT,
            )
        arguments = backup_arguments(
            database,
            address=conf.backup_address,
            folder=folder,
            expand_commands=conf.has_commands,
        )
        program = f"{inside.home}/bin/neo4j-admin"
        code, out, said = run_inside(inside, _RUN, folder, program, *arguments)
        if code:
            raise explain_backup(database, code, out + said)
        name = artifact_in(_told(inside, 'ls -1 "$1"', folder).splitlines(), database)
        with _fetched(inside.container, f"{folder}/{name}") as artifact:
            yield artifact
    finally:
        run_inside(inside, _REMOVE, folder)


def _remove_abandoned(inside: Inside, data: str) -> None:
    for name in _told(inside, _LIST, data).splitlines():
        pid = name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not process_exists(int(pid)):
            run_inside(inside, _REMOVE, f"{data}/{name}")


def _told(inside: Inside, script: str, *arguments: str) -> str:
    code, out, said = run_inside(inside, script, *arguments)
    if code:
        raise SourceError(
            f"container {inside.container.name}: no backup can be made beside its data: "
            f"{essence(said)}",
            "is its volume full, or read-only?",
        )
    return out


def run_inside(inside: Inside, script: str, *arguments: str) -> tuple[int, str, str]:
    """Run a shell script in a running container: exit code, output, what else it said."""
    from docker.utils.socket import frames_iter  # noqa: PLC0415 - an optional dependency

    container, user, _ = inside
    api = cast(Any, container.client).api
    program = api.exec_create(
        container.id,
        ["sh", "-c", script, "snap", *arguments],
        user=user,
        environment={"HEAP_SIZE": _HEAP},
    )["Id"]
    said = {1: bytearray(), 2: bytearray()}
    with closing(api.exec_start(program, socket=True)) as stream:
        raw = getattr(stream, "_sock", stream)
        # However long nothing is said.
        raw.settimeout(None)
        for number, data in cast(Any, frames_iter)(raw, tty=False):
            said[number] += data
            del said[number][:-_SAID_BYTES]
    while (found := api.exec_inspect(program))["Running"]:
        Event().wait(_POLL_SECONDS)
    out, other = (text.decode("utf-8", "backslashreplace") for text in said.values())
    return int(found["ExitCode"]), out, other


@contextmanager
def _fetched(container: "Container", path: str) -> Iterator[DumpStream]:
    pieces, _ = container.get_archive(path)
    with closing(cast(Any, pieces)):
        try:
            with tarfile.open(fileobj=cast(Any, _Pieces(iter(pieces))), mode="r|") as tar:
                member = tar.next()
                file = tar.extractfile(member) if member is not None else None
                if file is None:
                    raise SourceError(f"{path} of container {container.name} is no file")
                yield Artifact(cast(Any, file))
        except tarfile.TarError as error:
            raise SourceError(
                f"the backup was not fetched whole from container {container.name}: {error}",
                "see Docker's log, and try again",
            ) from error


class _Pieces:
    """Pieces as the file that `tarfile` reads as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""

    def read(self, length: int) -> bytes:
        """Return at most ``length`` bytes; none at the end."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._piece = piece
        data, self._piece = self._piece[:length], self._piece[length:]
        return data
