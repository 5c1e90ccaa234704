"""Enterprise's online backup of a server in a container, by its own `neo4j-admin` in there.

The backup is made in a folder beside the data in the container, and fetched out of it as a stream.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from snap.errors import SourceError
from snap.repo.clock import SECOND_NS

from .abandoned import is_abandoned, own_token
from .neo4j_conf import Neo4jConf
from .neo4j_envelope import PieceReader
from .neo4j_online import (
    ROOM_HINT,
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
_STDOUT = 1
# Each with its age in seconds. One may go meanwhile.
_LIST = """for f in "$1"/.snap-online-*; do
  if [ -d "$f" ] && changed=$(stat -c %Y "$f"); then
    echo "$(($(date +%s) - changed)) ${f##*/}"
  fi
done
"""
# Its folder, then those of the database. A folder that is not there is the program's to tell.
_MAKE = """set -eu
mkdir -m 700 "$1"
stat -f -c '%a %S' "$1"
shift; find "$@" -type f -exec stat -c %s {} + 2>/dev/null | {
  sum=0; while read -r size; do sum=$((sum + size)); done; echo $sum
}
"""
# A program in a container goes on when nobody listens any more: its group is noted.
RUN = """echo $$ > "$1/group"; folder=$1; shift
"$@" </dev/null; code=$?
rm -f "$folder/group"; exit $code
"""
REMOVE = """if [ -e "$1/group" ]; then kill -s KILL -- "-$(cat "$1/group")"; fi
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
    folder = f"{data}/{_PREFIX}{own_token()}"
    try:
        stores = [f"{parent}/{database.lower()}" for parent in conf.data_folders()]
        blocks, size, stored = map(int, _told(inside, _MAKE, folder, *stores).split())
        free_bytes, needed_bytes = blocks * size, room_for(stored)
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
        code, out, said = run_inside(inside, RUN, folder, program, *arguments)
        if code:
            raise explain_backup(database, code, out + said)
        name = artifact_in(_told(inside, 'ls -1 "$1"', folder).splitlines(), database)
        size_bytes = int(_told(inside, 'stat -c %s "$1"', f"{folder}/{name}"))
        # Not as an archive from the daemon, which lets nobody else at the container meanwhile.
        with closing(_Program(inside, RUN, folder, "cat", f"{folder}/{name}")) as fetching:
            yield _Fetched(fetching, size_bytes, str(inside.container.name))
    finally:
        run_inside(inside, REMOVE, folder)


def _remove_abandoned(inside: Inside, data: str) -> None:
    for line in _told(inside, _LIST, data).splitlines():
        age, name = line.split(" ", 1)
        if is_abandoned(name, _PREFIX, int(age) * SECOND_NS):
            run_inside(inside, REMOVE, f"{data}/{name}")


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
    """Run a shell script in a running container: exit code, output, what else it said.

    Of each the end, where it is long.
    """
    out = bytearray()
    with closing(_Program(inside, script, *arguments)) as program:
        for data in program.output():
            out += data
            del out[:-_SAID_BYTES]
        code, said = program.finish()
    return code, out.decode("utf-8", "backslashreplace"), said


class _Program:
    """A shell script in a running container, and what it prints."""

    def __init__(self, inside: Inside, script: str, *arguments: str) -> None:
        self._api = cast(Any, inside.container.client).api
        self._id = self._api.exec_create(
            inside.container.id,
            ["sh", "-c", script, "snap", *arguments],
            user=inside.user,
            environment={"HEAP_SIZE": _HEAP},
        )["Id"]
        self._stream = self._api.exec_start(self._id, socket=True)
        self._socket = getattr(self._stream, "_sock", self._stream)
        # However long nothing is said.
        self._socket.settimeout(None)
        self._said = bytearray()

    def output(self) -> Iterator[bytes]:
        """Yield its standard output, to its end."""
        from docker.utils.socket import frames_iter  # noqa: PLC0415 - an optional dependency

        for number, data in cast(Any, frames_iter)(self._socket, tty=False):
            if number == _STDOUT:
                yield data
            else:
                self._said += data
                del self._said[:-_SAID_BYTES]

    def finish(self) -> tuple[int, str]:
        """Wait for its end, after all output; return exit code and what else it said."""
        while (found := self._api.exec_inspect(self._id))["Running"]:
            Event().wait(_POLL_SECONDS)
        return int(found["ExitCode"]), self._said.decode("utf-8", "backslashreplace")

    def close(self) -> None:
        """Stop listening to it."""
        self._stream.close()
        self._socket.close()


class _Fetched:
    """A backup as it comes out of the container."""

    def __init__(self, program: _Program, size_bytes: int, place: str) -> None:
        self._program = program
        self._pieces = PieceReader(program.output())
        self._rest = size_bytes
        self._place = place

    def read(self, length: int) -> bytes:
        """Return at most ``length`` bytes; none at the end."""
        data = self._pieces.read(length)
        self._rest -= len(data)
        return data

    def finish(self) -> None:
        """Make sure that all of it came.

        Raises:
            SourceError: it did not.
        """
        code, said = self._program.finish()
        if code or self._rest:
            raise SourceError(
                f"the backup did not come whole out of container {self._place}: "
                f"{essence(said) or f'{self._rest} bytes are missing'}",
                "was the container stopped meanwhile? Try again",
            )
